"""The subjects of a benchmark: who trains, sets the threshold and is judged, and who is left out.

All of it is decided before anything is trained, from the files, the split and the truth.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from wholesight.benchmark.judge.predictions import Judged
from wholesight.benchmark.plan.suite import Split, Suite
from wholesight.datasets import Case, DataSet, open_dataset
from wholesight.datasets.finding import count
from wholesight.datasets.scans import file_hashes
from wholesight.errors import InputError, UsageError
from wholesight.prep.body import BODIES

# {subject: {"case/role": sha256}}
Hashes = Mapping[str, Mapping[str, str]]

_PHANTOM: Final = "phantom.json"
_DESIGN: Final = ("volume_ml", "contrast")


@dataclass(frozen=True, kw_only=True)
class Material:
    """One data set of a benchmark.

    Attributes
    ----------
    name : of its folder in the results. layout : how it lies on disk. subset : who is judged.
    train, calibration, judged : the cases; calibration may be empty, and then nothing has a
        threshold.
    files : of each of the three the files' hashes, {part: {subject: {"case/role": sha256}}}, and
        as role `voxels` that of the image's values.
    excluded : (case, reason) of cases of the subset that are not judged.
    design : {case: {"volume_ml", "contrast"}} where lesions were made to measure, else None.
    """

    name: str
    layout: str
    subset: str
    train: tuple[Case, ...]
    calibration: tuple[Case, ...]
    judged: tuple[Case, ...]
    files: Mapping[str, Hashes]
    excluded: tuple[tuple[str, str], ...]
    design: dict[str, dict[str, float]] | None

    def to_json(self) -> dict[str, Any]:
        """Return what the protocol says of it: names and hashes, no paths."""
        parts = {"train": self.train, "calibration": self.calibration, "judged": self.judged}
        return {
            "layout": self.layout,
            "subset": self.subset,
            "subjects": {part: sorted({c.subject for c in cases}) for part, cases in parts.items()},
            "excluded": [list(pair) for pair in self.excluded],
            "files": {part: dict(sorted(hashes.items())) for part, hashes in self.files.items()},
        }


def gather(paths: Sequence[Path], suite: Suite) -> list[Material]:
    """Open every data set and decide who does what in it.

    Raises UsageError for a data set given twice, and InputError where a part has no case, a judged
    case no mask, or a file cannot be read.
    """
    _require_once(paths)
    names = _names(paths)
    return [
        _gather(open_dataset(path, modality=suite.modality), name, suite)
        for name, path in zip(names, paths, strict=True)
    ]


def _require_once(paths: Sequence[Path]) -> None:
    """Refuse a data set given twice: its subjects would look like twice as much evidence."""
    places = [path.resolve() for path in paths]
    twice = next((path for n, path in enumerate(paths) if path.resolve() in places[:n]), None)
    if twice is not None:
        raise UsageError(f"--data {twice}: this data set is given twice. Leave one out.")


def _names(paths: Sequence[Path]) -> list[str]:
    """Name each data set by its folder; of one name, the second is called name-2."""
    names: list[str] = []
    for path in map(Path.resolve, paths):
        own = (
            path if path.is_dir() else path.parent if path.stem == "cases" else path.with_suffix("")
        )
        numbered = (f"{own.name}-{n}" for n in range(2, len(paths) + 1))
        names.append(next(name for name in (own.name, *numbered) if name not in names))
    return names


class Parts(NamedTuple):
    """Who serves for what in one data set. subset : the name of the part that is judged."""

    subset: str
    calibration: tuple[Case, ...]
    judged: tuple[Case, ...]
    train: tuple[Case, ...]


def parts_of(found: DataSet, suite: Suite | None, *, subset: str | None = None) -> Parts:
    """Say who does what, as a suite has it; without one, as the data's own split has it.

    subset : validation or test; None takes test where there is one, else validation. Train and
    calibration may be empty. Raises InputError when nobody is left to be judged.
    """
    if suite and suite.split:
        found = dealt(found, suite.split, needs=suite.needs)
    there = {case.split for case in found.cases}
    judged = subset or next((part for part in ("test", "validation") if part in there), "test")
    found.subset(judged)
    slices = (suite.slices[0], suite.slices[1]) if suite and suite.slices else None

    def part(name: str) -> tuple[Case, ...]:
        return tuple(replace(case, slices=slices) for case in found.cases if case.split == name)

    return Parts(judged, part("calibration"), part(judged), part("train"))


def _gather(found: DataSet, name: str, suite: Suite) -> Material:
    subset, calibration, judged_cases, train = parts_of(found, suite, subset=suite.subset)
    if not train:
        found.subset("train")
    least = suite.exclude.min_lesion_share
    judged = Judged(judged_cases, BODIES[suite.body](), min_lesion_share=least)
    kept = tuple(judged.cases)
    return Material(
        name=name,
        layout=found.layout,
        subset=subset,
        train=train,
        calibration=calibration,
        judged=kept,
        files={
            # A file that cannot be read would fail every cell, hours later.
            "train": file_hashes(train),
            "calibration": file_hashes(calibration),
            "judged": file_hashes(kept),
        },
        excluded=tuple(judged.excluded),
        design=_design(found.root, kept),
    )


def dealt(found: DataSet, split: Split, *, needs: str = "") -> DataSet:
    """Deal the subjects out: sorted by name, in an order drawn by the seed, whatever their split.

    Raises InputError when there are too few.
    """
    sizes = {"train": split.train, "calibration": split.calibration, "test": split.test}
    subjects = sorted({case.subject for case in found.cases})
    if len(subjects) < sum(sizes.values()):
        told = ", ".join(f"{size} for {part}" for part, size in sizes.items())
        raise InputError(
            f"{found.root}: {count(len(subjects), 'subject')}, and the suite's split needs "
            f"{sum(sizes.values())} ({told}). {needs}".rstrip(),
            code="E_NO_CASES",
        )
    # random() alone gives the same numbers in every version of Python; shuffle() need not.
    draw = random.Random(split.seed)
    drawn = [subject for _, subject in sorted((draw.random(), name) for name in subjects)]
    parts = [part for part, size in sizes.items() for _ in range(size)]
    part_of = dict(zip(drawn, parts, strict=False))
    cases = tuple(replace(case, split=part_of.get(case.subject)) for case in found.cases)
    return replace(found, cases=cases)


def _design(root: Path, cases: Sequence[Case]) -> dict[str, dict[str, float]] | None:
    """Return what lesions were made to be, where the data set says so. root : folder, manifest."""
    folder = root if root.is_dir() else root.parent
    try:
        told = json.loads((folder / _PHANTOM).read_bytes())["cases"]
        made = {
            case.id: {name: float(told[case.id][name]) for name in _DESIGN}
            for case in cases
            if {*_DESIGN} <= told.get(case.id, {}).keys()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no record of ours
    return made or None
