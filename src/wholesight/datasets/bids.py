"""The layout of BIDS, the Brain Imaging Data Structure: raw or prepared images of anatomy.

    DATA/dataset_description.json
         participants.tsv                          optional: participant_id, site, split
         sub-01/[ses-1/]anat/sub-01_[ses-1_]run-1_FLAIR.nii.gz
         derivatives/<any>/sub-01/[ses-1/]anat/
             sub-01_[ses-1_]run-1_label-lesion_mask.nii.gz      what is abnormal
             sub-01_[ses-1_]run-1_desc-brain_mask.nii.gz        the body mask

The modality is a suffix, in any case, and entities may stand before it: FLAIR, or acq-tse_FLAIR.
A mask is of the image whose entities it has; masks may lie beside the images, too. The subject is
the label after `sub-`, the case the entities of its image. What .bidsignore names is left out.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.datasets.bids_tables import Ignored, participants
from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, count, error, note, some
from wholesight.errors import UsageError, nearest
from wholesight.io.bids_name import ENTITIES, BidsName, parse
from wholesight.io.formats import is_image, is_picture, stem
from wholesight.io.outputs import is_own_map

LOOKS_LIKE = "dataset_description.json, sub-<label>/anat/sub-<label>_<suffix>.nii.gz (BIDS)"
DESCRIPTION: Final = "dataset_description.json"

_SUBJECT: Final = re.compile(r"sub-[0-9a-zA-Z+]+")
# What is drawn or computed for an image; of these only some masks are of use here.
_DERIVED: Final = ("mask", "dseg", "probseg", "defacemask")
_LESION, _BRAIN = "lesion", "brain"
# Entities that say what a mask marks, and on which grid it and its image lie.
_OWN: Final = ("label", "desc", "res", "space")


class _File(NamedTuple):
    path: Path
    name: BidsName


def fits(root: Path) -> bool:
    """Whether a data set's description and a subject's folder are here."""
    # A link counts that leads nowhere: in a data set that was not fetched all may be links.
    return root.is_dir() and os.path.lexists(root / DESCRIPTION) and any(_subjects(root))


def find(root: Path, modality: str | None) -> Found:
    """Find the cases, sorted by name.

    Raises UsageError when several suffixes are there and none was asked for, and when nothing is
    there of what was asked for.
    """
    ignored = Ignored(root)
    files, strays = _files(root, ignored)
    images = [file for file in files if _is_scan(file.name)]
    prepared = [file for folder in _derivatives(root) for file in _files(folder, ignored)[0]]
    masks = [file for file in (*files, *prepared) if file.name.suffix == "mask"]
    chosen = _choose(images, modality, root)
    people, findings = participants(root)
    findings += [*_repeats(chosen), *_unused(strays, root), *_without(images, chosen)]
    lesions = _Masks([file for file in masks if _is_of(file.name, _LESION)])
    brains = _Masks([file for file in masks if _is_of(file.name, _BRAIN)])
    cases = []
    for path, name in chosen:
        subject = name.entities["sub"]
        site, split = people.get(subject, (None, None))
        mask, inside = lesions.of(name), brains.of(name)
        together = tuple(
            (file.name.suffix, file.path) for file in images if file.name.entities == name.entities
        )
        cases.append(Case(name.id, subject, path, mask, inside, split, site, modalities=together))
    findings += [*lesions.findings(images, _LESION), *brains.findings(images, _BRAIN)]
    return Found(cases, findings)


def _subjects(root: Path) -> Iterator[Path]:
    for folder in sorted(root.iterdir()):
        if _SUBJECT.fullmatch(folder.name) and folder.is_dir():
            yield folder


def _derivatives(root: Path) -> list[Path]:
    folder = root / "derivatives"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _files(root: Path, ignored: Ignored) -> tuple[list[_File], list[Path]]:
    """Return the named NIfTI files of anatomy, and those whose name is not of BIDS or is elsewhere.

    Sorted by path; neither holds what is hidden or ignored.
    """
    files, strays = [], []
    for subject in _subjects(root):
        for folder in (subject, *sorted(subject.glob("ses-*"))):
            anat = folder / "anat"
            for path in sorted(anat.iterdir()) if anat.is_dir() else ():
                if not is_image(path) or is_picture(path) or path in ignored:
                    continue
                name = parse(stem(path))
                if name and path.parent == root / name.folder and _is_known(name):
                    files.append(_File(path, name))
                else:
                    strays.append(path)
    return files, strays


def _is_known(name: BidsName) -> bool:
    return name.is_image or name.suffix in _DERIVED


def _is_scan(name: BidsName) -> bool:
    return name.is_image and not is_own_map(name.entities.get("desc", ""))


def _is_of(name: BidsName, what: str) -> bool:
    """Whether a mask says, by its label or its description, that it marks `what`."""
    return what in (name.entities.get("label"), name.entities.get("desc"))


# ---------------------------------------------------------------- which image of each subject


def _choose(images: list[_File], modality: str | None, root: Path) -> list[_File]:
    """Return the images of one suffix, with the entities that stand before it."""
    entities, suffix = _asked(modality, images, root) if modality else ({}, None)
    having = Counter(file.name.suffix for file in images)
    if suffix is None and len(having) > 1:
        listed = ", ".join(f"{name} ({count(n, 'image')})" for name, n in sorted(having.items()))
        raise UsageError(f"{root}: holds several modalities: {listed}. Choose one by --modality.")
    of_suffix = [file for file in images if suffix in (None, file.name.suffix)]
    chosen = [file for file in of_suffix if entities.items() <= file.name.entities.items()]
    if images and not chosen:
        there = {_pair(file.name, entity) for file in of_suffix for entity in entities}
        raise UsageError(
            f"{root}: no image is of {modality}. There: {some(there - {''}) or 'no such entity'}."
        )
    return chosen


def _pair(name: BidsName, entity: str) -> str:
    return f"{entity}-{name.entities[entity]}" if entity in name.entities else ""


def _asked(modality: str, images: list[_File], root: Path) -> tuple[Mapping[str, str], str | None]:
    """Take acq-tse_run-1_FLAIR apart: the entities, and the suffix as it is there, if one is."""
    parts = modality.split("_")
    pairs = [part.partition("-") for part in parts if "-" in part]
    words = [part for part in parts if "-" not in part]
    unknown = next((entity for entity, _, _ in pairs if entity not in ENTITIES), None)
    if unknown is not None:
        raise UsageError(f"--modality {modality}: no entity of BIDS is called '{unknown}'. "
                         f"{nearest(unknown, ENTITIES)}")  # fmt: skip
    there = {file.name.suffix.lower(): file.name.suffix for file in images}
    suffix = "_".join(words)
    if words and images and suffix.lower() not in there:
        legal = nearest(suffix, there.values())
        raise UsageError(f"{root}: no subject has modality '{suffix}'. {legal}")
    entities = {entity: value for entity, _, value in pairs}
    return entities, there.get(suffix.lower()) if words else None


# ---------------------------------------------------------------- which mask of each image


# What it means when an image is left without its mask.
_MEANS: Final = {
    "lesion": "Of an image without one, training takes every slice as normal.",
    "brain": "Of an image without one, the body is found by the recipe.",
}


class _Masks:
    """Masks of one kind, by the entities that they share with their image."""

    def __init__(self, files: Iterable[_File]) -> None:
        self._files: dict[str, list[_File]] = defaultdict(list)
        for file in files:
            self._files[_shared(file.name)].append(file)
        self._doubtful: dict[str, list[Path]] = {}

    def of(self, image: BidsName) -> Path | None:
        """Return the mask of an image; the first where several claim to be it."""
        paths = [file.path for file in self._of(image)]
        if paths[1:]:
            self._doubtful[image.id] = paths
        return paths[0] if paths else None

    def _of(self, image: BidsName) -> list[_File]:
        return [file for file in self._files[_shared(image)] if _same_space(file.name, image)]

    def findings(self, images: Iterable[_File], kind: str) -> Iterator[Finding]:
        """Say of which images there are several masks, and which masks are of no image at all."""
        for case, paths in self._doubtful.items():
            text = (
                f"{case}: which {kind} mask is meant, {some(map(str, paths))}? Remove the others, "
                "or name them in .bidsignore."
            )
            yield error("E_DUPLICATE", case, text)
        used = {file.path for image in images for file in self._of(image.name)}
        left = [file.path for files in self._files.values() for file in files]
        left = [path for path in left if path not in used]
        if left:
            yield note(
                "N_UNUSED",
                f"{kind} masks",
                f"{count(len(left), f'{kind} mask')} of no image here "
                f"({some(path.name for path in left)}). A mask has all entities of its image, and "
                f"no space other than its own. {_MEANS[kind]}",
            )


def _shared(name: BidsName) -> str:
    return "_".join(
        f"{entity}-{value}" for entity, value in name.entities.items() if entity not in _OWN
    )


def _same_space(mask: BidsName, image: BidsName) -> bool:
    """Whether a mask lies on the image's grid by its name; space-FLAIR is that of the FLAIR."""
    own = image.entities.get("space", "orig")
    legal = {own, image.suffix} if own == "orig" else {own}
    same_size = mask.entities.get("res") == image.entities.get("res")
    return same_size and mask.entities.get("space", "orig") in legal


# ---------------------------------------------------------------- what is amiss


def _repeats(chosen: list[_File]) -> Iterator[Finding]:
    """Find images that are there compressed and not."""
    by_id: dict[str, list[Path]] = defaultdict(list)
    for path, name in chosen:
        by_id[name.id].append(path)
    for case, paths in by_id.items():
        if paths[1:]:
            names = some(path.name for path in paths)
            text = f"{paths[0].parent}: which is meant, {names}? Remove the rest."
            yield error("E_DUPLICATE", case, text)


def _unused(strays: list[Path], root: Path) -> Iterator[Finding]:
    if strays:
        names = some(path.relative_to(root).as_posix() for path in strays)
        yield note(
            "N_UNUSED",
            root.name,
            f"{count(len(strays), 'file')} not named as BIDS does, or not as the folder: {names}. "
            "An image is sub-<label>/anat/sub-<label>[_<entity>-<value>...]_<suffix>.nii.gz, its "
            "entities in the order of BIDS.",
        )


def _without(images: list[_File], chosen: list[_File]) -> Iterator[Finding]:
    left = {f.name.entities["sub"] for f in images} - {f.name.entities["sub"] for f in chosen}
    if left:
        text = f"{count(len(left), 'subject')} with other images alone ({some(left)}): not used."
        yield note("N_UNUSED", "modality", text)
