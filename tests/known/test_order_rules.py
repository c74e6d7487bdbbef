"""Rules that take an order statistic: which one, what it promises, how far one set may be off."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from wholesight.calibration.conformal import p_values, subjects_needed
from wholesight.calibration.fixed import fixed
from wholesight.calibration.fwe import fwe, fwe_rank
from wholesight.calibration.spread import beta_spread, mean_spread
from wholesight.calibration.tolerance import tolerance, tolerance_needed, tolerance_rank

TIED = st.integers(0, 8).map(float)
ALPHAS = [0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.6, 0.7]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_rank_is_that_of_exact_arithmetic_for_every_n(alpha: float) -> None:
    share = 1 - Fraction(str(alpha))
    for n in range(subjects_needed(alpha), 400):
        assert fwe_rank(n, alpha) == math.ceil((n + 1) * share)


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 9), (0.05, 19), (0.01, 99), (0.2, 4), (0.3, 3)])
def test_the_fewest_subjects_give_the_maximum_and_one_fewer_is_refused(
    alpha: float, n: int
) -> None:
    assert fwe(np.arange(float(n)), alpha=alpha) == n - 1
    with pytest.raises(ValueError, match=f"needs {n} subjects, {n - 1} are given"):
        fwe(np.arange(n - 1.0), alpha=alpha)


@given(arrays(float, st.integers(5, 30), elements=TIED), st.sampled_from([0.2, 0.3, 0.5]))
def test_of_any_subjects_few_exceed_the_level_of_the_others(
    statistics: np.ndarray, alpha: float
) -> None:
    # The promise itself: n + 1 exchangeable subjects, each as likely to be the new one.
    exceeds = [
        statistics[new] > fwe(np.delete(statistics, new), alpha=alpha)
        for new in range(statistics.size)
    ]
    assert np.mean(exceeds) <= alpha * (1 + 1e-12)


@given(arrays(float, st.integers(4, 40), elements=TIED), st.sampled_from([0.2, 0.3, 0.5]))
def test_exceeding_the_level_is_having_a_small_p(normal: np.ndarray, alpha: float) -> None:
    new = np.arange(-1, 10) + 0.0
    small = p_values(normal, new) <= alpha * (1 + 1e-12)
    assert (new > fwe(normal, alpha=alpha)).tolist() == small.tolist()


@given(arrays(float, 24, elements=TIED), st.permutations(range(24)))
def test_the_order_of_subjects_does_not_matter(statistics: np.ndarray, order: list[int]) -> None:
    assert fwe(statistics, alpha=0.1) == fwe(statistics[order], alpha=0.1)


@pytest.mark.parametrize("rule", [fwe, lambda s, alpha: tolerance(s, alpha=alpha, confidence=0.5)])
def test_a_statistic_that_is_none_is_refused(rule) -> None:
    with pytest.raises(ValueError, match="NaN"):
        rule(np.array([1.0] * 30 + [np.nan]), alpha=0.1)


@pytest.mark.parametrize(
    ("alpha", "confidence", "n"),
    [
        # Wilks' table, as in textbooks and in IEC/NUREG practice.
        (0.05, 0.95, 59),
        (0.10, 0.95, 29),
        (0.05, 0.90, 45),
        (0.05, 0.99, 90),
        (0.01, 0.95, 299),
        (0.01, 0.99, 459),
        (0.10, 0.90, 22),
        # Equality: (1/2)^2 = 1/4, 0.9^2 = 0.81, 0.8^3 = 0.512.
        (0.5, 0.75, 2),
        (0.1, 0.19, 2),
        (0.2, 0.488, 3),
        (0.5, 0.5, 1),
        (0.9, 0.5, 1),
    ],
)
def test_how_many_a_tolerance_limit_needs(alpha: float, confidence: float, n: int) -> None:
    assert tolerance_needed(alpha, confidence) == n
    assert tolerance_rank(n, alpha, confidence) == n
    with pytest.raises(ValueError, match=f"needs {n} subjects, {n - 1} are given"):
        tolerance(np.arange(n - 1.0), alpha=alpha, confidence=confidence)


@pytest.mark.parametrize(("n", "below_the_top"), [(59, 0), (93, 1), (124, 2), (153, 3), (181, 4)])
def test_wilks_orders(n: int, below_the_top: int) -> None:
    # Wilks' formula of higher order, 95 % / 95 %: with one subject fewer, one rank higher.
    assert tolerance(np.arange(float(n)), alpha=0.05, confidence=0.95) == n - 1 - below_the_top
    assert tolerance_rank(n - 1, 0.05, 0.95) == n - below_the_top


@pytest.mark.parametrize("n", [59, 60, 99, 150, 299, 1000])
@pytest.mark.parametrize(("alpha", "confidence"), [(0.05, 0.95), (0.1, 0.9), (0.3, 0.5)])
def test_the_limit_is_the_lowest_that_keeps_the_confidence(
    n: int, alpha: float, confidence: float
) -> None:
    # The rate above the k-th smallest is Beta(n + 1 - k, k): another way to the same rank.
    rank = tolerance_rank(n, alpha, confidence)
    assert stats.beta.cdf(alpha, n + 1 - rank, rank) >= confidence
    assert stats.beta.cdf(alpha, n + 2 - rank, rank - 1) < confidence


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan])
def test_a_confidence_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        tolerance(np.arange(99.0), alpha=0.05, confidence=wrong)


def test_the_published_threshold() -> None:
    assert fixed() == 0.5


def test_the_spread_of_one_calibration_set_is_that_of_the_brief_simulation() -> None:
    # facts: n = 20 .003 - .140, n = 99 .020 - .091 (5 - 95 %), simulated 20,000 times.
    assert beta_spread(20, 20) == pytest.approx((0.003, 0.140), abs=2e-3)
    assert beta_spread(99, 95) == pytest.approx((0.020, 0.091), abs=2e-3)


def test_the_spread_is_that_of_simulated_calibration_sets() -> None:
    rng = np.random.default_rng(0)
    rates = 1 - np.sort(rng.random((20_000, 59)), axis=1)[:, fwe_rank(59, 0.05) - 1]
    assert beta_spread(59, fwe_rank(59, 0.05)) == pytest.approx(
        tuple(np.quantile(rates, [0.05, 0.95])), abs=2e-3
    )


@pytest.mark.parametrize("rank", [0, 10])
def test_a_rank_that_nobody_has_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        beta_spread(9, rank)


def test_the_spread_of_a_mean_is_that_of_simulated_means() -> None:
    draws = np.random.default_rng(1).beta(0.5, 9.5, (20_000, 50))  # skewed, mean .05
    assert mean_spread(draws[:, 0], 50) == pytest.approx(
        tuple(np.quantile(draws.mean(axis=1), [0.05, 0.95])), abs=2e-3
    )


def test_a_larger_set_spreads_less() -> None:
    shares = np.array([0.0, 0.01, 0.03, 0.2])
    few, many = mean_spread(shares, 4), mean_spread(shares, 400)
    assert few[0] < many[0] < shares.mean() < many[1] < few[1]


@pytest.mark.parametrize("shares", [[], [0.1]])
def test_nothing_is_known_of_one_subject(shares: list[float]) -> None:
    assert mean_spread(np.array(shares), len(shares)) == (0.0, 1.0)


@given(arrays(float, st.integers(2, 9), elements=st.sampled_from([0.0, 1e-300, 0.1, 0.5, 1.0])))
def test_the_spread_of_a_mean_is_always_one(shares: np.ndarray) -> None:
    low, high = mean_spread(shares, shares.size)
    assert 0 <= low <= high <= 1


def test_shares_that_do_not_vary_or_could_not_vary_more() -> None:
    assert mean_spread(np.full(7, 0.1), 7) == pytest.approx((0.1, 0.1), abs=1e-12)
    assert mean_spread(np.zeros(7), 7) == (0.0, 0.0)
    assert mean_spread(np.array([0.0, 1.0]), 2) == (0.0, 1.0)
