"""Every method once: what it is, whom to cite, seeds, times, warnings; how thresholds were set."""

from __future__ import annotations

from typing import NamedTuple

from wholesight.benchmark.report.lineup import able, mean_known
from wholesight.benchmark.report.wording import listed
from wholesight.benchmark.results import DataSetResult, MethodResult, Results


class About(NamedTuple):
    """A method in words.

    seeds : those with figures. folds : models that a seed trains on a data set. training_s, case_s
    : means, None where unknown, the first of all folds together. clock : what these
    seconds are, empty where unknown. notes : warnings of all data sets and seeds, each once.
    """

    name: str
    summary: str
    citation: str
    trained: bool
    seeds: list[int]
    folds: int
    training_s: float | None
    case_s: float | None
    clock: str
    notes: list[str]


class Set(NamedTuple):
    """How thresholds were set, and for which methods; no names where all share the note."""

    note: str
    names: list[str]


def roster(results: Results) -> list[About]:
    """List the methods of all data sets in the order in which they were given, each once."""
    found: dict[str, list[MethodResult]] = {}
    for dataset in results.datasets:
        for method in dataset.methods:
            found.setdefault(method.name, []).append(method)
    folds = max((dataset.folds for dataset in results.datasets), default=1)
    return [_about(everywhere, folds) for everywhere in found.values()]


def thresholds(dataset: DataSetResult) -> list[Set]:
    """Group methods by how their threshold was set."""
    groups: dict[str, list[str]] = {}
    for method in able(dataset):
        for note in dict.fromkeys(each.threshold_note for each in method.evaluations):
            groups.setdefault(note, []).append(method.name)
    if len(groups) == 1:
        return [Set(note, []) for note in groups]
    return [Set(note, names) for note, names in groups.items()]


def _about(everywhere: list[MethodResult], folds: int) -> About:
    first = everywhere[0]
    return About(
        name=first.name,
        summary=first.summary,
        citation=first.citation,
        trained=first.trained,
        seeds=sorted({seed for method in everywhere for seed in method.seeds}),
        folds=folds,
        training_s=mean_known([s for method in everywhere for s in method.training_s]),
        case_s=mean_known([s for method in everywhere for s in method.case_s]),
        clock=listed(list(dict.fromkeys(c for method in everywhere for c in method.clocks))),
        notes=list(dict.fromkeys(note for method in everywhere for note in method.notes)),
    )
