"""Conformal risk control: how much of a healthy body is flagged, on average, is bounded.

Angelopoulos, Bates, Fisch, Lei, Schuster 2022 (arXiv 2208.02814), theorem 1, with the flagged share
of a normal body as the risk: it falls as the level rises and is at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from wholesight.calibration.curve import Curve
from wholesight.calibration.pooled import Pooled


def crc(subjects: Sequence[Sequence[Curve]], *, alpha: float) -> float:
    """Return the lowest level with n / (n + 1) R(level) + 1 / (n + 1) <= alpha.

    subjects : of each of n subjects, the curves of its scans. R : mean over subjects of the share
    above the level, a subject's share being the mean over its scans. Then, for a new subject that
    is exchangeable with these, E[share above the level] <= alpha, where the mean is over the new
    subject and the n subjects. Raises ValueError when alpha < 1 / (n + 1): no level will do.

    >>> import numpy as np
    >>> body = Curve.of(np.arange(100.0))
    >>> crc([[body]] * 19, alpha=0.10)
    94.0
    """
    return pooled_by_subject(subjects).level_leaving(crc_budget(len(subjects), alpha))


def crc_budget(n: int, alpha: float) -> float:
    """Return what the sum of n subjects' shares may be: alpha (n + 1) - 1. Raises ValueError."""
    budget = alpha * (n + 1) - 1
    if budget < -1e-9:
        raise ValueError(f"{n} subjects are too few for alpha = {alpha:g}")
    return max(0.0, budget)


def pooled_by_subject(subjects: Sequence[Sequence[Curve]]) -> Pooled:
    """Return the subjects' shares together; each subject weighs 1, however many its scans."""
    return Pooled(subjects, [[1 / len(curves)] * len(curves) for curves in subjects])
