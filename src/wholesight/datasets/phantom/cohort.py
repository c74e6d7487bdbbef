"""A cohort of phantom heads on disk, in the layout of BraTS, with its split and its record."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wholesight.datasets.phantom.atlas import NOTICE, load_atlas
from wholesight.datasets.phantom.compose import DEFAULT_GRID, phantom_head
from wholesight.datasets.phantom.field import Grid
from wholesight.errors import OutputError, UsageError
from wholesight.io import nifti
from wholesight.io.files import write_json
from wholesight.volume import Volume

# Goes up whenever the same seed gives other voxels.
GENERATOR_VERSION = 2

# Slices between these are what a scanner can be asked for, and what the deformation still resolves.
_FINEST_MM, _COARSEST_MM = 0.5, 20.0


class _Subject(NamedTuple):
    """One head of the cohort: its place in the random stream is its kind and number alone."""

    kind: str
    number: int

    @property
    def case(self) -> str:
        return f"phantom-{self.kind}-{self.number:03d}"

    @property
    def part(self) -> str:
        """The part of the split; see `write_phantom`."""
        if self.kind == "lesion":
            return "validation" if self.number % 4 in (0, 3) else "test"
        if self.number % 12 == 10:
            return "validation"
        return "calibration" if self.number % 4 == 1 else "train"


def case_stream(seed: int, kind: str, number: int) -> np.random.Generator:
    """Return the random stream of one case: the same whatever else the cohort holds.

    Parameters
    ----------
    kind : "normal" or "lesion".
    """
    return np.random.default_rng([seed, ("normal", "lesion").index(kind), number])


def write_phantom(
    out: Path,
    *,
    normal: int,
    lesion: int,
    seed: int,
    spacing_mm: tuple[float, float, float] = DEFAULT_GRID.spacing_mm,
) -> list[str]:
    """Write a cohort of `normal` healthy heads and `lesion` heads with one lesion each.

    Files: CASE/CASE_flair.nii.gz (int16, 0 outside the brain), CASE/CASE_seg.nii.gz (uint8, 1 in
    the lesion), split.json, phantom.json (what was drawn, and the notice of the tissue maps). The
    folder appears when all of it is there.

    A case depends on the seed, its kind and its number, not on how many others are asked for; so
    does its part of the split. Of every 12 healthy heads 8 are in train, 3 in calibration and 1,
    the eleventh, in validation. Of every 4 heads with a lesion the first and the last are in
    validation and the others in test; none is ever in train or calibration.

    Returns the names of the cases. Raises UsageError for a request that makes no sense and when
    nilearn, which carries the maps, is missing; OutputError when the folder is taken.
    """
    _check_request(normal, lesion, seed, spacing_mm)
    _check_free(out)
    load_atlas()  # before any folder is made: it may be missing
    grid = Grid(spacing_mm)
    subjects = list(_subjects(normal, lesion))
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            # a folder in the temporary one: that is readable by its owner only
            unfinished = Path(temporary) / out.name
            unfinished.mkdir()
            facts = {s.case: _write_case(unfinished, s, seed, grid) for s in subjects}
            write_json(unfinished / "split.json", _split(subjects))
            write_json(unfinished / "phantom.json", _record(seed, grid, facts))
            if out.exists():
                out.rmdir()
            unfinished.rename(out)
    except OSError as fault:
        raise OutputError(
            f"{out}: the phantom cannot be written here ({fault.strerror}). "
            "Check that the folder is yours and that the disk has room."
        ) from fault
    return [subject.case for subject in subjects]


def _check_request(
    normal: int, lesion: int, seed: int, spacing_mm: tuple[float, float, float]
) -> None:
    if min(normal, lesion) < 0 or normal + lesion == 0:
        raise UsageError(
            f"A phantom of {normal} normal heads and {lesion} with a lesion cannot be made. "
            "Ask for at least one head, for example --normal 24 --lesion 8."
        )
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is a whole number from 0.")
    if not all(_FINEST_MM <= step <= _COARSEST_MM for step in spacing_mm):
        raise UsageError(
            f"A spacing of {spacing_mm} mm cannot be made. "
            f"Give three values from {_FINEST_MM:g} to {_COARSEST_MM:g} mm."
        )


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(
            f"{out}: is already there and not an empty folder; nothing was written. "
            "Choose another folder, or remove this one first."
        )


def _subjects(normal: int, lesion: int) -> Iterator[_Subject]:
    yield from (_Subject("normal", number) for number in range(normal))
    yield from (_Subject("lesion", number) for number in range(lesion))


def _write_case(out: Path, subject: _Subject, seed: int, grid: Grid) -> dict[str, Any]:
    """Write one case and return what was drawn for it."""
    stream = case_stream(seed, subject.kind, subject.number)
    head = phantom_head(stream, lesion=subject.kind == "lesion", grid=grid)
    folder = out / subject.case
    folder.mkdir()
    for voxels, suffix in ((head.image, "flair"), (head.abnormal.astype(np.uint8), "seg")):
        name = f"{subject.case}_{suffix}.nii.gz"
        nifti.write(Volume(voxels, grid.affine, name), folder / name)
    return head.facts


def _split(subjects: list[_Subject]) -> dict[str, list[str]]:
    parts = ("train", "calibration", "validation", "test")
    return {part: [s.case for s in subjects if s.part == part] for part in parts}


def _record(seed: int, grid: Grid, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "made-up heads, some with a made-up lesion; not scans of anyone",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "spacing_mm": list(grid.spacing_mm),
        "notice": NOTICE,
        "cases": facts,
    }
