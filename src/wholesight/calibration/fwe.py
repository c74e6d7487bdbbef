"""The family-wise rule: of healthy scans, few show anything at all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from wholesight.calibration.conformal import exact, subjects_needed


def fwe_rank(n: int, alpha: float) -> int:
    """Return which of n ordered statistics is the threshold: ceil((n + 1) (1 - alpha)).

    Raises ValueError when n is less than `subjects_needed(alpha)`.

    >>> fwe_rank(19, 0.05), fwe_rank(99, 0.05)
    (19, 95)
    """
    needed = subjects_needed(alpha)
    if n < needed:
        raise ValueError(f"alpha {alpha:g} needs {needed} subjects, {n} are given")
    # In whole numbers: (n + 1) * (1 - 0.1) is not 9 for n = 9.
    return n + 1 - int((n + 1) * exact(alpha))


def fwe(statistics: Float[np.ndarray, " n"], *, alpha: float) -> float:
    """Return the level that a new normal subject's statistic exceeds with P at most alpha.

        level = s_(k), k = ceil((n + 1) (1 - alpha)), s_(1) <= ... <= s_(n)

    The conformal quantile (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005;
    Lei et al., JASA 113, 2018). Where the statistic is the scan's largest map value, the mask of a
    healthy scan is empty but for a share alpha of scans: the family is all voxels of a scan, as in
    the permutation tests of Nichols and Holmes (Human Brain Mapping 15, 2002). It may as well be
    the largest component above a level in mm3.

    Parameters
    ----------
    statistics : (n,) one of every normal subject, in any unit, higher = odder.
    alpha : in (0, 1), averaged over calibration sets; `spread.beta_spread` says how far one set
        may be off. Exceeding is meant strictly, so that ties are on the safe side.

    Raises
    ------
    ValueError : when n is less than `subjects_needed(alpha)`, and for a NaN.

    >>> fwe(np.arange(1.0, 20.0), alpha=0.05)
    19.0
    """
    return ordered(statistics, fwe_rank(statistics.size, alpha))


def ordered(statistics: Float[np.ndarray, " n"], rank: int) -> float:
    """Return the rank-th smallest statistic, counted from 1. Raises ValueError for a NaN."""
    if np.isnan(statistics).any():
        raise ValueError("a normal statistic is NaN")
    return float(np.partition(statistics, rank - 1)[rank - 1])
