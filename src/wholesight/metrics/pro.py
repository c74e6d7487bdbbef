"""Per-region overlap: every lesion counts the same, however large it is.

A pixel-wise figure is decided by the largest lesion. Here each connected region of lesion pixels
has the weight 1, and a pixel of a region of s pixels the weight 1 / s.

Axes: l lesion pixels; m thresholds from the strictest down; r sets judged at once.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from wholesight.metrics.ranking import Counts


def region_shares(labels: Int[np.ndarray, " l"]) -> Float[np.ndarray, " l"]:
    """Weigh lesion pixels by 1 / (size of their region).

    labels : the region of each lesion pixel, any whole numbers from 0.

    >>> region_shares(np.array([1, 1, 2])).tolist()
    [0.5, 0.5, 1.0]
    """
    return (1 / np.bincount(labels)[labels]).astype(np.float32) if labels.size else np.empty(0)


def region_steps(
    thresholds: Float[np.ndarray, " m"],
    lesion_scores: Float[np.ndarray, " l"],
    shares: Float[np.ndarray, " l"],
) -> Float[np.ndarray, " m"]:
    """Sum the region shares of the lesion pixels that each fall of the threshold newly flags.

    thresholds : falling, as `steps_of` gives them, so that every lesion score is among them.
    """
    if lesion_scores.shape != shares.shape:
        raise ValueError(f"{shares.shape} region shares for {lesion_scores.shape} lesion scores")
    at_or_below = np.searchsorted(thresholds[::-1], lesion_scores, side="right")
    return np.bincount(thresholds.size - at_or_below, weights=shares, minlength=thresholds.size)


def aupro_of(
    regions: Float[np.ndarray, "*r m"], other: Counts, *, limit: float = 0.3
) -> Float[np.ndarray, "*r"]:
    """Area under the per-region overlap up to a false-positive rate of `limit`, over `limit`.

    PRO(t) is the mean over lesion regions of the share of the region that is flagged at t (Bergmann
    et al., CVPR 2020 and IJCV 2021, who take limit = 0.3; 0.05 asks what a reader could bear). It
    is traced against the share of flagged other pixels from (0, 0), with straight lines, and cut
    exactly at the limit. 1 perfect; limit / 2 by chance; 0 worst. NaN without a region or without
    another pixel.

    regions : region shares newly flagged at each step; divided by their total they are PRO. Lesion
    pixels are no part of the false-positive rate.

    Raises ValueError for a limit outside (0, 1].
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit {limit}: a false-positive rate above 0, at most 1")
    total, others = regions.sum(axis=-1), other.sum(axis=-1)
    defined = (total > 0) & (others > 0)
    # Where it is undefined any divisor will do: the figure is replaced below.
    pro_gain = regions / np.where(defined, total, 1.0)[..., None]
    rate_gain = other / np.where(defined, others, 1.0)[..., None]
    pro = np.cumsum(pro_gain, axis=-1) - pro_gain
    room = (limit - (np.cumsum(rate_gain, axis=-1) - rate_gain)).clip(min=0.0)
    width = np.minimum(rate_gain, room)
    within = np.divide(width, rate_gain, out=np.zeros_like(width), where=rate_gain > 0)
    area = (width * (pro + pro_gain * within / 2)).sum(axis=-1)
    return np.where(defined, area / limit, np.nan)
