"""The answer in words: it claims no more than intervals and tests say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wholesight.benchmark.report import answer
from wholesight.benchmark.report.write import write_report
from wholesight.benchmark.results import Compared, DataSetResult, Failure, Results
from wholesight.metrics.comparison import compare
from wholesight.metrics.interval import Interval


def compared(low: float, high: float, holm_p: float | None, sign: float = 1.0) -> Compared:
    rng = np.random.default_rng(0)
    test = compare(sign * rng.uniform(0.1, 0.2, 8), np.zeros(8))
    return Compared(test, holm_p, holm_p, (low + high) / 2, Interval(low, high))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (compared(0.01, 0.2, 0.01), "better"),
        (compared(-0.2, -0.01, 0.01, sign=-1), "worse"),
        (compared(-0.01, 0.2, 0.01), "unclear"),
        (compared(0.01, 0.2, 0.05), "unclear"),
        (compared(0.01, 0.2, None), "unclear"),
        # The set says one thing and the subjects another.
        (compared(0.01, 0.2, 0.01, sign=-1), "unclear"),
        (dataclasses.replace(compared(0.01, 0.2, 0.01), gain=None), "unclear"),
        (None, "unclear"),
    ],
)
def test_verdict_needs_interval_and_test(found: Compared | None, said: str) -> None:
    assert answer.verdict(found) == said


def spoken(found: DataSetResult) -> str:
    return "".join(piece.text for piece in answer.answer(found))


def with_comparison(results: Results, found: Compared) -> DataSetResult:
    first = results.datasets[0]
    return dataclasses.replace(first, comparisons={"detector": {"average_precision": found}})


def test_answer_claims_no_more_than_the_interval(pair: Results) -> None:
    sure = spoken(with_comparison(pair, compared(0.01, 0.2, 0.01)))
    assert sure.startswith("detector ranks lesion pixels better than floor & <noise>: AUPRC ")
    assert "95 % interval +0.010 to +0.200" in sure
    unsure = spoken(with_comparison(pair, compared(-0.01, 0.2, 0.2)))
    assert unsure.startswith("detector cannot be told from floor & <noise> on these subjects")
    mixed = spoken(with_comparison(pair, compared(-0.01, 0.2, 0.01)))
    assert mixed.startswith(
        "detector is higher than floor & <noise> in most subjects, but not surely so over all "
        "pixels together: "
    )
    lower = spoken(with_comparison(pair, compared(-0.2, 0.01, 0.01, sign=-1)))
    assert lower.startswith("detector is lower than floor & <noise> in most subjects")
    assert not any("better" in said or "worse" in said for said in (unsure, mixed, lower))
    small = dataclasses.replace(compared(0.01, 0.2, 0.01), gain=None)
    assert "too few subjects for an interval" in spoken(with_comparison(pair, small))


@pytest.mark.parametrize(
    ("lowest", "highest", "said"),
    [
        (0.60, 0.70, "ranks lesion pixels better than floor & <noise>: "),
        (0.40, 0.70, "is higher than floor & <noise> on these subjects, but seeds of the two over"),
    ],
)
def test_seeds_that_overlap_leave_it_open(
    pair: Results, lowest: float, highest: float, said: str
) -> None:
    """Intervals and tests resample subjects: they cannot know what training again would give."""
    found = with_comparison(pair, compared(0.01, 0.2, 0.01))
    seeds = {"detector": (lowest, highest), "floor & <noise>": (0.45, 0.55)}
    methods = []
    for each in found.methods:
        low, high = seeds[each.name]
        figure = dataclasses.replace(
            each.figures["average_precision"], lowest=low, highest=high, mean=(low + high) / 2
        )
        figures = {**each.figures, "average_precision": figure}
        methods.append(dataclasses.replace(each, figures=figures))
    assert spoken(dataclasses.replace(found, methods=methods)).startswith(f"detector {said}")


def test_few_methods_are_named_each(many: Results) -> None:
    first = many.datasets[0]
    few = [m for m in first.methods if m.name in {"method-0", "method-1", "gone", "floor_mode"}]
    found = dataclasses.replace(
        first,
        methods=few,
        comparisons={
            "method-0": {"average_precision": compared(0.01, 0.2, 0.01)},
            "method-1": {"average_precision": compared(-0.2, -0.01, 0.0499, sign=-1)},
        },
    )
    better, worse = spoken(found).split(". ")
    assert better.startswith("method-0 ranks lesion pixels better than floor_mode: AUPRC ")
    assert better.endswith("(95 % interval +0.010 to +0.200, adjusted p 0.010)")
    assert worse.startswith("method-1 ranks lesion pixels worse than floor_mode: AUPRC ")
    assert worse.endswith("adjusted p < 0.05).")
    beside = "".join(piece.text for piece in answer.support(found))
    assert beside.startswith("6 cases of 6 subjects were judged. ")
    assert beside.endswith(" Without figures, as every run failed: gone.")


def test_answer_counts_many(many: Results) -> None:
    first = many.datasets[0]
    said = spoken(first)
    verdicts = list(answer.verdicts(first).values())
    assert len(verdicts) == 25
    assert set(verdicts) == {"unclear"}  # four ill subjects are too few for any test
    assert said.startswith("None of 25 methods can be told from floor_mode on these subjects; ")
    names = list(answer.verdicts(first))[:7]
    found = {name: compared(0.01, 0.2, 0.01) for name in names[:6]}
    found[names[6]] = compared(-0.2, -0.01, 0.01, sign=-1)
    judged = {name: {"average_precision": each} for name, each in found.items()}
    said = spoken(dataclasses.replace(first, comparisons=judged))
    assert said.startswith(
        "Of 25 methods, 6 rank lesion pixels better than floor_mode "
        f"({names[0]}, {names[1]}, {names[2]} and 3 more), 1 worse, and 18 cannot be told from it"
    )


def test_nothing_to_compare_is_said(alone: Callable[..., DataSetResult], tmp_path: Path) -> None:
    assert "nothing stands beside it" in spoken(alone(noise=0.3))
    lost = alone(failures=(Failure(0, "E_X", "why"),))
    assert spoken(lost).startswith("No method gave figures")
    assert write_report(Results("t", "", [lost]), tmp_path).exists()
    healthy = alone(noise=0.3, normals=6)
    assert "no ranking" in spoken(healthy)
    assert write_report(Results("t", "", [healthy]), tmp_path).exists()
