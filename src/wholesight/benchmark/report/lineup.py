"""Who is who in a report: order, highlights, the seed that is shown, a case's mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wholesight.benchmark.judge.evaluate import Evaluation
from wholesight.benchmark.results import DataSetResult, MethodResult, Results

# So many methods have a colour and a shape of their own; the rest share a thin grey line.
HIGHLIGHTS: Final = 8
# Among many methods: so many of the best, beside the reference and the best untrained one.
_BEST: Final = 6

HEADLINE_METRIC: Final = "average_precision"


def mean_of(method: MethodResult, metric: str) -> float | None:
    """Return a figure of the set inside the body, mean over seeds; None where undefined."""
    figure = method.figures.get(metric)
    return None if figure is None else figure.mean


def judged(dataset: DataSetResult) -> list[MethodResult]:
    """Return the methods that have figures, the highest AUPRC first, those without one last."""
    return sorted(able(dataset), key=lambda method: _falling(mean_of(method, HEADLINE_METRIC)))


def able(dataset: DataSetResult) -> list[MethodResult]:
    """Return the methods that have figures, in the order in which they were given."""
    return [method for method in dataset.methods if method.evaluations]


def failed(dataset: DataSetResult) -> list[MethodResult]:
    """Return the methods of which no seed has figures."""
    return [method for method in dataset.methods if not method.evaluations]


def lead(dataset: DataSetResult) -> MethodResult | None:
    """Return the method a report is about.

    The reference, when it is trained: everything is compared with it. Else, as it is a floor, the
    best of those that are trained; where none is, the best beside it.
    """
    best_first = judged(dataset)
    others = [m for m in best_first if m.name != dataset.reference]
    reference = [m for m in best_first if m.name == dataset.reference and m.trained]
    trained = [m for m in others if m.trained]
    return next(iter(reference or trained or others or best_first), None)


def rival(dataset: DataSetResult) -> MethodResult | None:
    """Return what the lead is held against: the reference, else the best untrained method."""
    leading = lead(dataset)
    others = [m for m in judged(dataset) if leading is None or m.name != leading.name]
    reference = [m for m in others if m.name == dataset.reference]
    untrained = [m for m in others if not m.trained]
    return next(iter(reference or untrained or others), None)


def looks(results: Results) -> dict[str, int]:
    """Give methods a look of their own, the same in every plot; those left out are grey.

    All of them up to `HIGHLIGHTS`; else the best by AUPRC (mean over the data sets), the
    reference and the best untrained one.
    """
    order = _overall(results)
    chosen = set(order if len(order) <= HIGHLIGHTS else order[:_BEST])
    for dataset in results.datasets:
        names = [method.name for method in judged(dataset)]
        untrained = [method.name for method in judged(dataset) if not method.trained]
        wanted = [name for name in (dataset.reference, *untrained[:1]) if name in names]
        chosen |= {name for name in wanted if len(chosen) < HIGHLIGHTS or name in chosen}
    return {name: look for look, name in enumerate(n for n in order if n in chosen)}


def middle(method: MethodResult) -> Evaluation:
    """Return the evaluation of the seed whose AUPRC is the middle one (the lower of two)."""
    place = middle_place(method)
    return method.evaluations[place]


def middle_place(method: MethodResult) -> int:
    """Return which of a method's evaluations is the middle one."""
    figures = [each.deployable["set"][HEADLINE_METRIC] for each in method.evaluations]
    order = sorted(range(len(figures)), key=lambda i: -1.0 if figures[i] is None else figures[i])
    return order[(len(order) - 1) // 2]


def case_means(method: MethodResult, key: str) -> list[float | None]:
    """Return a row's figure for every case, mean over the seeds where it is defined."""
    columns = [[row.get(key) for row in each.rows] for each in method.evaluations]
    return [mean_known(figures) for figures in zip(*columns, strict=True)]


def has_masks(method: MethodResult) -> bool:
    """Say whether a method that has figures has a threshold, so that it flags something."""
    return any(row["flagged_voxels"] is not None for row in method.evaluations[0].rows)


def mean_known(figures: Sequence[object]) -> float | None:
    """Return the mean of the numbers among them; None without one.

    >>> mean_known([1, None, 2.0]), mean_known([None])
    (1.5, None)
    """
    known = [float(figure) for figure in figures if isinstance(figure, int | float)]
    return float(np.mean(known)) if known else None


def _overall(results: Results) -> list[str]:
    """Names of all methods with figures, the best mean AUPRC over the data sets first."""
    found: dict[str, list[float]] = {}
    for dataset in results.datasets:
        for method in judged(dataset):
            found.setdefault(method.name, []).append(mean_of(method, HEADLINE_METRIC) or 0.0)
    return sorted(found, key=lambda name: -float(np.mean(found[name])))


def _falling(figure: float | None) -> float:
    return float("inf") if figure is None else -figure
