"""The tolerance limit: the family-wise rule, with a confidence for this very calibration set."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from wholesight.calibration.conformal import ROUNDING, exact
from wholesight.calibration.fwe import ordered


def tolerance_rank(n: int, alpha: float, confidence: float) -> int:
    """Return which of n ordered statistics is the limit; n + 1 when n subjects are too few.

    The smallest k with P(Binomial(n, alpha) <= n - k) <= 1 - confidence. The k-th smallest is too
    low when k of n subjects or more lie below the true (1 - alpha) quantile, which is when at most
    n - k lie above it. Raises ValueError for an alpha or a confidence outside (0, 1).

    >>> tolerance_rank(59, 0.05, 0.95), tolerance_rank(58, 0.05, 0.95)
    (59, 59)
    """
    too_low = stats.binom.cdf(np.arange(n), n, float(exact(alpha)))  # at 0, 1, ..., n - 1 above
    return n + 1 - int(np.count_nonzero(too_low <= _doubt(confidence)))


def tolerance_needed(alpha: float, confidence: float) -> int:
    """Return the smallest n with (1 - alpha)^n <= 1 - confidence: the largest of n will do.

    Wilks (Ann. Math. Statist. 12, 1941). Raises ValueError for an alpha or a confidence outside
    (0, 1).

    >>> tolerance_needed(0.05, 0.95)
    59
    """
    doubt, share = _doubt(confidence), float(exact(alpha))
    needed = max(1, math.floor(math.log(doubt) / math.log1p(-share)))
    # The logarithms may be off by one; what decides on the rank decides, so that both agree.
    while stats.binom.cdf(0, needed, share) > doubt:
        needed += 1
    return needed


def tolerance_finest(n: int, confidence: float) -> float:
    """Return the smallest alpha that n subjects can support: 1 - (1 - confidence)^(1 / n).

    >>> round(tolerance_finest(59, 0.95), 4), round(tolerance_finest(58, 0.95), 4)
    (0.0495, 0.0503)
    """
    return -math.expm1(math.log(_doubt(confidence)) / n)


def _doubt(confidence: float) -> float:
    """Return how often the limit may be too low, with room for rounding."""
    return float(1 - exact(confidence)) * (1 + ROUNDING)


def tolerance(statistics: Float[np.ndarray, " n"], *, alpha: float, confidence: float) -> float:
    """Return the level below which, with confidence, a share 1 - alpha of normal subjects lies.

    The order statistic of `tolerance_rank` (Wilks 1941). Over calibration sets, the true rate of
    normal subjects above the level is alpha or less with a probability of at least `confidence`,
    whatever the distribution. `fwe` holds its alpha on average over calibration sets only.

    Parameters
    ----------
    statistics : (n,) one of every normal subject, in any unit, higher = odder.
    alpha, confidence : in (0, 1). Exceeding is meant strictly, so that ties are on the safe side.

    Raises
    ------
    ValueError : when n is less than `tolerance_needed(alpha, confidence)`, and for a NaN.

    >>> tolerance(np.arange(1.0, 94.0), alpha=0.05, confidence=0.95)
    92.0
    """
    rank = tolerance_rank(statistics.size, alpha, confidence)
    if rank > statistics.size:
        needed = tolerance_needed(alpha, confidence)
        raise ValueError(
            f"alpha {alpha:g} with confidence {confidence:g} needs {needed} subjects, "
            f"{statistics.size} are given"
        )
    return ordered(statistics, rank)
