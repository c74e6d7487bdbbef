"""Which files of a folder are scans, and which are masks and maps of scans."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wholesight.datasets import Case
from wholesight.errors import InputError, UsageError, nearest
from wholesight.io.dicom import whole_scans
from wholesight.io.formats import images_among, stem

# What a file is called that was drawn or computed for a scan: x_seg belongs to x or x_flair.
_ROLES: Final = ("seg", "mask", "inside", "anomaly")
_DERIVED: Final = re.compile(rf"(?P<base>.+)[_-](?P<role>{'|'.join(_ROLES)})")
_SEPARATORS: Final = ("_", "-")


def scans_in(folder: Path) -> list[Path]:
    """Return the scans that lie in a folder, sorted; what the system hides is none.

    A scan is a file, or a folder with a DICOM series. Pictures beside volumes are taken for
    previews of them. Raises InputError.
    """
    try:
        return images_among(folder.iterdir())
    except OSError as fault:
        raise InputError(
            f"{folder}: cannot be read ({fault.strerror}). Check its permissions.", code="E_READ"
        ) from fault


def plain_cases(files: Sequence[Path]) -> dict[Path, Case]:
    """Return every file as a case of its own.

    Slices of one DICOM series are one case, that of the first of them, and called like its folder.
    Raises InputError for a DICOM file without the extra.
    """
    first: dict[tuple[Path, str | None], Path] = {}
    for file, scan in zip(files, whole_scans(files), strict=True):
        first.setdefault(scan, file)
    return {
        file: Case(stem(path), stem(path), path, series=series)
        for (path, series), file in first.items()
    }


def left_out(files: Sequence[Path]) -> list[Path]:
    """Return those files that are masks or maps of a scan beside them or among the files."""
    named = {stem(file) for file in files}
    beside = {folder: _stems_in(folder) for folder in {file.parent for file in files}}
    return [file for file in files if _is_derived(file, named, beside[file.parent])]


def _stems_in(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    # Beside an earlier run's outputs lies no scan, but the record of one.
    records = {path.stem for path in folder.glob("*.json")}
    return records | {stem(path) for path in scans_in(folder)}


def _is_derived(file: Path, named: set[str], beside: set[str]) -> bool:
    match = _DERIVED.fullmatch(stem(file))
    if match is None:
        return False
    base = match["base"]
    if base in named | beside:
        return True
    relatives = (name for name in beside if name.startswith(tuple(base + s for s in _SEPARATORS)))
    return any(not _DERIVED.fullmatch(name) for name in relatives)


def is_case_folder(folder: Path) -> bool:
    """Whether a file carries the folder's name, as case7/case7_flair.nii.gz does (BraTS)."""
    return bool(_roles(folder))


def case_folder(folder: Path, modality: str | None) -> tuple[Case, list[Path]]:
    """Return the case that a folder holds, and the files of it that are not used.

    Raises UsageError when the modality must be chosen, or is not there.
    """
    roles = _roles(folder)
    images = {role: file for role, file in roles.items() if role not in _ROLES}
    chosen = _choose(folder, images, modality)
    inside = roles.get("inside")
    case = Case(
        id=_name(folder),
        subject=_name(folder),
        image=images[chosen],
        inside=inside,
        modalities=tuple(sorted(images.items())),
    )
    return case, [file for file in scans_in(folder) if file not in (case.image, inside)]


def _choose(folder: Path, images: dict[str, Path], modality: str | None) -> str:
    if not images:
        raise UsageError(f"{folder}: holds masks or maps and no scan. Name the scans.")
    if modality is None and len(images) > 1:
        raise UsageError(
            f"{folder}: holds several images of one case: {', '.join(sorted(images))}. Choose one "
            "by --modality; if they are scans of several people, name the files."
        )
    if modality is not None and modality not in images:
        raise UsageError(f"{folder}: has no modality '{modality}'. {nearest(modality, images)}")
    return modality or next(iter(images))


def _roles(folder: Path) -> dict[str, Path]:
    """Return {flair, t1, seg, ...: file} of the files that carry the folder's name."""
    endings = {file: stem(file).removeprefix(_name(folder)) for file in scans_in(folder)}
    return {
        ending[1:]: file
        for file, ending in endings.items()
        if ending != stem(file) and ending[:1] in _SEPARATORS and ending[1:]
    }


def _name(folder: Path) -> str:
    """Return the folder's name, of `.` and `..` too; a link keeps its own."""
    return Path(os.path.normpath(folder.absolute())).name
