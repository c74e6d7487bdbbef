"""Conformal p-values of scans against normal ones, and which of a cohort to call abnormal.

Axes: n normal subjects; m scans that are judged. Scores are higher for odder scans.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

# Comparisons of computed figures with a limit let pass what is above it by rounding alone.
ROUNDING: Final = 1e-12


def exact(alpha: float) -> Fraction:
    """Return the number that a float between 0 and 1 stands for: 0.1 is a tenth.

    The float nearest to a tenth is a little more than a tenth, and 1 - 0.9 is a little less. Ranks
    are roundings of products with it, and would be wrong by one for exactly the usual choices.
    Raises ValueError for a number outside (0, 1).

    >>> exact(0.1), exact(1 - 0.9)
    (Fraction(1, 10), Fraction(1, 10))
    """
    if not 0 < alpha < 1:
        raise ValueError(f"{alpha} is not between 0 and 1")
    # All that a user writes with up to 12 digits is returned as written.
    meant = Fraction(alpha).limit_denominator(10**12)
    return meant if 0 < meant < 1 else Fraction(alpha)


def subjects_needed(alpha: float) -> int:
    """Return the smallest n with 1 / (n + 1) <= alpha: with fewer, no scan can be called.

    The smallest p-value that n normal subjects can give is 1 / (n + 1). Raises ValueError for an
    alpha outside (0, 1).

    >>> [subjects_needed(alpha) for alpha in (0.1, 0.05, 0.01)]
    [9, 19, 99]
    """
    return math.ceil(1 / exact(alpha)) - 1


def p_values(
    normal: Float[np.ndarray, " n"], scores: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """Return of every scan how likely a normal one is at least as odd; low = odder.

        p = (1 + #{i : normal_i >= score}) / (n + 1)

    Bates, Candès, Lei, Romano, Sesia (Testing for outliers with conformal p-values, Annals of
    Statistics 2023). If the scan's subject is exchangeable with the normal ones,
    P(p <= alpha) <= alpha for every alpha, averaged over calibration sets. Ties count as odder,
    so rounded scores stay on the safe side.

    Parameters
    ----------
    normal : (n,) one score of every normal subject. scores : (m,) of scans to judge; NaN where a
        scan has none.

    Returns
    -------
    (m,) in [1 / (n + 1), 1]; NaN where the score is NaN.

    Raises
    ------
    ValueError : for a NaN among the normal scores.

    >>> p_values(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.5, 9.0]))
    array([1. , 0.8, 0.4, 0.2])
    """
    if np.isnan(normal).any():
        raise ValueError("a normal score is NaN")
    lower = np.searchsorted(np.sort(normal), scores, side="left")
    p = (1 + normal.size - lower) / (normal.size + 1)
    return np.where(np.isnan(scores), np.nan, p)


def benjamini_hochberg(p: Float[np.ndarray, " m"], *, level: float) -> Bool[np.ndarray, " m"]:
    """Return which scans of a cohort are called abnormal.

    All whose p is at most the largest p_(k) with p_(k) <= k level / m, p_(1) <= p_(2) <= ... .
    Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995). The expected share of normal scans
    among those called is at most `level` times the share of normal scans in the cohort; that
    p-values of independent scans share their normal subjects does no harm (Bates et al. 2023).

    p : (m,) a p-value per scan; NaN is never called, and not counted in m. Raises ValueError for
    a level outside (0, 1) and for a p outside [0, 1].

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan, 0.9]), level=0.05)
    array([ True, False, False, False, False])
    """
    allowed = float(exact(level)) * (1 + ROUNDING)
    there = np.sort(p[~np.isnan(p)])
    if there.size and not (there[0] >= 0 and there[-1] <= 1):
        raise ValueError("a p-value lies outside [0, 1]")
    below = np.flatnonzero(there * there.size <= np.arange(1, there.size + 1) * allowed)
    if not below.size:
        return np.zeros(p.shape, bool)
    return p <= there[below[-1]]


def fewest_callable(n: int, m: int, *, level: float) -> int:
    """Return how many scans must share the smallest p-value before any of m scans is called.

    That p-value is 1 / (n + 1), and Benjamini-Hochberg calls k scans that share it when
    1 / (n + 1) <= k level / m. So k = ceil(m / ((n + 1) level)), at least 1; more than m means
    that none can ever be called. Above 1, a single abnormal scan in a cohort of normal ones goes
    unnoticed, however odd it is.

    >>> fewest_callable(19, 1, level=0.05), fewest_callable(99, 20, level=0.05)
    (1, 4)
    """
    return max(1, math.ceil(m / ((n + 1) * exact(level))))
