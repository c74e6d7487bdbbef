"""A data set on disk: its layout, its cases and their splits."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wholesight.datasets import bids, brats, folder, manifest, mvtec
from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found
from wholesight.datasets.split import FILE as SPLIT_FILE
from wholesight.datasets.split import SPLITS, assign
from wholesight.errors import InputError, UsageError, nearest


class Layout(NamedTuple):
    """One way in which a data set can lie on disk. To add one, write these and a line below."""

    fits: Callable[[Path], bool]
    find: Callable[[Path, str | None], Found]
    looks_like: str


# The first that fits is taken: a manifest is there on purpose, so it comes first.
LAYOUTS: dict[str, Layout] = {
    "manifest": Layout(manifest.fits, manifest.find, manifest.LOOKS_LIKE),
    "folder": Layout(folder.fits, folder.find, folder.LOOKS_LIKE),
    "mvtec": Layout(mvtec.fits, mvtec.find, mvtec.LOOKS_LIKE),
    "brats": Layout(brats.fits, brats.find, brats.LOOKS_LIKE),
    "bids": Layout(bids.fits, bids.find, bids.LOOKS_LIKE),
}


@dataclass(frozen=True)
class DataSet:
    """The cases of one data set.

    Attributes
    ----------
    root : the folder, or the manifest file.
    layout : which of LAYOUTS it has.
    cases : in a fixed order, whatever the disk's.
    findings : what was noticed on the way; of `open_dataset`, notes only.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    findings: tuple[Finding, ...] = ()

    def subset(self, name: str) -> list[Case]:
        """Return the cases of train, calibration, validation or test; or all.

        Raises UsageError for another name, and InputError (E_NO_CASES) when there are none.
        """
        if name not in (*SPLITS, "all"):
            raise UsageError(
                f"there is no split called '{name}'. {nearest(name, [*SPLITS, 'all'])}"
            )
        chosen = [case for case in self.cases if name in ("all", case.split)]
        if not chosen:
            raise InputError(
                f"{self.root}: no case belongs to '{name}'. There are: {self._there()}. "
                f"{SPLIT_FILE} names the subjects of each split.",
                code="E_NO_CASES",
            )
        return chosen

    def _there(self) -> str:
        counted = Counter(case.split for case in self.cases)
        names = [f"{name} {counted[name]}" for name in SPLITS if counted[name]]
        return ", ".join([*names, *([f"in no split {counted[None]}"] if counted[None] else [])])


def open_dataset(path: Path, *, modality: str | None = None) -> DataSet:
    """Open a data set; no image is read yet.

    Raises UsageError when the modality must be chosen, and InputError when there is no data set
    here or anything is wrong with how it lies; `check` lists all of it.
    """
    found = survey(path, modality=modality)
    errors = [finding for finding in found.findings if finding.level == "error"]
    if errors:
        more = f" And {len(errors) - 1} more: wholesight check {path}" if errors[1:] else ""
        raise InputError(errors[0].text + more, code=errors[0].code)
    if not found.cases:
        raise InputError(f"{path}: holds no case. Add images to it.", code="E_NO_CASES")
    return found


def survey(path: Path, *, modality: str | None = None) -> DataSet:
    """Open what can be opened of a data set, and collect what is wrong in its findings.

    Raises UsageError and, when no layout fits, InputError.
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder or manifest. Check the path.", code="E_NOT_FOUND")
    try:
        layout = next((name for name in LAYOUTS if LAYOUTS[name].fits(path)), None)
        if layout is None:
            raise _no_layout(path)
        cases, findings = LAYOUTS[layout].find(path, modality)
    except OSError as fault:
        raise InputError(
            f"{fault.filename or path}: cannot be read ({fault.strerror}). Check its permissions.",
            code="E_READ",
        ) from fault
    place = path if path.is_dir() else path.parent
    cases, about_splits = assign(cases, place / SPLIT_FILE)
    return DataSet(path, layout, tuple(cases), (*findings, *about_splits))


def _no_layout(path: Path) -> InputError:
    if path.is_dir() and any(path.glob(f"{glob.escape(path.name)}[_-]*.nii*")):
        hint = f"It looks like one case; give the folder that holds it: {path.parent}"
    elif path.name.startswith("sub-") and bids.fits(path.parent):
        hint = (
            f"It is a subject of BIDS; give the data set, {path.parent}, and to segment alone this "
            f"one --participant-label {path.name.removeprefix('sub-')}"
        )
    else:
        known = "\n".join(f"  {layout.looks_like}" for layout in LAYOUTS.values())
        hint = f"A data set is one of:\n{known}"
    return InputError(f"{path}: no data set found. {hint}", code="E_LAYOUT")
