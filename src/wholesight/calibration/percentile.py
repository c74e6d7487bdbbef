"""The percentile of pooled normal voxels: simple, and without a guarantee for any one scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wholesight.calibration.threshold import Threshold
from wholesight.errors import UsageError


def percentile(normal_scores: Sequence[np.ndarray], *, alpha: float, slices: int = 0) -> Threshold:
    """Return the (1 - alpha) percentile of all in-body map values of normal slices.

    normal_scores : per subject the map's values (n,) in the body of normal slices; there is no
    argument that could carry a label. alpha : in (0, 1). Raises UsageError for another alpha or
    when there is no value at all.

    >>> percentile([np.arange(100.0)], alpha=0.05).value
    95.0
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}, legal is 0 < alpha < 1, for instance 0.05.")
    scores = [scan for scan in normal_scores if scan.size]
    if not scores:
        raise UsageError("There is no normal slice to set a threshold on.")
    pooled = np.concatenate(scores)
    # "higher": an actual value, so that at most alpha of these voxels lie strictly above it.
    value = float(np.quantile(pooled, 1 - alpha, method="higher"))
    return Threshold(
        value=value,
        rule="percentile",
        alpha=alpha,
        subjects=len(scores),
        slices=slices,
        voxels=pooled.size,
        statement=(
            f"percentile: {100 * (1 - alpha):g} % of the body's voxels in the normal slices of "
            f"{len(scores)} calibration subjects lie at or below this value. Averaged over all "
            "their voxels; no guarantee for a single scan, and none for scans of another kind."
        ),
    )
