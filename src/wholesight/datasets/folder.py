"""The plain layout: volumes or pictures in folders that say what they are for.

    DATA/train/*.nii.gz  calibration/*  validation/*  test/*     images, by split
         normal/*.nii.gz                                         images whose split split.json names
         masks/*.nii.gz                                          what is abnormal, by the same name
         inside/*.nii.gz                                         body masks, by the same name

The case and its subject are the file's name without its ending.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, error, note, some
from wholesight.datasets.split import SPLITS
from wholesight.errors import UsageError
from wholesight.io.formats import images_among, stem

LOOKS_LIKE = "train/*.nii.gz, calibration/, validation/, test/ with masks/ beside them (folder)"

_IMAGES = ("normal", *SPLITS)
_MASKS = "masks"
_INSIDE = "inside"


def fits(root: Path) -> bool:
    """Whether images lie in a folder that is called like a split, or `normal`."""
    return any(_files(root / name) for name in _IMAGES)


def find(root: Path, modality: str | None) -> Found:
    """Find the cases, sorted by name.

    Raises UsageError when a modality is asked for: the names of the files do not tell it.
    """
    if modality is not None:
        raise UsageError(
            f"{root}: the folder layout has one image a case. Leave out --modality {modality}."
        )
    images: dict[str, list[Path]] = defaultdict(list)
    for folder in _IMAGES:
        for file in _files(root / folder):
            images[stem(file)].append(file)
    masks = {stem(file): file for file in _files(root / _MASKS)}
    inside = {stem(file): file for file in _files(root / _INSIDE)}
    cases = [
        Case(name, name, file, masks.get(name), inside.get(name), _split(file))
        for name, (file, *_) in sorted(images.items())
    ]
    return Found(cases, [*_repeats(images, root), *_unused(masks, images, _MASKS)])


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return images_among(folder.iterdir())


def _split(file: Path) -> str | None:
    return file.parent.name if file.parent.name in SPLITS else None


def _repeats(images: dict[str, list[Path]], root: Path) -> list[Finding]:
    return [
        error(
            "E_DUPLICATE",
            name,
            f"{name}: {some(str(file.relative_to(root)) for file in files)} have one name, "
            "so they would be one subject. Rename or remove the others.",
        )
        for name, files in sorted(images.items())
        if len(files) > 1
    ]


def _unused(masks: dict[str, Path], images: dict[str, list[Path]], folder: str) -> list[Finding]:
    left = masks.keys() - images.keys()
    if not left:
        return []
    text = f"{folder}/: no image is called like {some(left)}. A mask has the name of its image."
    return [note("N_UNUSED", folder, text)]
