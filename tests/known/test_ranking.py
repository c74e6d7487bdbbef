"""Ranking and oracle figures against scikit-learn, brute force, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from wholesight.metrics import overlap, ranking
from wholesight.metrics.oracle import best_dice, best_dice_of, dice_of_steps
from wholesight.metrics.ranking import Curve, Steps


def tied(seed: int, n: int, share: float, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    truth[:2] = True, False
    return np.round(rng.normal(0.7 * truth, 1.0), decimals).astype(np.float32), truth


TIED = pytest.mark.parametrize(
    ("seed", "n", "share", "decimals"),
    [(0, 10, 0.5, 0), (1, 300, 0.05, 1), (2, 5000, 0.01, 2), (3, 5000, 0.9, 0), (4, 999, 0.3, 7)],
)


def sklearns_trapezoid(scores: np.ndarray, truth: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return auc(recall, precision)


@TIED
def test_figures_agree_with_scikit_learn(seed: int, n: int, share: float, decimals: int) -> None:
    scores, truth = tied(seed, n, share, decimals)
    for ours, theirs in [
        (ranking.auroc, roc_auc_score(truth, scores)),
        (ranking.average_precision, average_precision_score(truth, scores)),
        (ranking.pr_trapezoid, sklearns_trapezoid(scores, truth)),
    ]:
        assert ours(scores, truth) == pytest.approx(theirs, abs=1e-12)


@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(1, 20))
def test_few_pixels_agree_with_scikit_learn(seed: int, n: int, values: int) -> None:
    """Where ties, runs and ends are a large part of the figure."""
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(values, size=n).astype(np.float32), rng.random(n) < 0.5
    truth[:2] = True, False
    assert ranking.auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    ours, theirs = ranking.average_precision(scores, truth), average_precision_score(truth, scores)
    assert ours == pytest.approx(theirs, abs=1e-12)
    ours, theirs = ranking.pr_trapezoid(scores, truth), sklearns_trapezoid(scores, truth)
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_steps_are_what_thresholds_flag() -> None:
    scores, truth = tied(8, 400, 0.1, 1)
    thresholds, steps = ranking.steps_of(scores, truth)
    assert (np.diff(thresholds) < 0).all()
    flagged = scores >= thresholds[:, None]
    np.testing.assert_array_equal(np.cumsum(steps.lesion), (flagged & truth).sum(axis=1))
    np.testing.assert_array_equal(np.cumsum(steps.other), (flagged & ~truth).sum(axis=1))
    assert thresholds.size <= 2 * np.unique(scores[truth]).size + 1


def test_all_of_many_sets_at_once() -> None:
    """Leading axes, weights, empty steps: each set has the figures that it has alone."""
    rng = np.random.default_rng(0)
    steps = Steps(rng.poisson(0.7, (2, 3, 40)) * 0.5, rng.poisson(2.0, (2, 3, 40)))
    steps.lesion[0, 0] = 0
    steps.other[0, 1] = 0
    steps.lesion[1, 1, :5] = steps.other[1, 1, :5] = 0
    for figure in (
        ranking.auroc_of,
        ranking.average_precision_of,
        ranking.trapezoid_of,
        best_dice_of,
    ):
        every = figure(steps)
        assert every.shape == (2, 3)
        for at in np.ndindex(2, 3):
            filled = steps.lesion[at] + steps.other[at] > 0
            alone = figure(Steps(steps.lesion[at][filled], steps.other[at][filled]))
            assert every[at] == pytest.approx(float(alone), abs=1e-14, nan_ok=True)
        assert np.isnan(every[0, 0])
        assert np.isnan(every[0, 1]) == (figure is ranking.auroc_of)


def test_sets_that_are_added_up_are_the_sum_of_their_steps() -> None:
    """Running sums that are added up must not differ from those of the sums."""
    rng = np.random.default_rng(1)
    steps = Steps(*rng.integers(0, 90, (2, 5, 30), dtype=np.int32))
    weights = rng.integers(0, 3, (4, 5)).astype(float)
    added = steps.weighted(weights)
    summed = Steps(*(weights @ kind for kind in steps))
    np.testing.assert_array_equal(added, summed)
    for name in ("true_flags", "false_flags", "flagged", "precision", "lesions", "others"):
        np.testing.assert_array_equal(getattr(added, name), getattr(summed, name))


def test_many_pixels_do_not_wrap_around() -> None:
    """Products of counts that are held in 32 bits go far beyond them."""
    wide = Steps(np.full(9, 10**5, np.int32), np.full(9, 10**6, np.int32))
    assert ranking.auroc_of(wide) == 0.5


def test_without_a_pixel_there_is_no_figure() -> None:
    nothing = np.empty(0, np.float32), np.empty(0, bool)
    assert np.isnan(ranking.auroc(*nothing))
    assert np.isnan(ranking.average_precision(*nothing))
    assert np.isnan(ranking.pr_trapezoid(*nothing))
    assert np.isnan(best_dice_of(ranking.steps_of(*nothing)[1]))


def test_the_trapezoid_is_optimistic_about_ties() -> None:
    """A map that says nothing must not seem to say something under the headline's name."""
    truth = np.arange(10) < 1
    constant = np.zeros(10, np.float32)
    assert ranking.average_precision(constant, truth) == pytest.approx(0.1)
    assert ranking.pr_trapezoid(constant, truth) == pytest.approx(0.55)


@TIED
def test_best_dice_agrees_with_every_threshold(
    seed: int, n: int, share: float, decimals: int
) -> None:
    scores, truth = tied(seed, min(n, 999), share, min(decimals, 1))
    by_hand = {t: overlap.dice(scores >= t, truth) for t in np.unique(scores)}
    best = best_dice(scores, truth)
    assert best.dice == pytest.approx(max(by_hand.values()), abs=1e-12)
    assert by_hand[np.float32(best.threshold)] == pytest.approx(best.dice, abs=1e-12)
    thresholds, steps = ranking.steps_of(scores, truth)
    for threshold, dice in zip(thresholds, dice_of_steps(steps), strict=True):
        assert dice == pytest.approx(by_hand[threshold], abs=1e-12)


def test_of_equal_thresholds_the_highest_is_best() -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    truth = np.array([True, False, False, True, False])
    assert best_dice(scores, truth) == (pytest.approx(2 / 3), 4.0)


def test_best_dice_without_lesion_is_undefined() -> None:
    best = best_dice(np.arange(4.0), np.zeros(4, bool))
    assert np.isnan(best.dice)
    assert best.threshold == np.inf


def test_pr_curve_lies_on_scikit_learns_and_is_thin() -> None:
    scores, truth = tied(5, 20_000, 0.1, 7)
    curve = ranking.precision_recall_curve(scores, truth)
    precision, recall, threshold = precision_recall_curve(truth, scores)
    at = np.searchsorted(threshold, curve.threshold)
    assert 400 < curve.x.size <= 512
    np.testing.assert_allclose(curve.x, recall[at])
    np.testing.assert_allclose(curve.y, precision[at])
    assert curve.x[-1] == 1.0
    assert curve.threshold[0] == scores[truth].max()
    assert (np.diff(curve.x) > 0).all()


def test_roc_curve_lies_on_scikit_learns_and_is_thin() -> None:
    scores, truth = tied(5, 20_000, 0.1, 7)
    curve = ranking.roc_curve_of(*ranking.steps_of(scores, truth))
    false_rate, sensitivity, threshold = roc_curve(truth, scores, drop_intermediate=False)
    at = np.searchsorted(-threshold, -curve.threshold)
    assert 400 < curve.x.size <= 512
    np.testing.assert_allclose(curve.x, false_rate[at])
    np.testing.assert_allclose(curve.y, sensitivity[at])
    assert (curve.x[0], curve.y[0], curve.threshold[0]) == (0.0, 0.0, np.inf)
    assert (curve.x[-1], curve.y[-1]) == (1.0, 1.0)
    assert np.hypot(np.diff(curve.x), np.diff(curve.y)).max() < 0.02
    assert auc(curve.x, curve.y) == pytest.approx(roc_auc_score(truth, scores), abs=5e-4)


def test_a_short_curve_is_not_thinned() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    truth = np.array([True, False, True, False])
    pr = Curve(np.array([0.5, 1.0]), np.array([1.0, 2 / 3]), np.array([0.9, 0.7]))
    roc = Curve(
        np.array([0, 0, 0.5, 0.5, 1.0]),
        np.array([0, 0.5, 0.5, 1.0, 1.0]),
        np.array([np.inf, 0.9, 0.8, 0.7, 0.6]),
    )
    ours = ranking.precision_recall_curve(scores, truth)
    np.testing.assert_allclose(ours, pr, rtol=1e-6)
    np.testing.assert_allclose(
        ranking.roc_curve_of(*ranking.steps_of(scores, truth)), roc, rtol=1e-6
    )


@pytest.mark.parametrize("lesion", [False, True])
def test_a_curve_of_one_kind_of_pixel_is_empty(lesion: bool) -> None:
    steps = ranking.steps_of(np.arange(4.0), np.full(4, lesion))
    assert ranking.roc_curve_of(*steps).x.size == 0
    assert (ranking.precision_recall_curve_of(*steps).x.size > 0) == lesion


def test_constant_scores_say_nothing() -> None:
    truth = np.arange(10) < 3
    scores = np.full(10, 0.25, np.float32)
    assert ranking.auroc(scores, truth) == 0.5
    assert ranking.average_precision(scores, truth) == pytest.approx(0.3)
    assert best_dice(scores, truth) == (pytest.approx(6 / 13), 0.25)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranking.auroc(np.array([0.1, np.nan]), np.array([True, False]))


def test_infinite_scores_have_a_rank() -> None:
    scores = np.array([-np.inf, 0.0, np.inf])
    assert ranking.auroc(scores, np.array([False, False, True])) == 1.0
