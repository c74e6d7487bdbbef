"""What was done in a run, in sentences, from the protocol alone.

What holds for every report (how figures are read, what each method is) the report itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wholesight.benchmark.plan.material import Material
from wholesight.benchmark.plan.protocol import STATISTICS, Protocol
from wholesight.benchmark.plan.suite import Folds, Split, Suite
from wholesight.datasets import Case
from wholesight.datasets.finding import count

_NO_THRESHOLD: Final = "nobody set a threshold, so maps alone are judged"


def statements(protocol: Protocol) -> list[str]:
    """Return the sentences, in the order in which things were done."""
    suite = protocol.suite
    return [
        *(sentence for each in protocol.materials for sentence in _data(each, suite)),
        _methods(protocol),
        *([_threshold(suite)] if any(map(_has_thresholds, protocol.materials)) else []),
        _judgement(suite),
        _comparison(suite),
    ]


def _data(material: Material, suite: Suite) -> Iterator[str]:
    yield from _folds(material, suite.folds) if suite.folds else _parts(material, suite.split)
    if suite.slices:
        first, last = suite.slices
        yield f"Axial slices {first} to {last} of each file, counted from 0, belong to the study."
    least = suite.exclude.min_lesion_share
    if least:
        yield (
            f"Before anything was trained, {count(len(material.excluded), 'case')} with less "
            f"lesion than {100 * least:g} % of the body were left out of the judgement"
            + (", not of the training in other folds." if suite.folds else ".")
        )


def _parts(material: Material, split: Split | None) -> Iterator[str]:
    (fold,) = material.folds
    train, calibration, judged = (
        count(subjects, "subject") for subjects in map(_subjects, fold.parts.values())
    )
    dealt = f", dealt out with seed {split.seed} from all subjects sorted by name" if split else ""
    threshold = f"{calibration} set the thresholds" if fold.calibration else _NO_THRESHOLD
    yield (
        f"{material.name}: {train} trained every method that learns, {threshold}, and {judged} "
        f"({material.subset}) were judged{dealt}; none is in two of these, nor is any image file."
    )


def _folds(material: Material, dealt: Folds) -> Iterator[str]:
    train, calibration, judged = (
        span([_subjects(fold.parts[part]) for fold in material.folds])
        for part in ("train", "calibration", "judged")
    )
    threshold = f"{calibration} set the threshold" if _has_thresholds(material) else _NO_THRESHOLD
    yield (
        f"{material.name}: {count(_subjects(material.judged), 'subject')} were judged in "
        f"{dealt.number} folds of {judged}, dealt out with seed {dealt.seed} from all subjects "
        "sorted by name, each by a model that has not seen them. For every fold, "
        f"{train} of the other subjects trained every method that learns, and {threshold}; none "
        "is in two of these in one fold, nor is any image file."
    )
    yield (
        "Figures of the set pool the maps of all folds' models, and masks are those of each fold's "
        "own threshold. Learning curves are those of the first fold."
    )


def span(numbers: Sequence[int]) -> str:
    """Say how many, where it may differ.

    >>> span([17, 17]), span([16, 17])
    ('17', '16 to 17')
    """
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _subjects(cases: Sequence[Case]) -> int:
    return len({case.subject for case in cases})


def _has_thresholds(material: Material) -> bool:
    return any(fold.calibration for fold in material.folds)


def _methods(protocol: Protocol) -> str:
    times = max(len(each.seeds) for each in protocol.contenders)
    few = [f"{c.name} ({c.train_subjects})" for c in protocol.contenders if c.train_subjects]
    fewer = (
        f"Trained on fewer subjects, drawn anew for each seed: {', '.join(few)}. " if few else ""
    )
    repeated = f"with up to {count(times, 'seed')} each" if times > 1 else "once each"
    return (
        f"{count(len(protocol.contenders), 'method')} were run, {repeated}. {fewer}Training saw "
        "slices without a lesion, and no label in any other way. No setting was chosen in this "
        "run."
    )


def _threshold(suite: Suite) -> str:
    return (
        "Thresholds follow from normal slices of the calibration subjects alone (rule "
        f"{suite.rule}, alpha {suite.alpha:g})."
    )


def _judgement(suite: Suite) -> str:
    return (
        "All are judged in one body: the case's own mask where it has one, else by the rule "
        f"{suite.body}."
    )


def _comparison(suite: Suite) -> str:
    return (
        f"Every method is compared with {suite.reference}, paired by subject; intervals are of "
        f"{STATISTICS['resamples']} resamples of the subjects."
    )
