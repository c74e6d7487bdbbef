"""A cohort of phantom heads on disk, in the layout of BraTS, with its split and its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wholesight.datasets.phantom.compose import DEFAULT_GRID, phantom_head
from wholesight.datasets.phantom.field import Grid
from wholesight.datasets.phantom.output import (
    check_seed_and_spacing,
    whole_folder,
    write_head,
    write_record,
)
from wholesight.datasets.split import FILE as SPLIT_FILE
from wholesight.datasets.split import SPLITS
from wholesight.errors import UsageError
from wholesight.io.files import write_json

# A kind's place is part of its random stream: new ones go to the end.
_KINDS = ("normal", "lesion", "stress")


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
    kind : "normal", "lesion" or "stress".
    """
    return np.random.default_rng([seed, _KINDS.index(kind), number])


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
    _check_request(normal, lesion)
    check_seed_and_spacing(seed, spacing_mm)
    grid = Grid(spacing_mm)
    subjects = list(_subjects(normal, lesion))
    with whole_folder(out) as unfinished:
        facts = {s.case: _write_case(unfinished, s, seed, grid) for s in subjects}
        write_json(unfinished / SPLIT_FILE, _split(subjects))
        what = "made-up heads, some with a made-up lesion; not scans of anyone"
        write_record(unfinished, what=what, seed=seed, grid=grid, cases=facts)
    return [subject.case for subject in subjects]


def _check_request(normal: int, lesion: int) -> None:
    if min(normal, lesion) < 0 or normal + lesion == 0:
        raise UsageError(
            f"A phantom of {normal} normal heads and {lesion} with a lesion cannot be made. "
            "Ask for at least one head, for example --normal 24 --lesion 8."
        )


def _subjects(normal: int, lesion: int) -> Iterator[_Subject]:
    yield from (_Subject("normal", number) for number in range(normal))
    yield from (_Subject("lesion", number) for number in range(lesion))


def _write_case(out: Path, subject: _Subject, seed: int, grid: Grid) -> dict[str, Any]:
    """Make and write one case; return what was drawn for it."""
    stream = case_stream(seed, subject.kind, subject.number)
    head = phantom_head(stream, lesion=subject.kind == "lesion", grid=grid)
    return write_head(out, subject.case, head, grid)


def _split(subjects: list[_Subject]) -> dict[str, list[str]]:
    return {part: [s.case for s in subjects if s.part == part] for part in SPLITS}
