"""From what the user named to a list of jobs, all decided before the first is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wholesight.datasets import open_dataset
from wholesight.errors import InputError, UsageError
from wholesight.io.nifti import SUFFIXES, stem


class Job(NamedTuple):
    """One scan to segment: its file, its body mask if one is given, the stem of its outputs."""

    image: Path
    inside: Path | None
    stem: str


def plan(inputs: Iterable[Path], *, subset: str = "all", modality: str | None = None) -> list[Job]:
    """Turn files, folders of files and data sets into jobs, in the order given.

    subset : which split of a data set. Raises InputError when nothing is there, UsageError when
    two inputs would write the same output.
    """
    jobs = [job for path in inputs for job in _jobs(path, subset, modality)]
    _refuse_collisions(jobs)
    return jobs


def _jobs(path: Path, subset: str, modality: str | None) -> list[Job]:
    if path.is_dir():
        scans = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES))
        if scans:
            return [Job(scan, None, stem(scan)) for scan in scans]
    elif path.name.endswith(SUFFIXES) or not path.exists():
        # A missing file is a failed case of the cohort, with its own message, not its end.
        return [Job(path, None, stem(path))]
    cases = open_dataset(path, modality=modality).subset(subset)
    return [Job(case.image, case.inside, stem(case.image)) for case in cases]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    if not jobs:
        raise InputError("No scan was named.", code="E_NO_CASES")
    stems = Counter(job.stem for job in jobs)
    twice = [name for name, count in stems.items() if count > 1]
    if twice:
        those = ", ".join(str(job.image) for job in jobs if job.stem == twice[0])
        raise UsageError(
            f"{len(twice)} output names would be written more than once, the first for {those}. "
            "Rename the files, or segment them into different --out folders."
        )
