"""The layout of BraTS: one folder a case, the modality at the end of each file's name.

    DATA/[group/]case7/case7_flair.nii.gz     an image; any modality name
                       case7_seg.nii.gz       optional: what is abnormal
                       case7_inside.nii.gz    optional: the body mask

Cases lie in the folder itself or one level deeper (the HGG and LGG folders of BraTS 2019); a
hyphen may stand for the underscore (BraTS 2023). The subject of a case is the case.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, count, error, note, some
from wholesight.errors import UsageError, nearest
from wholesight.io.formats import is_image, is_picture, stem

LOOKS_LIKE = "<case>/<case>_<modality>.nii.gz with <case>/<case>_seg.nii.gz (BraTS)"

_MASK = "seg"
_INSIDE = "inside"
_SEPARATORS = ("_", "-")
# What `segment` writes beside a scan is no modality of it.
_OUTPUT = re.compile(r"(.+[_-])?(anomaly|mask)")


class _Folder(NamedTuple):
    """One case's folder. files: role (a modality, seg or inside) -> files, more than one is wrong.

    strays: NIfTI files that do not carry the case's name. depth: 1 in the data set's folder, 2 in
    a group.
    """

    path: Path
    depth: int
    files: dict[str, list[Path]]
    strays: list[str]

    @property
    def modalities(self) -> list[str]:
        images = self.files.keys() - {_MASK, _INSIDE}
        return sorted(role for role in images if not _OUTPUT.fullmatch(role))


def fits(root: Path) -> bool:
    """Whether at least one folder here is named like the NIfTI files in it."""
    return root.is_dir() and next(_case_folders(root), None) is not None


def find(root: Path, modality: str | None) -> Found:
    """Find the cases, sorted by name; of two with one name the less deep.

    Raises UsageError when several modalities are there and none, or none of them, was asked for.
    """
    every = list(_case_folders(root))
    folders, findings = _without_repeats(every, root)
    modality = _choose(folders, modality, root)
    cases = []
    for folder in folders:
        case, wrong = _case(folder, modality)
        findings += wrong
        cases += [case] if case else []
    return Found(cases, findings + _unused(root, every))


def _folders(parent: Path) -> list[Path]:
    return sorted(
        path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _case_folders(root: Path) -> Iterator[_Folder]:
    for outer in _folders(root):
        folder = _look(outer, 1)
        if folder.files:
            yield folder
            continue
        for inner in _folders(outer):
            folder = _look(inner, 2)
            if folder.files:
                yield folder


def _look(path: Path, depth: int) -> _Folder:
    files: dict[str, list[Path]] = defaultdict(list)
    strays = []
    for file in sorted(path.iterdir()):
        # A picture beside volumes is a preview of one.
        if not is_image(file) or is_picture(file):
            continue
        ending = stem(file).removeprefix(path.name)
        if ending != stem(file) and ending[:1] in _SEPARATORS and ending[1:]:
            files[ending[1:]].append(file)
        else:
            strays.append(file.name)
    return _Folder(path, depth, dict(files), strays)


def _without_repeats(folders: list[_Folder], root: Path) -> tuple[list[_Folder], list[Finding]]:
    """Keep one folder a name. A repeat deeper down is another version of the case: a note."""
    by_name: dict[str, list[_Folder]] = defaultdict(list)
    for folder in sorted(folders, key=lambda folder: (folder.depth, folder.path)):
        by_name[folder.path.name].append(folder)
    findings = []
    left_out: dict[str, list[str]] = defaultdict(list)
    for name, (first, *others) in sorted(by_name.items()):
        for other in others:
            if other.depth > first.depth:
                left_out[other.path.parent.name].append(name)
                continue
            text = (
                f"{name}: is there twice, {first.path.relative_to(root)} and "
                f"{other.path.relative_to(root)}. Rename or remove one."
            )
            findings.append(error("E_DUPLICATE", name, text))
    for group, names in sorted(left_out.items()):
        text = (
            f"{group}/: left out {count(len(names), 'case')} whose name is in {root.name}/ too "
            f"({some(names)}). To use them, give {group}/ as DATA."
        )
        findings.append(note("N_DUPLICATE", group, text))
    return [by_name[name][0] for name in sorted(by_name)], findings


def _choose(folders: list[_Folder], modality: str | None, root: Path) -> str:
    having = Counter(name for folder in folders for name in folder.modalities)
    if modality is None and len(having) > 1:
        listed = ", ".join(f"{name} ({count(n, 'case')})" for name, n in sorted(having.items()))
        raise UsageError(f"{root}: holds several modalities: {listed}. Choose one by --modality.")
    if modality is not None and having and modality not in having:
        raise UsageError(f"{root}: no case has modality '{modality}'. {nearest(modality, having)}")
    return modality or next(iter(having), "image")


def _case(folder: _Folder, modality: str) -> tuple[Case | None, list[Finding]]:
    name = folder.path.name
    findings = [
        error(
            "E_DUPLICATE",
            name,
            f"{folder.path}: which is meant, {some(path.name for path in paths)}? Remove the rest.",
        )
        for role, paths in sorted(folder.files.items())
        if role in (modality, _MASK, _INSIDE) and len(paths) > 1
    ]
    if folder.strays:
        text = (
            f"{folder.path}: not used, as the name does not begin with the case's: "
            f"{some(folder.strays)}. Is one of them its mask? Then rename it {name}_{_MASK}.nii.gz."
        )
        findings.append(note("N_UNUSED", name, text))
    if modality not in folder.files:
        there = some(folder.files)
        text = f"{folder.path}: has no {name}_{modality}.nii.gz, only {there}. Add it."
        return None, [*findings, error("E_MISSING_MODALITY", name, text)]
    one = {role: paths[0] for role, paths in folder.files.items()}
    images = tuple((role, one[role]) for role in folder.modalities)
    case = Case(name, name, one[modality], one.get(_MASK), one.get(_INSIDE), modalities=images)
    return case, findings


def _unused(root: Path, folders: list[_Folder]) -> list[Finding]:
    """Name the folders in which no case was found: a case that was named wrongly is one."""
    used = {path for folder in folders for path in (folder.path, folder.path.parent)}
    names = [path.name for path in _folders(root) if path not in used]
    if not names:
        return []
    text = (
        f"{root}: no case in {count(len(names), 'folder')} ({some(names)}). "
        "A case's files begin with the name of its folder."
    )
    return [note("N_UNUSED", root.name, text)]
