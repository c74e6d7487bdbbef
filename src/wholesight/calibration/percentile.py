"""The percentile of pooled normal voxels: simple, and without a promise for any one scan."""

from __future__ import annotations

from collections.abc import Sequence

from wholesight.calibration.curve import Curve
from wholesight.calibration.pooled import Pooled


def percentile(subjects: Sequence[Sequence[Curve]], *, alpha: float) -> float:
    """Return the lowest level with at most a share alpha of all normal voxels above it.

    subjects : of each, the curves of its scans. Every voxel weighs the same, so large bodies and
    subjects with many scans weigh more. Nothing follows for a new scan: the number that counts is
    that of subjects, and here it is not looked at.

    >>> import numpy as np
    >>> percentile([[Curve.of(np.arange(100.0))]], alpha=0.05)
    94.0
    """
    voxels = sum(curve.voxels for curves in subjects for curve in curves)
    return pooled_by_voxel(subjects).level_leaving(alpha * voxels)


def pooled_by_voxel(subjects: Sequence[Sequence[Curve]]) -> Pooled:
    """Return the subjects' shares together; every voxel weighs 1."""
    return Pooled(subjects, [[curve.voxels for curve in curves] for curves in subjects])
