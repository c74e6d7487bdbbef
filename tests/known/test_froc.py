"""FROC against a count at every threshold, one after the other."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wholesight.datasets import open_dataset
from wholesight.metrics.body import eroded
from wholesight.metrics.froc import Froc, froc, on_common, sensitivity_at
from wholesight.metrics.lesion import lesion_counts


def random_case(
    seed: int, shape: tuple[int, int, int] = (11, 12, 5), decimals: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth map with ties that knows a little about a few lesions, in a ragged body."""
    rng = np.random.default_rng(seed)
    inside = np.zeros(shape, bool)
    inside[1:-1, 2:, :-1] = rng.random((shape[0] - 2, shape[1] - 2, shape[2] - 1)) < 0.95
    truth = ndimage.gaussian_filter(rng.normal(size=shape), 1) > 0.35
    scores = ndimage.gaussian_filter(rng.normal(size=shape), 0.7) * 3 + truth
    return np.round(scores, decimals).astype(np.float32), truth, inside


def naive(
    scores: np.ndarray, truth: np.ndarray, inside: np.ndarray
) -> dict[float, tuple[int, int]]:
    """Lesions found and false components at every distinct score of the body."""
    found = {}
    for threshold in np.unique(scores[inside]):
        counts = lesion_counts((scores >= threshold) & inside, truth & inside, inside)
        found[float(threshold)] = counts.found, counts.flagged - counts.true
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.integers(0, 3))
def test_agrees_with_a_count_at_every_score(seed: int, decimals: int) -> None:
    scores, truth, inside = random_case(seed, decimals=decimals)
    known = naive(scores, truth, inside)
    curve = froc(scores, truth, inside, levels=30)
    assert curve.lesions == lesion_counts(truth, truth & inside).lesions
    for threshold, found, false in zip(*curve[:3], strict=True):
        assert (found, false) == known[float(threshold)]


@pytest.mark.parametrize("seed", range(4))
def test_levels_are_the_wanted_quantiles(seed: int) -> None:
    scores, truth, inside = random_case(seed, (30, 40, 10), decimals=7)
    curve = froc(scores, truth, inside)
    shares = np.array([(scores[inside] >= t).mean() for t in curve.thresholds])
    assert (np.diff(curve.thresholds) < 0).all()
    assert shares[-1] == pytest.approx(0.5, abs=1e-3)
    assert shares[0] == 1 / inside.sum()  # 1e-4 of this body is less than a voxel
    assert 30 <= shares.size <= 48
    upper = shares > 0.01  # where a voxel more or less does not show
    np.testing.assert_allclose(np.diff(np.log(shares[upper])), np.log(5000) / 47, rtol=0.1)


def test_it_stops_at_half_the_body() -> None:
    """Ties that flag more than half are left out, down to a constant map, which has no level."""
    scores, truth, inside = random_case(1)
    assert froc(np.ones_like(scores), truth, inside).thresholds.size == 0
    rare = (np.random.default_rng(0).random(scores.shape) < 0.02).astype(np.float32)
    np.testing.assert_array_equal(froc(rare, truth, inside).thresholds, [1.0])


def test_only_the_body_counts() -> None:
    scores, truth, inside = random_case(2)
    curve = froc(scores, truth, inside)
    beyond = np.where(inside, scores, np.nan).astype(np.float32)
    for ours, again in zip(curve, froc(beyond, truth | ~inside, inside), strict=True):
        np.testing.assert_array_equal(ours, again)
    with pytest.raises(ValueError, match="NaN"):
        froc(beyond, truth, np.ones_like(inside))
    nobody = froc(scores, truth, np.zeros_like(inside))
    assert nobody.lesions == nobody.thresholds.size == 0


def test_the_way_the_grid_lies_does_not_matter() -> None:
    scores, truth, inside = random_case(3)
    for order in ((1, 2, 0), (2, 1, 0), (0, 2, 1)):
        turned = froc(*(array.transpose(order) for array in (scores, truth, inside)))
        for ours, again in zip(froc(scores, truth, inside), turned, strict=True):
            np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize("seed", range(4))
def test_between_levels_the_stricter_stands(seed: int) -> None:
    curves = [froc(*random_case(10 * seed + c, decimals=seed)) for c in range(3)]
    common = on_common(curves, points=10**6)
    assert common.thresholds.size == np.unique(np.concatenate([c.thresholds for c in curves])).size
    assert (np.diff(common.thresholds) < 0).all()
    for c, curve in enumerate(curves):
        for p, threshold in enumerate(common.thresholds):
            reached = curve.thresholds >= threshold
            known = (0, 0)
            if reached.any():
                known = curve.found[reached][-1], curve.false[reached][-1]
            assert (common.found[c, p], common.false[c, p]) == known


def test_thinning_keeps_both_ends_and_changes_nothing_else() -> None:
    curves = [froc(*random_case(c, decimals=5)) for c in range(8)]
    full, thin = on_common(curves, points=10**6), on_common(curves, points=50)
    assert thin.thresholds.size == 50 < full.thresholds.size
    assert thin.thresholds[[0, -1]].tolist() == full.thresholds[[0, -1]].tolist()
    at = np.searchsorted(-full.thresholds, -thin.thresholds)
    np.testing.assert_array_equal(thin.found, full.found[:, at])
    np.testing.assert_array_equal(thin.false, full.false[:, at])


def test_a_case_without_level_finds_nothing() -> None:
    nothing = np.empty(0)
    none = Froc(nothing, nothing.astype(int), nothing.astype(int), 2)
    some = Froc(np.array([3.0, 1.0]), np.array([1, 2]), np.array([0, 4]), 2)
    common = on_common([none, some])
    np.testing.assert_array_equal(common.thresholds, [3.0, 1.0])
    np.testing.assert_array_equal(common.found, [[0, 0], [1, 2]])
    assert on_common([none]).found.shape == (1, 0)


def test_sensitivity_by_hand() -> None:
    """Not the last threshold that is quiet enough but the best: lesions can be lost again."""
    found = np.array([0, 3, 2, 1, 4])
    false = np.array([0, 1, 4, 2, 9])
    four, two = np.array(4), np.array(2)
    assert sensitivity_at(found, false, four, two) == 0.75
    assert sensitivity_at(found, false, four, two, false_per_scan=2.0) == 0.75
    assert sensitivity_at(found, false, four, two, false_per_scan=0.0) == 0.0
    assert sensitivity_at(found, false, four, two, false_per_scan=4.5) == 1.0
    assert sensitivity_at(found, false + 9, four, two) == 0.0  # only silence is quiet enough
    assert np.isnan(sensitivity_at(found * 0, false, np.array(0), two))
    assert sensitivity_at(found[:0], false[:0], four, two) == 0.0


def test_a_rate_that_is_reached_exactly_is_allowed() -> None:
    """29 false ones in 100 scans are 0.29 a scan, though 0.29 * 100 < 29 in floating point."""
    arrays = np.array([1]), np.array([29]), np.array(1), np.array(100)
    assert sensitivity_at(*arrays, false_per_scan=0.29) == 1.0


def test_many_resamples_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(0)
    curves = [froc(*random_case(c)) for c in range(6)]
    common, lesions = on_common(curves), np.array([curve.lesions for curve in curves])
    weights = rng.integers(0, 3, (4, 5, 6)).astype(float)
    weights[0, 0] = 0
    sums = weights @ common.found, weights @ common.false, weights @ lesions, weights.sum(axis=-1)
    together = sensitivity_at(*sums, false_per_scan=2.0)
    assert together.shape == (4, 5)
    assert np.isnan(together[0, 0])
    for at in np.ndindex(4, 5):
        quiet = sums[1][at] <= 2 * sums[3][at]
        known = max([0, *sums[0][at][quiet]]) / sums[2][at] if sums[2][at] else np.nan
        assert together[at] == pytest.approx(known, nan_ok=True)


def test_more_false_alarms_never_find_less() -> None:
    curve = froc(*random_case(5, (30, 30, 8), decimals=4))
    rates = [0.0, 0.5, 1.0, 3.0, 10.0, 1e9]
    best = [
        float(sensitivity_at(*curve[1:3], np.array(curve.lesions), np.array(1), false_per_scan=r))
        for r in rates
    ]
    assert best == sorted(best)
    assert best[-1] == curve.found.max() / curve.lesions > 0


def test_a_whole_scan_takes_no_minute() -> None:
    """The figure that users wait for: measured at 0.2 s, with room for a busy machine."""
    rng = np.random.default_rng(0)
    scores = ndimage.gaussian_filter(rng.normal(size=(170, 140, 16)), 0.7).astype(np.float32)
    truth = scores > 0.8
    before = time.process_time()
    assert froc(scores, truth, np.ones(scores.shape, bool)).thresholds.size == 48
    assert time.process_time() - before < 2.0


@pytest.mark.slow
def test_maps_that_know_nothing_find_next_to_nothing(lgg_flair: Path) -> None:
    """Where lesions fill a tenth of the body, a blind map must not pass for a detector."""
    curves, everything = [], []
    for case in open_dataset(lgg_flair).subset("validation"):
        scan = case.read()
        assert scan.abnormal is not None
        inside = eroded(scan.image.voxels > 0, axis=2)
        truth = scan.abnormal.voxels & inside
        depth = [ndimage.distance_transform_edt(inside[..., k]) for k in range(inside.shape[2])]
        curves.append(froc(np.stack(depth, axis=2).astype(np.float32), truth, inside))
        everything.append(lesion_counts(inside, truth, inside))
    common = on_common(curves)
    lesions, scans = sum(one.lesions for one in curves), len(curves)
    found, false = common.found.sum(axis=0), common.false.sum(axis=0)
    assert sensitivity_at(found, false, np.array(lesions), np.array(scans)) <= 0.05
    assert sum(one.found for one in everything) == 0
    assert lesions == 20
