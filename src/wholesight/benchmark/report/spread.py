"""What a report may say of its spreads: whether intervals are shown, and of how many seeds."""

from __future__ import annotations

from collections.abc import Sequence

from wholesight.benchmark.results import MethodResult
from wholesight.metrics.interval import LEAST_SUBJECTS


def no_intervals(methods: Sequence[MethodResult], names: Sequence[str]) -> str:
    """Say why none of these figures has an interval; empty where one has.

    methods : of one data set, so that all were judged on the same subjects.
    """
    if not methods:
        return "no method gave figures"
    shown = (method.figures.get(name) for method in methods for name in names)
    if any(figure is not None and figure.interval is not None for figure in shown):
        return ""
    if methods[0].evaluations[0].counts["subjects"] < LEAST_SUBJECTS:
        return "they need five subjects"
    # Nothing varies, or nearly everything hangs on one subject.
    return "these subjects give none"


def seed_numbers(methods: Sequence[MethodResult]) -> list[str]:
    """Name the numbers of seeds where there are several, as the table does: "3 seeds"."""
    numbers = sorted({len(method.evaluations) for method in methods})
    return [f"{number} seeds" for number in numbers if number > 1]
