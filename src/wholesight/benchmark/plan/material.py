"""The subjects of a benchmark: who trains, sets the threshold and is judged, and who is left out.

All of it is decided before anything is trained, from the files, the split and the truth.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wholesight.benchmark.judge.predictions import Judged
from wholesight.benchmark.plan.folds import Fold, judged_in, parts_of
from wholesight.benchmark.plan.suite import Suite
from wholesight.datasets import Case, DataSet, open_dataset
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
    folds : who serves for what; one, unless the suite has folds.
    files : of each part, over all folds, the files' hashes, {part: {subject: {"case/role":
        sha256}}}, and as role `voxels` that of the image's values.
    excluded : (case, reason) of cases of the subset that are not judged.
    design : {case: {"volume_ml", "contrast"}} where lesions were made to measure, else None.
    """

    name: str
    layout: str
    subset: str
    folds: tuple[Fold, ...]
    files: Mapping[str, Hashes]
    excluded: tuple[tuple[str, str], ...]
    design: dict[str, dict[str, float]] | None

    @property
    def judged(self) -> tuple[Case, ...]:
        """The judged cases of all folds, in the order in which they are judged."""
        return judged_in(self.folds)

    def files_of(self, fold: Fold, part: str) -> Hashes:
        """Return the hashes of what serves for one thing in one fold."""
        subjects = dict.fromkeys(case.subject for case in fold.parts[part])
        return {subject: self.files[part][subject] for subject in subjects}

    def by_fold(self, told: Iterable[Any]) -> Any:
        """Return plain data that is told of each fold under its name; of one fold alone, itself."""
        named = {fold.name: each for fold, each in zip(self.folds, told, strict=True)}
        return named.get("", named)

    def to_json(self) -> dict[str, Any]:
        """Return what the protocol says of it: names and hashes, no paths."""
        subjects = [
            {part: sorted({c.subject for c in cases}) for part, cases in fold.parts.items()}
            for fold in self.folds
        ]
        return {
            "layout": self.layout,
            "subset": self.subset,
            "subjects": self.by_fold(subjects),
            "excluded": [list(pair) for pair in self.excluded],
            "files": {part: dict(sorted(hashes.items())) for part, hashes in self.files.items()},
        }


def gather(
    paths: Sequence[Path], suite: Suite, *, channels: Collection[str] = ()
) -> list[Material]:
    """Open every data set and decide who does what in it.

    channels : those that some method sees. Raises UsageError for a data set given twice, and
    InputError where a part has no case, a judged case no mask, or a file cannot be read.
    """
    _require_once(paths)
    names = _names(paths)
    return [
        _gather(open_dataset(path, modality=suite.modality), name, suite, channels)
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


def _gather(found: DataSet, name: str, suite: Suite, channels: Collection[str]) -> Material:
    parts = parts_of(found, suite, subset=suite.subset)
    if not parts.folds[0].train:
        found.subset("train")
    least = suite.exclude.min_lesion_share
    judged = Judged(parts.judged, BODIES[suite.body](), min_lesion_share=least)
    folds = tuple(fold.judging(judged.cases) for fold in parts.folds)
    _require_somebody_judged(found.root, folds)
    return Material(
        name=name,
        layout=found.layout,
        subset=parts.subset,
        folds=folds,
        files=_files(folds, channels),
        excluded=tuple(judged.excluded),
        design=_design(found.root, judged.cases),
    )


def _require_somebody_judged(root: Path, folds: Sequence[Fold]) -> None:
    """Refuse to train a model that would judge nobody."""
    for fold in folds:
        if not fold.judged:
            raise InputError(
                f"{root}: every case of {fold.name} has less lesion than "
                "exclude.min_lesion_share, so its model would judge nobody. Lower "
                "folds.number or min_lesion_share, or take another folds.seed.",
                code="E_NO_CASES",
            )


def _files(folds: Sequence[Fold], channels: Collection[str]) -> Mapping[str, Hashes]:
    """Hash every file, once however many folds it serves in.

    Now, for a file that cannot be read would fail every cell, hours later.
    """
    of_case: dict[str, Mapping[str, str]] = {}
    files: dict[str, dict[str, dict[str, str]]] = {part: {} for part in folds[0].parts}
    for fold in folds:
        for part, cases in fold.parts.items():
            for case in cases:
                if case.id not in of_case:
                    of_case[case.id] = file_hashes((case,), channels=channels)[case.subject]
                files[part].setdefault(case.subject, {}).update(of_case[case.id])
    return files


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
