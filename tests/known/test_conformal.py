"""Conformal p-values and who is called: against crepes, scipy, counting, and the promise itself."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from wholesight.calibration.conformal import (
    benjamini_hochberg,
    exact,
    fewest_callable,
    p_values,
    subjects_needed,
)

# Whole numbers, so that ties are common.
TIED = st.integers(0, 8).map(float)
LEVELS = st.sampled_from([0.01, 0.05, 0.1, 0.2, 1 / 3, 0.5])


@pytest.mark.parametrize(
    ("alpha", "n"),
    [(0.1, 9), (0.05, 19), (0.01, 99), (0.2, 4), (0.3, 3), (0.001, 999), (0.5, 1), (0.9, 1)],
)
def test_subjects_needed_where_floats_round_the_wrong_way(alpha: float, n: int) -> None:
    assert subjects_needed(alpha) == n
    assert Fraction(1, n + 1) <= Fraction(str(alpha))


@pytest.mark.parametrize("tenths", range(1, 10))
def test_an_alpha_that_was_computed_counts_as_the_one_that_was_meant(tenths: int) -> None:
    assert exact(1 - (1 - tenths / 10)) == exact(tenths / 10) == Fraction(tenths, 10)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 5.0, math.nan])
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        subjects_needed(alpha)


def test_a_tiny_alpha_is_not_rounded_to_nothing() -> None:
    assert subjects_needed(2.0**-50) == 2**50 - 1


@given(arrays(float, st.integers(0, 30), elements=TIED), arrays(float, 5, elements=TIED))
def test_p_values_are_what_counting_gives(normal: np.ndarray, scores: np.ndarray) -> None:
    counted = [(1 + sum(n >= score for n in normal)) / (len(normal) + 1) for score in scores]
    assert p_values(normal, scores).tolist() == counted


@given(arrays(float, st.integers(1, 30), elements=TIED), LEVELS)
def test_of_any_subjects_few_get_a_small_p_against_the_others(
    scores: np.ndarray, alpha: float
) -> None:
    # The promise itself: n + 1 exchangeable subjects, each as likely to be the new one.
    p = [p_values(np.delete(scores, new), scores[[new]])[0] for new in range(scores.size)]
    assert np.mean(np.array(p) <= alpha * (1 + 1e-12)) <= alpha * (1 + 1e-12)


def test_odder_than_all_gets_the_smallest_p_and_a_tie_does_not() -> None:
    normal = np.arange(19.0)
    assert p_values(normal, np.array([18.5, 18.0, -1.0])).tolist() == [0.05, 0.1, 1.0]


def test_a_scan_without_a_score_gets_no_p_and_is_not_called() -> None:
    p = p_values(np.arange(19.0), np.array([np.nan, 99.0]))
    assert np.isnan(p[0])
    # Were it counted, 0.05 would not be small enough.
    assert benjamini_hochberg(p, level=0.05).tolist() == [False, True]


def test_a_normal_subject_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        p_values(np.array([1.0, np.nan]), np.array([2.0]))


@given(arrays(float, st.integers(1, 40), elements=st.integers(1, 40).map(lambda k: k / 40)), LEVELS)
@settings(max_examples=300)
def test_benjamini_hochberg_agrees_with_scipy(p: np.ndarray, level: float) -> None:
    # scipy compares with no tolerance, so a hair of it is allowed for.
    theirs = stats.false_discovery_control(p, method="bh") <= level * (1 + 1e-12)
    assert benjamini_hochberg(p, level=level).tolist() == theirs.tolist()


def test_benjamini_hochberg_on_the_example_of_its_authors() -> None:
    # Benjamini and Hochberg 1995, section 3.2: 15 p-values, at level .05 the first four.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(np.array(p), level=0.05).tolist() == [True] * 4 + [False] * 11


def test_a_p_that_equals_its_limit_is_called_whatever_the_float() -> None:
    # 3 of 10 at 0.03 each: k level / m is 0.3 * 0.1 = 0.03, in floats 0.1 * 3 is not 0.3.
    p = np.array([0.03] * 3 + [1.0] * 7)
    assert benjamini_hochberg(p, level=0.1).sum() == 3


def test_nobody_to_call() -> None:
    assert benjamini_hochberg(np.empty(0), level=0.05).shape == (0,)
    assert not benjamini_hochberg(np.array([np.nan, np.nan]), level=0.05).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf])
def test_what_is_no_p_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        benjamini_hochberg(np.array([0.5, p]), level=0.05)


@given(st.integers(1, 200), st.integers(1, 60), LEVELS)
@settings(max_examples=300)
def test_fewest_callable_is_when_benjamini_hochberg_begins_to_call(
    n: int, m: int, level: float
) -> None:
    fewest = fewest_callable(n, m, level=level)
    smallest = 1 / (n + 1)
    called = [
        benjamini_hochberg(np.array([smallest] * k + [1.0] * (m - k)), level=level).any()
        for k in range(m + 1)
    ]
    assert called == [k >= fewest for k in range(m + 1)]


def test_fewest_callable_warns_as_the_rule_of_thumb_does() -> None:
    # The warning is for 1 / (n + 1) > level / m; equal is enough.
    assert fewest_callable(199, 10, level=0.05) == 1
    assert fewest_callable(198, 10, level=0.05) == 2
    assert fewest_callable(18, 1, level=0.05) == 2  # more than there are: never


def test_the_false_discovery_rate_of_a_cohort_holds() -> None:
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(2000):
        abnormal = np.arange(40) < 10
        scores = rng.normal(size=40) + 3 * abnormal
        p = p_values(rng.normal(size=200), scores)
        called = benjamini_hochberg(p, level=0.2)
        shares.append((called & ~abnormal).sum() / max(1, called.sum()))
    error = np.std(shares) / math.sqrt(len(shares))
    assert np.mean(shares) <= 0.2 * 30 / 40 + 2 * error
    assert np.mean(shares) > 0.14  # and no lower than it need be
