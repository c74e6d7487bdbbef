"""Metrics against answers known from elsewhere: scikit-learn, brute force, arithmetic by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from wholesight import metrics
from wholesight.io import nifti
from wholesight.metrics.ranking import Curve


def tied(seed: int, n: int, share: float, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    truth[:2] = True, False
    return np.round(rng.normal(0.7 * truth, 1.0), decimals).astype(np.float32), truth


TIED = pytest.mark.parametrize(
    ("seed", "n", "share", "decimals"),
    [(0, 10, 0.5, 0), (1, 300, 0.05, 1), (2, 5000, 0.01, 2), (3, 5000, 0.9, 0), (4, 999, 0.3, 7)],
)


@TIED
def test_ranking_agrees_with_scikit_learn(seed: int, n: int, share: float, decimals: int) -> None:
    scores, truth = tied(seed, n, share, decimals)
    assert metrics.auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    expected = average_precision_score(truth, scores)
    assert metrics.average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


@TIED
def test_best_dice_agrees_with_every_threshold(
    seed: int, n: int, share: float, decimals: int
) -> None:
    scores, truth = tied(seed, min(n, 999), share, min(decimals, 1))
    by_hand = {t: metrics.dice(scores >= t, truth) for t in np.unique(scores)}
    best = metrics.best_dice(scores, truth)
    assert best.dice == pytest.approx(max(by_hand.values()), abs=1e-12)
    assert by_hand[np.float32(best.threshold)] == pytest.approx(best.dice, abs=1e-12)


def test_curve_lies_on_scikit_learns_and_is_thin() -> None:
    scores, truth = tied(5, 20_000, 0.1, 7)
    curve = metrics.precision_recall_curve(scores, truth)
    precision, recall, threshold = precision_recall_curve(truth, scores)
    at = np.searchsorted(threshold, curve.threshold)
    assert 400 < curve.recall.size <= 512
    np.testing.assert_allclose(curve.recall, recall[at])
    np.testing.assert_allclose(curve.precision, precision[at])
    assert curve.recall[-1] == 1.0
    assert (np.diff(curve.recall) > 0).all()


def test_a_short_curve_is_not_thinned() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    curve = metrics.precision_recall_curve(scores, np.array([True, False, True, False]))
    expected = Curve(np.array([0.5, 1.0]), np.array([1.0, 2 / 3]), np.array([0.9, 0.7]))
    for ours, known in zip(curve, expected, strict=True):
        np.testing.assert_allclose(ours, known, rtol=1e-6)


def test_constant_scores_say_nothing() -> None:
    truth = np.arange(10) < 3
    scores = np.full(10, 0.25, np.float32)
    assert metrics.auroc(scores, truth) == 0.5
    assert metrics.average_precision(scores, truth) == pytest.approx(0.3)
    assert metrics.best_dice(scores, truth) == (pytest.approx(6 / 13), 0.25)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc(np.array([0.1, np.nan]), np.array([True, False]))


def test_infinite_scores_have_a_rank() -> None:
    scores = np.array([-np.inf, 0.0, np.inf])
    assert metrics.auroc(scores, np.array([False, False, True])) == 1.0


def test_overlap_by_hand() -> None:
    mask = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    truth = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
    assert metrics.dice(mask, truth) == pytest.approx(4 / 7)
    assert metrics.sensitivity(mask, truth) == 0.5
    assert metrics.precision(mask, truth) == pytest.approx(2 / 3)
    assert metrics.flagged_share(mask, truth) == 0.25


def test_what_empty_means() -> None:
    none, some = np.zeros(4, bool), np.array([1, 0, 0, 0], bool)
    assert np.isnan(metrics.dice(none, none))
    assert metrics.dice(some, none) == metrics.dice(none, some) == 0.0
    assert np.isnan(metrics.precision(none, none))
    assert metrics.precision(none, some) == 0.0  # silence is not precise
    assert np.isnan(metrics.sensitivity(some, none))
    assert np.isnan(metrics.flagged_share(some, ~none))
    best = metrics.best_dice(np.arange(4.0), none)
    assert np.isnan(best.dice)
    assert best.threshold == np.inf


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 5, 6])
def test_erosion_is_a_square_in_each_slice(axis: int, size: int) -> None:
    solid = np.random.default_rng(axis).random((20, 21, 22)) < 0.97
    ours = np.moveaxis(metrics.eroded(solid, axis=axis, size=size), axis, 0)
    square = np.ones((size, size), bool)
    for one, before in zip(ours, np.moveaxis(solid, axis, 0), strict=True):
        np.testing.assert_array_equal(one, ndimage.binary_erosion(before, square))


def test_erosion_counts_axes_from_the_end_too() -> None:
    solid = np.ones((9, 9, 3), bool)
    np.testing.assert_array_equal(metrics.eroded(solid, axis=-1), metrics.eroded(solid, axis=2))


def test_pixels_come_from_the_body_alone() -> None:
    inside = np.zeros((2, 2, 1), bool)
    inside[0] = True
    scores = np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])
    pixels = metrics.pixels_inside(inside, scores=scores, truth=scores == 2.0)
    np.testing.assert_array_equal(pixels.scores, [1.0, 2.0])
    np.testing.assert_array_equal(pixels.truth, [False, True])
    assert pixels.mask is None
    with pytest.raises(ValueError, match="1 in-body scores are not finite"):
        metrics.pixels_inside(np.ones_like(inside), scores=scores, truth=inside)
    with pytest.raises(ValueError, match="truth"):
        metrics.pixels_inside(inside, scores=scores, truth=inside[:1])


def test_pooling_is_not_averaging() -> None:
    """A scale that differs between cases must cost something: one threshold serves them all."""
    truth = np.array([False, True])
    dim = metrics.Pixels(np.array([0.0, 1.0], np.float32), truth, truth)
    bright = metrics.Pixels(np.array([10.0, 11.0], np.float32), truth, truth)
    both = metrics.pooled([dim, bright])
    assert metrics.auroc(both.scores, both.truth) == 0.75
    assert both.mask is not None
    assert metrics.pooled([dim, bright._replace(mask=None)]).mask is None


def test_floor_of_raw_intensity_on_real_tumours(lgg_flair: Path) -> None:
    """The whole evaluation at once, against figures measured by other code before this one."""
    cases = []
    for case in json.loads((lgg_flair / "split.json").read_text())["validation"]:
        image = nifti.read_image(lgg_flair / case / f"{case}_flair.nii.gz").voxels
        truth = nifti.read_mask(lgg_flair / case / f"{case}_seg.nii.gz").voxels
        inside = metrics.eroded(image > 0, axis=2)
        cases.append(metrics.pixels_inside(inside, scores=image, truth=truth))
    every = metrics.pooled(cases)
    assert metrics.average_precision(every.scores, every.truth) == pytest.approx(0.419, abs=5e-4)
    assert metrics.best_dice(every.scores, every.truth).dice == pytest.approx(0.434, abs=5e-4)
