"""Per-region overlap against a loop over every threshold, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from wholesight.metrics.pro import aupro_of, region_shares, region_steps
from wholesight.metrics.ranking import auroc, steps_of


def lesions(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and region labels of a picture with regions of 1 to hundreds of pixels."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(40, 40)), 1.5)
    truth = smooth > np.quantile(smooth, 0.85)
    labels, number = ndimage.label(truth, np.ones((3, 3)))
    assert number > 5
    scores = rng.normal(truth * rng.uniform(0, 2, number + 1)[labels], 1.0)
    return np.round(scores, decimals).astype(np.float32), truth, labels


def of_picture(
    scores: np.ndarray, truth: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    thresholds, steps = steps_of(scores, truth)
    shares = region_shares(labels[truth])
    return np.cumsum(region_steps(thresholds, scores[truth], shares)), steps.false_flags


def by_hand(scores: np.ndarray, truth: np.ndarray, labels: np.ndarray, limit: float) -> float:
    """Flag at one threshold after the other and look at each region."""
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        rates.append(flagged[~truth].mean())
        overlaps.append(np.mean([flagged[labels == r].mean() for r in range(1, labels.max() + 1)]))
    reached = int(np.searchsorted(rates, limit, side="right"))
    at_limit = np.interp(limit, rates, overlaps)
    x, y = [*rates[:reached], limit], [*overlaps[:reached], at_limit]
    return float(np.trapezoid(y, x) / limit)


@pytest.mark.parametrize("decimals", [0, 1, 7])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_agrees_with_a_loop_over_thresholds(limit: float, decimals: int) -> None:
    picture = lesions(decimals, decimals)
    expected = by_hand(*picture, limit)
    assert aupro_of(*of_picture(*picture), limit=limit) == pytest.approx(expected, abs=1e-6)


def test_one_region_up_to_every_false_positive_is_auroc() -> None:
    scores, truth, _ = lesions(4, 1)
    curve = of_picture(scores, truth, truth.astype(int))
    assert aupro_of(*curve, limit=1.0) == pytest.approx(auroc(scores, truth), abs=1e-6)


def test_a_small_lesion_counts_as_much_as_a_large_one() -> None:
    """The large lesion of 9 pixels is found, the one of 1 pixel is not: PRO 1/2, not 9/10."""
    labels = np.array([1] * 9 + [2] + [0] * 10)
    scores = np.where(labels == 1, 2.0, np.where(labels == 0, 1.0, 0.0)).astype(np.float32)
    ours = aupro_of(*of_picture(scores, labels > 0, labels), limit=0.3)
    assert ours == pytest.approx(0.5, abs=1e-6)


def test_the_area_is_cut_at_the_limit() -> None:
    """A constant score is one straight line from (0, 0) to (1, 1)."""
    for limit in (0.05, 0.3):
        ours = aupro_of(np.array([2.0]), np.array([100.0]), limit=limit)
        assert ours == pytest.approx(limit / 2)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_all_of_many_sets_at_once(limit: float) -> None:
    rng = np.random.default_rng(0)
    # Weights below 1 too, as in a set whose cases count by half.
    regions, other = rng.random((3, 30)), 0.5 * rng.integers(0, 4, (3, 30))
    regions[0] = 0
    other[1, :4] = 0
    curves = np.cumsum(regions, axis=-1), np.cumsum(other, axis=-1)
    every = aupro_of(*curves, limit=limit)
    assert np.isnan(every[0])
    assert np.isnan(aupro_of(curves[0], np.zeros_like(other), limit=limit)).all()
    for ours, y, x in zip(every, *curves, strict=True):
        assert ours == pytest.approx(float(aupro_of(y, x, limit=limit)), nan_ok=True)
        at_limit = np.interp(limit * x[-1], [0, *x], [0, *y])
        below = x <= limit * x[-1]
        area = np.trapezoid([0, *y[below], at_limit], [0, *x[below], limit * x[-1]])
        if y[-1]:
            assert ours == pytest.approx(area / (limit * x[-1] * y[-1]))


@pytest.mark.parametrize("limit", [0.0, 1.01])
def test_a_limit_is_a_rate(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        aupro_of(np.ones(3), np.ones(3), limit=limit)


def test_without_lesion_there_are_no_shares() -> None:
    assert region_shares(np.empty(0, int)).size == 0
    assert np.isnan(aupro_of(np.empty(0), np.empty(0), limit=0.3))
    with pytest.raises(ValueError, match="shares"):
        region_steps(np.array([1.0]), np.array([1.0]), np.empty(0))
