"""Who trains, sets the threshold and is judged: by the data's own split, a suite's, or in folds.

A fold is what one model is trained, calibrated and judged on. Without folds a data set is one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from wholesight.benchmark.plan.suite import Folds, Split, Suite
from wholesight.datasets import Case, DataSet
from wholesight.datasets.finding import count
from wholesight.errors import InputError


class Fold(NamedTuple):
    """Who serves one model, and who is judged by it.

    name : fold-1, fold-2, ...; empty where there is no other fold. train, calibration, judged : the
    cases; calibration may be empty, and then nothing has a threshold.
    """

    name: str
    train: tuple[Case, ...]
    calibration: tuple[Case, ...]
    judged: tuple[Case, ...]

    @property
    def parts(self) -> dict[str, tuple[Case, ...]]:
        """The cases by what they serve for."""
        return {"train": self.train, "calibration": self.calibration, "judged": self.judged}

    def training_on(self, subjects: int | None, *, seed: int) -> Fold:
        """Return the fold with so many of its training subjects, None for all.

        In an order drawn by the seed: with one seed, fewer are among more.
        """
        order = _drawn(sorted({case.subject for case in self.train}), random.Random(seed))
        chosen = set(order[:subjects])
        return self._replace(train=tuple(case for case in self.train if case.subject in chosen))

    def judging(self, kept: Iterable[Case]) -> Fold:
        """Return the fold with these of its judged cases alone."""
        names = {case.id for case in kept}
        return self._replace(judged=tuple(case for case in self.judged if case.id in names))


class Parts(NamedTuple):
    """Who serves for what in one data set. subset : who is judged, in words."""

    subset: str
    folds: tuple[Fold, ...]

    @property
    def judged(self) -> tuple[Case, ...]:
        """The judged cases of all folds, in the order in which they are judged."""
        return judged_in(self.folds)


def judged_in(folds: Sequence[Fold]) -> tuple[Case, ...]:
    """Return the judged cases of all folds, in the order in which they are judged."""
    return tuple(case for fold in folds for case in fold.judged)


def parts_of(found: DataSet, suite: Suite | None, *, subset: str | None = None) -> Parts:
    """Say who does what, as a suite has it; without one, as the data's own split has it.

    subset : validation or test; None takes test where there is one, else validation; nothing where
    the suite has folds, which judge all. Train and calibration may be empty. Raises InputError when
    nobody is left to be judged.
    """
    slices = (suite.slices[0], suite.slices[1]) if suite and suite.slices else None
    if suite and suite.folds:
        deals = dealt_in_folds(found, suite.folds, needs=suite.needs)
        folds = (
            _fold(f"fold-{number}", each, "test", slices) for number, each in enumerate(deals, 1)
        )
        return Parts(f"all subjects in {suite.folds.number} folds", tuple(folds))
    if suite and suite.split:
        found = dealt(found, suite.split, needs=suite.needs)
    there = {case.split for case in found.cases}
    judged = subset or next((part for part in ("test", "validation") if part in there), "test")
    found.subset(judged)
    return Parts(judged, (_fold("", found, judged, slices),))


def _fold(name: str, found: DataSet, judged: str, slices: tuple[int, int] | None) -> Fold:
    def part(split: str) -> tuple[Case, ...]:
        return tuple(replace(case, slices=slices) for case in found.cases if case.split == split)

    return Fold(name, part("train"), part("calibration"), part(judged))


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
    drawn = _drawn(subjects, random.Random(split.seed))
    parts = [part for part, size in sizes.items() for _ in range(size)]
    return _assigned(found, dict(zip(drawn, parts, strict=False)))


def dealt_in_folds(found: DataSet, folds: Folds, *, needs: str = "") -> list[DataSet]:
    """Deal all subjects into folds, whatever their split; return the data set as each fold has it.

    Sorted by name and in an order drawn by the seed, they are dealt out in turn, so that sizes
    differ by one at most. A fold's subjects are its `test`; of the others the first `calibration`,
    in an order drawn anew for each fold, are its `calibration`, and the rest its `train`.

    Raises InputError when there are too few for somebody to train every fold's model.
    """
    subjects = sorted({case.subject for case in found.cases})
    # The largest fold leaves the fewest others.
    others = len(subjects) - -(-len(subjects) // folds.number)
    if len(subjects) < folds.number or others <= folds.calibration:
        raise InputError(
            f"{found.root}: {count(len(subjects), 'subject')}, too few for the suite's "
            f"{folds.number} folds: each needs one subject to judge and, of the others, "
            f"{folds.calibration} for calibration and one to train. Lower folds.number or "
            f"folds.calibration, or add subjects. {needs}".rstrip(),
            code="E_NO_CASES",
        )
    draw = random.Random(folds.seed)
    drawn = _drawn(subjects, draw)
    deals = []
    for number in range(folds.number):
        judged = set(drawn[number :: folds.number])
        rest = _drawn([name for name in subjects if name not in judged], draw)
        part_of = dict.fromkeys(judged, "test") | dict.fromkeys(rest, "train")
        deals.append(
            _assigned(found, part_of | dict.fromkeys(rest[: folds.calibration], "calibration"))
        )
    return deals


def _drawn(subjects: Sequence[str], draw: random.Random) -> list[str]:
    # random() alone gives the same numbers in every version of Python; shuffle() need not.
    return [subject for _, subject in sorted((draw.random(), name) for name in subjects)]


def _assigned(found: DataSet, part_of: Mapping[str, str]) -> DataSet:
    """Give every subject the part that is named for it, and the others none."""
    cases = tuple(replace(case, split=part_of.get(case.subject)) for case in found.cases)
    return replace(found, cases=cases)
