"""Intervals over subjects against scipy's own bootstrap, and against how often they are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from wholesight.metrics.interval import LEAST_SUBJECTS, Interval, Resamples, bootstrap_interval

Statistic = Callable[[np.ndarray], np.ndarray]


def mean_of(figures: np.ndarray) -> Statistic:
    return lambda weights: weights @ figures / weights.sum(axis=1)


def pooled_dice_of(counts: np.ndarray) -> Statistic:
    """Dice of the pixels of all drawn subjects together; counts (s, 3) shared, ours, theirs."""

    def dice(weights: np.ndarray) -> np.ndarray:
        shared, ours, theirs = (weights @ counts).T
        return 2 * shared / (ours + theirs)

    return dice


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_mean_agrees_with_scipys_own_bootstrap(seed: int, confidence: float) -> None:
    figures = np.random.default_rng(seed + 50).exponential(size=20)
    ours = bootstrap_interval(mean_of(figures), 20, confidence=confidence, seed=seed)
    rng = np.random.default_rng(seed)
    theirs = stats.bootstrap(
        (figures,), np.mean, n_resamples=2000, confidence_level=confidence, rng=rng
    )
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_a_pooled_figure_agrees_with_scipys_own_bootstrap() -> None:
    rng = np.random.default_rng(4)
    shared = rng.integers(0, 50, 12)
    counts = np.stack([shared, shared + rng.integers(0, 90, 12), shared + 30], axis=1)

    def dice_of_drawn(shared, ours, theirs, axis=-1):  # type: ignore[no-untyped-def]
        return 2 * shared.sum(axis) / (ours.sum(axis) + theirs.sum(axis))

    theirs = stats.bootstrap(
        tuple(counts.T), dice_of_drawn, n_resamples=2000, paired=True, rng=np.random.default_rng(9)
    )
    ours = bootstrap_interval(pooled_dice_of(counts), 12, seed=9)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = Resamples.draw(20, resamples=1000)
    # Batches of 300 samples at once: (a, s) weights times (s, samples) figures.
    samples = rng.normal(3.0, 2.0, (20, 300))
    means = draws.weights @ samples / draws.weights.sum(axis=1, keepdims=True)
    intervals = [draws.interval(column) for column in means.T]
    covered = [found is not None and found.low <= 3.0 <= found.high for found in intervals]
    # A 95 % interval of 300 samples covers 95 +- 1.3 %; BCa with 20 subjects is known to fall
    # a little short.
    assert 0.90 <= np.mean(covered) <= 0.98


def test_a_wider_confidence_gives_a_wider_interval_around_the_figure() -> None:
    figures = np.random.default_rng(1).random(15)
    narrow = bootstrap_interval(mean_of(figures), 15, confidence=0.5)
    wide = bootstrap_interval(mean_of(figures), 15, confidence=0.99)
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low < figures.mean() < narrow.high < wide.high


def test_the_order_of_subjects_matters_no_more_than_another_seed() -> None:
    figures = np.random.default_rng(2).random(25)
    intervals = [
        bootstrap_interval(mean_of(figures[order]), 25, resamples=4000)
        for order in (np.arange(25), np.arange(25)[::-1], np.random.default_rng(3).permutation(25))
    ]
    limits = np.array(intervals, dtype=float)
    width = limits[0, 1] - limits[0, 0]
    assert np.ptp(limits, axis=0).max() < 0.05 * width


def test_the_same_input_gives_the_same_interval() -> None:
    figures = np.random.default_rng(5).random(9)
    first, second = (bootstrap_interval(mean_of(figures), 9, seed=7) for _ in range(2))
    assert first == second
    assert first != bootstrap_interval(mean_of(figures), 9, seed=8)


def test_cases_of_one_subject_are_drawn_together() -> None:
    """Ten copies of every case tell no more than one, if they are the same subject's."""
    figures = np.random.default_rng(6).random(10)
    of_case = np.repeat(np.arange(10), 10)

    def mean_over_cases(weights: np.ndarray) -> np.ndarray:
        return mean_of(figures[of_case])(weights[:, of_case])

    clustered = bootstrap_interval(mean_over_cases, 10)
    once = bootstrap_interval(mean_of(figures), 10)
    apart = bootstrap_interval(mean_of(figures[of_case]), 100)
    assert clustered == pytest.approx(once, abs=1e-12)
    assert clustered is not None
    assert apart is not None
    assert apart.high - apart.low < 0.5 * (clustered.high - clustered.low)


@pytest.mark.parametrize("subjects", [1, LEAST_SUBJECTS - 1])
def test_a_few_subjects_have_no_interval(subjects: int) -> None:
    assert bootstrap_interval(mean_of(np.random.default_rng(0).random(subjects)), subjects) is None


def test_five_subjects_have_one() -> None:
    interval = bootstrap_interval(mean_of(np.array([0.1, 0.5, 0.2, 0.7, 0.6])), 5)
    assert isinstance(interval, Interval)


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, 1e6 / 7])
def test_what_is_the_same_whoever_is_drawn_has_none(value: float) -> None:
    """Also when sums in another order round to other last digits."""
    assert bootstrap_interval(mean_of(np.full(11, value)), 11) is None


def test_what_is_undefined_has_none() -> None:
    assert bootstrap_interval(lambda weights: np.full(len(weights), np.nan), 8) is None


def mean_where_defined(figures: np.ndarray) -> Statistic:
    """Like the figure of a set where only some subjects have a lesion; NaN without any."""

    def mean(weights: np.ndarray) -> np.ndarray:
        there = weights[:, np.isfinite(figures)]
        total = there.sum(axis=1)
        sums = there @ figures[np.isfinite(figures)]
        return np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0)

    return mean


@pytest.mark.parametrize(("with_lesion", "known"), [(1, False), (2, False), (3, False), (8, True)])
def test_rare_undefined_draws_are_left_out_frequent_ones_are_not(
    with_lesion: int, known: bool
) -> None:
    """Of 20 subjects, one is not drawn with probability (19 / 20)^20 = 36 %, eight with .004 %."""
    figures = np.full(20, np.nan)
    figures[:with_lesion] = np.linspace(0.2, 0.8, with_lesion)
    assert (bootstrap_interval(mean_where_defined(figures), 20) is not None) == known


def test_undefined_draws_do_not_spoil_the_others() -> None:
    """Six of 60 subjects: about 0.2 % of the draws lack all six."""
    figures = np.full(60, np.nan)
    figures[:6] = 0.2, 0.3, 0.4, 0.6, 0.7, 0.9
    draws = Resamples.draw(60, seed=0)
    means = draws.apply(lambda weights: {"mean": mean_where_defined(figures)(weights)})["mean"]
    assert 0 < np.isnan(means).sum() < 0.01 * len(means)
    interval = draws.interval(means)
    assert interval is not None
    assert 0.2 < interval.low < figures[:6].mean() < interval.high < 0.9


def test_draws_are_weights_of_whole_subjects() -> None:
    weights = Resamples.draw(7, resamples=50).weights
    assert weights.shape == (1 + 50 + 7, 7)
    assert (weights[0] == 1).all()
    assert (weights[:51].sum(axis=1) == 7).all()
    assert (weights[51:] == 1 - np.eye(7)).all()


def test_a_statistic_is_asked_in_small_batches() -> None:
    sizes: list[int] = []

    def statistic(weights: np.ndarray) -> np.ndarray:
        sizes.append(len(weights))
        return weights[:, 0]

    bootstrap_interval(statistic, 6, resamples=1000)
    assert sum(sizes) == 1 + 1000 + 6
    assert max(sizes) <= 64
