"""Whether one method is better than another, judged on the same subjects.

Axes: s subjects, n those of them that count; k p-values of a family. A positive difference says
that ours is the higher figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from scipy import stats

# Figures that agree to so many decimals are equal: what differs beyond is rounding, and would
# get a sign and a rank in a test.
_DECIMALS: Final = 12
# All sign flips of up to 13 subjects (2^13) are fewer than this, and are all tried; of more
# subjects as many are drawn.
_FLIPS: Final = 9999
# Flips at a time, so that thousands of subjects still fit in memory.
_BATCH: Final = 500


@dataclass(frozen=True)
class Comparison:
    """Paired differences, ours minus theirs. What is undefined is None.

    Attributes
    ----------
    subjects, left_out : pairs that were compared, and pairs of which a figure was undefined.
    mean_difference, median_difference : over subjects, in the unit of the figure.
    wilcoxon_p, permutation_p : two-sided.
    rank_biserial : -1 (theirs is the higher one in every subject) .. 1 (ours is).
    cohen_dz : the mean difference in standard deviations of the differences.
    """

    subjects: int
    mean_difference: float | None
    median_difference: float | None
    wilcoxon_p: float | None
    permutation_p: float | None
    rank_biserial: float | None
    cohen_dz: float | None
    left_out: int = 0


def compare(
    ours: Float[np.ndarray, " s"], theirs: Float[np.ndarray, " s"], *, seed: int = 0
) -> Comparison:
    """Compare two methods on one figure of each subject, NaN where undefined.

    A pair with an undefined figure is left out and counted. Without any pair all is None; with
    all pairs equal both p-values are 1, and neither effect size is defined.

    - Wilcoxon's signed-rank test (1945): pairs that are equal are dropped, differences of one size
      share their mean rank. The p-value is exact up to 50 pairs without such ties and up to 13
      with; beyond, it is the normal approximation with the correction for ties.
    - A permutation test of the mean difference (Fisher, "The Design of Experiments", 1935): under
      the null hypothesis each difference is as likely as its negative. All signs are tried for up
      to 13 pairs, else 9999 are drawn from `seed`, and the observed one is counted among them.

    Raises ValueError when the lengths differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.shape} figures against {theirs.shape}")
    difference = np.round(ours - theirs, _DECIMALS)
    difference = difference[np.isfinite(difference)]
    left_out = ours.size - difference.size
    if not difference.size:
        return Comparison(0, None, None, None, None, None, None, left_out)
    return Comparison(
        subjects=difference.size,
        mean_difference=float(difference.mean()),
        median_difference=float(np.median(difference)),
        wilcoxon_p=_wilcoxon(difference[difference != 0]),
        permutation_p=_sign_flips(difference, seed),
        rank_biserial=rank_biserial(difference),
        cohen_dz=cohen_dz(difference),
        left_out=left_out,
    )


def rank_biserial(difference: Float[np.ndarray, " n"]) -> float | None:
    """(W+ - W-) / (W+ + W-), W+ and W- the sums of the ranks of either sign.

    Kerby, "The simple difference formula", Comprehensive Psychology 3, 2014. From -1 to 1; None
    when all differences are zero.

    >>> rank_biserial(np.array([0.3, 0.2, -0.1, 0.0]))
    0.6666666666666666
    """
    unequal = difference[difference != 0]
    if not unequal.size:
        return None
    ranks = stats.rankdata(np.abs(unequal))
    return float((ranks * np.sign(unequal)).sum() / ranks.sum())


def cohen_dz(difference: Float[np.ndarray, " n"]) -> float | None:
    """Mean over standard deviation of paired differences (Cohen 1988), n - 1 in the divisor.

    None for fewer than two differences, and when they are all the same.

    >>> cohen_dz(np.array([1.0, 2.0, 3.0]))
    2.0
    """
    if difference.size < 2 or np.ptp(difference) <= 10.0**-_DECIMALS:
        return None
    return float(difference.mean() / difference.std(ddof=1))


def holm(p_values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Adjust p-values so that rejecting those <= alpha errs at all in at most a share alpha.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    With the k values rising, p(i) becomes the maximum over j <= i of min(1, (k - j + 1) p(j)).
    NaN, a test that was not made, stays NaN and is no member of the family.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(p_values.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p_values))
    rising = made[np.argsort(p_values[made], kind="stable")]
    scaled = p_values[rising] * np.arange(rising.size, 0, -1)
    adjusted[rising] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def _wilcoxon(unequal: Float[np.ndarray, " n"]) -> float:
    # Equal pairs are gone already: with them scipy would give up an exact p-value too early.
    if not unequal.size:
        return 1.0
    test: Any = stats.wilcoxon(unequal)
    return float(test.pvalue)


def _sign_flips(difference: Float[np.ndarray, " n"], seed: int) -> float:
    # Of one pair either sign is as extreme as the other, and scipy wants two.
    if difference.size < 2 or not difference.any():
        return 1.0
    test = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)
