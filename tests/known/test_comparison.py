"""Paired tests against scipy and enumeration by brute force, Holm's procedure by definition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wholesight.metrics.comparison import cohen_dz, compare, holm, rank_biserial

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=9)


def pair(seed: int, n: int, decimals: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theirs = rng.random(n)
    return np.round(theirs + rng.normal(0.1, 0.2, n), decimals), np.round(theirs, decimals)


def every_sign(difference: np.ndarray) -> np.ndarray:
    return np.array(list(product([-1.0, 1.0], repeat=difference.size))) * difference


def two_sided(null: np.ndarray, observed: float) -> float:
    """Twice the smaller tail; what differs by rounding counts as equal."""
    tails = (null <= observed + 1e-9).mean(), (null >= observed - 1e-9).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("decimals", [1, 7])
def test_both_p_values_agree_with_every_sign_tried(n: int, decimals: int) -> None:
    """At one decimal there are ties and equal pairs, at seven there are none."""
    ours, theirs = pair(n, n, decimals)
    found = compare(ours, theirs)
    difference = np.round(ours - theirs, 9)
    signs = every_sign(difference)
    assert found.permutation_p == pytest.approx(two_sided(signs.mean(axis=1), difference.mean()))
    unequal = difference[difference != 0]
    ranks = stats.rankdata(abs(unequal))
    null = np.maximum(every_sign(np.ones(unequal.size)), 0) @ ranks
    expected = two_sided(null, ranks[unequal > 0].sum())
    assert found.wilcoxon_p == pytest.approx(expected)


@pytest.mark.parametrize("n", [20, 49, 80])
def test_wilcoxon_is_scipys(n: int) -> None:
    ours, theirs = pair(n, n)
    assert compare(ours, theirs).wilcoxon_p == pytest.approx(stats.wilcoxon(ours, theirs).pvalue)


def test_many_subjects_permuted_agree_with_the_t_test() -> None:
    """Of near-normal differences the two tests of a mean agree, up to the draws."""
    rng = np.random.default_rng(0)
    difference = rng.normal(0.25, 1.0, 60)
    expected = stats.ttest_1samp(difference, 0).pvalue
    assert compare(difference, np.zeros(60)).permutation_p == pytest.approx(expected, abs=0.01)


def test_the_seed_draws_the_flips_and_nothing_else() -> None:
    ours, theirs = pair(3, 30)
    first, again, other = (compare(ours, theirs, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.permutation_p != other.permutation_p
    assert first.wilcoxon_p == other.wilcoxon_p


def test_up_to_13_subjects_nothing_is_drawn() -> None:
    ours, theirs = pair(4, 13)
    assert compare(ours, theirs, seed=1) == compare(ours, theirs, seed=2)


@pytest.mark.parametrize("n", [7, 33])
def test_exchanging_the_methods_changes_the_sign_alone(n: int) -> None:
    ours, theirs = pair(n, n)
    there, back = compare(ours, theirs), compare(theirs, ours)
    for name in ("mean_difference", "median_difference", "rank_biserial", "cohen_dz"):
        assert getattr(there, name) == pytest.approx(-getattr(back, name), abs=1e-12)
    assert there.wilcoxon_p == pytest.approx(back.wilcoxon_p)
    # Drawn flips are not mirrored, so their p-values agree up to the draws.
    assert there.permutation_p == pytest.approx(back.permutation_p, abs=0.02)


@pytest.mark.parametrize("n", [1, 2, 6, 20, 60])
def test_equal_methods_are_not_told_apart(n: int) -> None:
    figures = np.random.default_rng(n).random(n)
    # What rounding alone makes of equal figures is no difference either.
    found = compare(figures, figures * 3 / 3 + 1e-16)
    assert (found.wilcoxon_p, found.permutation_p) == (1.0, 1.0)
    assert (found.mean_difference, found.median_difference) == (0.0, 0.0)
    assert (found.rank_biserial, found.cohen_dz) == (None, None)


def test_a_constant_gain_has_no_effect_size_in_standard_deviations() -> None:
    theirs = np.linspace(0.1, 0.7, 8)
    found = compare(theirs + 0.1, theirs)
    assert found.cohen_dz is None
    assert found.rank_biserial == 1.0
    assert found.mean_difference == pytest.approx(0.1)
    assert found.wilcoxon_p == pytest.approx(2 / 2**8)
    assert found.permutation_p == pytest.approx(2 / 2**8)


def test_undefined_pairs_are_left_out_and_counted() -> None:
    ours, theirs = pair(8, 10)
    whole = compare(ours, theirs)
    nan = np.array([np.nan])
    found = compare(
        np.concatenate([ours, nan, [0.3], nan]), np.concatenate([theirs, [0.2], nan, nan])
    )
    assert (found.subjects, found.left_out) == (10, 3)
    assert (found.wilcoxon_p, found.cohen_dz) == (whole.wilcoxon_p, whole.cohen_dz)


def test_without_a_pair_nothing_is_claimed() -> None:
    found = compare(np.array([np.nan, 1.0]), np.array([0.5, np.nan]))
    assert (found.subjects, found.left_out) == (0, 2)
    assert found.wilcoxon_p is found.permutation_p is found.mean_difference is None


def test_one_pair_says_nothing() -> None:
    found = compare(np.array([0.9]), np.array([0.1]))
    assert (found.wilcoxon_p, found.permutation_p, found.cohen_dz) == (1.0, 1.0, None)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="against"):
        compare(np.zeros(3), np.zeros(1))


def test_effect_sizes_by_hand() -> None:
    # Ranks of 1, 2, 2, 4 are 1, 2.5, 2.5, 4: (1 + 2.5 + 4 - 2.5) / 10.
    difference = np.array([1.0, -2.0, 2.0, 4.0, 0.0])
    assert rank_biserial(difference) == pytest.approx(0.5)
    assert cohen_dz(difference) == pytest.approx(1.0 / np.sqrt((0 + 9 + 1 + 9 + 1) / 4))


def test_holm_by_hand() -> None:
    # Rising .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and no value below the one before.
    found = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, np.nan, 0.06, 0.02])
    assert holm(np.array([0.7, 0.6])).tolist() == [1.0, 1.0]
    assert holm(np.empty(0)).size == 0


@given(P_VALUES)
def test_holm_is_its_definition(p_values: list[float]) -> None:
    """Reject one after the other while p <= alpha / (how many are left); the least alpha is it."""
    raw = np.array(p_values, dtype=float)
    adjusted = holm(raw)
    rising = np.sort(raw[~np.isnan(raw)])
    left = rising.size - np.arange(rising.size)
    for p, found in zip(raw, adjusted, strict=True):
        if np.isnan(p):
            assert np.isnan(found)
            continue
        # It is rejected at alpha when every step up to its own is; ties leave with the first.
        steps = int(np.searchsorted(rising, p, side="left")) + 1
        least_alpha = max(left[step] * rising[step] for step in range(steps))
        assert found == pytest.approx(min(1.0, least_alpha))


@given(P_VALUES)
def test_holm_keeps_order_and_lies_between_raw_and_bonferroni(p_values: list[float]) -> None:
    raw = np.array(p_values, dtype=float)
    made = ~np.isnan(raw)
    adjusted = holm(raw)[made]
    assert (adjusted >= raw[made]).all()
    assert (adjusted <= np.minimum(1.0, raw[made] * made.sum()) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw[made], kind="stable")]) >= 0).all()
    # Alone, a test needs no adjustment.
    assert made.sum() != 1 or adjusted == raw[made]
