"""The bounds of a histogram's figures, against orders of pixels made to be the worst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholesight.metrics import ranking
from wholesight.metrics.grid import Batch, Grid, count
from wholesight.metrics.histogram import Histogram
from wholesight.metrics.rank_error import (
    Bins,
    auroc_error,
    average_precision_error,
    precision_sums,
)

ROUNDING = 1e-12


def drawn(
    rng: np.random.Generator, n: int, *, share: float = 0.02, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.random(n) < share
    return rng.normal(1.5 * truth + shift, 1.0).astype(np.float32), truth


def test_late_divisions_happen_and_are_counted() -> None:
    """The property above would be idle if bins were never divided with pixels in them."""
    rng = np.random.default_rng(3)
    learnt = drawn(rng, 3000)
    later = [drawn(rng, 3000, share=0.2, shift=0.3 * step) for step in range(10)]
    grid = Grid([Batch.of(*learnt, None)], bins=1024)
    histogram = Histogram(grid.edges)
    divisions = 0
    for case in (learnt, *later):
        batch = Batch.of(*case, None)
        if grid.refine(batch, count(batch, grid.edges), histogram.counted):
            histogram.divide(grid.edges)
            divisions += 1
        histogram.add(batch, count(batch, grid.edges))
    bins = histogram.bins()
    assert divisions
    assert grid.edges.size < 1024
    assert bins.stray_other.sum() > 20
    settled = bins._replace(
        stray_lesion=np.zeros_like(bins.lesion),
        stray_other=np.zeros_like(bins.other),
        last=np.arange(bins.last.size),
    )
    assert auroc_error(bins) > auroc_error(settled)
    assert average_precision_error(bins) > average_precision_error(settled)


@pytest.mark.parametrize("lesion_first", [False, True])
def test_the_worst_order_comes_close_to_the_bound(lesion_first: bool) -> None:
    """In every bin all lesion pixels above all others, or below: no bound may be much larger."""
    rng = np.random.default_rng(4)
    edges = Grid([Batch.of(*drawn(rng, 5000), None)], bins=256).edges
    first = edges[(edges > 0.1) & (edges < 4)].view(np.int32)
    last = np.append(first[1:], np.float32(4).view(np.int32)) - 1
    wide = last - first > 100
    first, last = first[wide], last[wide]
    # Lesion pixels cost the most one by one below the others, and gain the most tied above them.
    lesion = np.repeat(last, 17) if lesion_first else np.add.outer(first, np.arange(17)).ravel()
    other = np.repeat(first if lesion_first else last, 50)
    lesion, other = lesion.view(np.float32), other.view(np.float32)
    batch = Batch(np.sort(lesion), np.sort(other), None)
    histogram = Histogram(edges)
    histogram.add(batch, count(batch, edges))
    bins = histogram.bins()
    exact = np.concatenate([lesion, other]), np.arange(lesion.size + other.size) < lesion.size
    off = abs(float(ranking.auroc_of(bins.steps())) - ranking.auroc(*exact))
    # The pairs of every bin are all wrong by 1/2, as much as they can be.
    assert off == pytest.approx(auroc_error(bins), rel=1e-9)
    off = abs(float(ranking.average_precision_of(bins.steps())) - ranking.average_precision(*exact))
    assert off <= average_precision_error(bins) + ROUNDING
    sums = precision_sums(bins)
    reached = ranking.average_precision(*exact) * bins.lesion.sum()
    assert reached == pytest.approx(sums[lesion_first], rel=1e-4)
    assert sums[0] - 1e-6 <= reached <= sums[1] + 1e-6


@pytest.mark.slow
@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_every_order_within_bins_stays_in_the_bound(seed: int, number: int) -> None:
    """Orders and ties of a few pixels in a few bins, some of them strays of a wide bin."""
    rng = np.random.default_rng(seed)
    settled, stray = rng.integers(0, 2, (2, 2, number))
    last = np.array([rng.integers(at, number) for at in range(number)])
    stray[:, last == np.arange(number)] = 0
    bins = Bins(
        *(settled + stray).astype(float),
        regions=np.zeros(number),
        stray_lesion=stray[0].astype(float),
        stray_other=stray[1].astype(float),
        lowest=np.arange(number),
        tied=np.zeros(number, bool),
        last=last,
    )
    if not bins.lesion.sum() or not bins.other.sum():
        return
    auroc = float(ranking.auroc_of(bins.steps()))
    precision = float(ranking.average_precision_of(bins.steps()))
    lowest, highest = (total / bins.lesion.sum() for total in precision_sums(bins))
    for _ in range(20):
        scores, truth = _one_order(rng, settled, stray, last)
        assert abs(auroc - ranking.auroc(scores, truth)) <= auroc_error(bins) + ROUNDING
        exact = ranking.average_precision(scores, truth)
        assert lowest - ROUNDING <= exact <= highest + ROUNDING
        assert abs(precision - exact) <= average_precision_error(bins) + ROUNDING


def _one_order(
    rng: np.random.Generator, settled: np.ndarray, stray: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores that such bins may have come from: bin k holds [k, k + 1), in steps of 1/2."""
    scores: list[float] = []
    truth: list[bool] = []
    for kind, lesion in enumerate((True, False)):
        for at in range(last.size):
            homes = [at] * settled[kind, at] + [last[at]] * stray[kind, at]
            for end in homes:
                scores.append(rng.integers(2 * at, 2 * (end + 1)) / 2)
                truth.append(lesion)
    return np.array(scores), np.array(truth)
