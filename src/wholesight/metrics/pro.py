"""Per-region overlap: every lesion counts the same, however large it is.

A pixel-wise figure is decided by the largest lesion. Here each connected region of lesion pixels
has the weight 1, and a pixel of a region of s pixels the weight 1 / s.

Axes: l lesion pixels; m thresholds from the strictest down; r sets judged at once.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from wholesight.metrics.overlap import share


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
    regions: Float[np.ndarray, "*r m"], false_flags: Float[np.ndarray, "*r m"], *, limit: float
) -> Float[np.ndarray, "*r"]:
    """Area under the per-region overlap up to a false-positive rate of `limit`, over `limit`.

    PRO(t) is the mean over lesion regions of the share of the region that is flagged at t (Bergmann
    et al., CVPR 2020 and IJCV 2021, who take limit = 0.3; 0.05 asks what a reader could bear). It
    is traced against the share of flagged other pixels from (0, 0), with straight lines, and cut
    exactly at the limit. 1 perfect; limit / 2 by chance; 0 worst. NaN without a region or without
    another pixel.

    regions : region shares flagged at each threshold, from the strictest down; divided by the last,
    their total, they are PRO. false_flags : other pixels flagged. Lesion pixels are no part of the
    false-positive rate.

    Raises ValueError for a limit outside (0, 1].
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit {limit}: a false-positive rate above 0, at most 1")
    if not regions.shape[-1]:
        return np.full(regions.shape[:-1], np.nan)
    most = limit * false_flags[..., -1:]
    x, y = np.minimum(false_flags, most), _cut(regions, false_flags, most)
    area = x[..., 0] * y[..., 0] + (np.diff(x) * (y[..., 1:] + y[..., :-1])).sum(axis=-1)
    return share(area, 2 * most[..., 0] * regions[..., -1])


def _cut(
    regions: Float[np.ndarray, "*r m"],
    false_flags: Float[np.ndarray, "*r m"],
    most: Float[np.ndarray, "*r 1"],
) -> Float[np.ndarray, "*r m"]:
    """Lower a curve to where its line crosses the limit, at the first step that goes beyond.

    most : false flags at the limit.
    """
    at = np.argmax(false_flags > most, axis=-1)[..., None]
    (x, y), (x_before, y_before) = (
        [np.take_along_axis(each, step, axis=-1) * (step >= 0) for each in (false_flags, regions)]
        for step in (at, at - 1)
    )
    # Where nothing goes beyond, `at` is the first step, and no part of it does.
    beyond = (x - most).clip(min=0.0) / np.where(x > x_before, x - x_before, 1.0)
    cut = regions.copy()
    np.put_along_axis(cut, at, y - (y - y_before) * beyond, axis=-1)
    return cut
