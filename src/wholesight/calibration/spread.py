"""How far the true rate of one calibration set may be from the rate promised on average.

Both functions return the 5 % and the 95 % quantile over calibration sets. They describe the
expected spread; they are no promise.

Axes: n normal subjects.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float
from scipy import stats

QUANTILES: Final = (0.05, 0.95)
# Relative to what they are compared with, variances and Beta's parameters below it are none.
_ROUNDING: Final = 1e-12


def beta_spread(n: int, rank: int) -> tuple[float, float]:
    """Return the spread of the true rate above the rank-th smallest of n statistics.

    The rate is Beta(n + 1 - rank, rank) distributed over calibration sets, for any distribution
    without ties (Vovk, Conditional validity of inductive conformal predictors, ACML 2012); with
    ties it is lower. Raises ValueError for a rank outside 1 ... n.

    >>> [round(rate, 3) for rate in beta_spread(99, 95)]
    [0.02, 0.09]
    """
    if not 1 <= rank <= n:
        raise ValueError(f"rank {rank} is not one of {n} subjects'")
    low, high = stats.beta.ppf(QUANTILES, n + 1 - rank, rank)
    return float(low), float(high)


def mean_spread(shares: Float[np.ndarray, " n"], n: int) -> tuple[float, float]:
    """Return the spread of the true mean share, from normal subjects' own shares.

    Beta with the mean of the shares and their variance divided by n. That is the delta method: a
    level at which n subjects have some mean share gives everybody else that share within the
    standard error of a mean of n; shares lie in [0, 1] and are skewed, hence Beta. Approximate.

    Parameters
    ----------
    shares : (n,) of each subject's body, in [0, 1], above the level that the *others* set (leave
        one out). Above a level that it helped to set, a subject's share is too small: with 20
        subjects by so much that the upper limit can be too low by a factor of ten.
    n : how many subjects a calibration set has.

    Returns
    -------
    (low, high); (0, 1) where nothing can be known: with fewer than two shares, or two that are
    nothing and all.

    >>> low, high = mean_spread(np.array([0.0, 0.02, 0.04, 0.14]), 4)
    >>> round(low, 3), round(high, 3)
    (0.011, 0.11)
    """
    if shares.size < 2 or n < 1:
        return 0.0, 1.0
    mean, variance = float(np.mean(shares)), float(np.var(shares, ddof=1)) / n
    if variance <= _ROUNDING * mean:
        return mean, mean
    # The two parameters of Beta together: how many all-or-nothing subjects would vary as much.
    both = mean * (1 - mean) / variance - 1
    if both <= _ROUNDING:
        return 0.0, 1.0
    low, high = stats.beta.ppf(QUANTILES, mean * both, (1 - mean) * both)
    return float(low), float(high)
