"""How well a mask agrees with the truth, at the threshold that the method itself chose.

Every figure follows from four counts of pixels, so that sets of cases add up; `*_of` takes such
counts, the function of the same name two boolean arrays of any one shape.

Axes: n pixels; r whatever stands before the four counts: cases, resamples, nothing.

What is empty: nothing there and nothing found is NaN, left out of a mean and counted; one of both
empty is 0. `sensitivity`, `flagged_share` and `volume_error_ml` say their own.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numpy.typing import ArrayLike

_MM3_PER_ML = 1000


def counts_of(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> Int[np.ndarray, " 4"]:
    """Count the pixels: true flags, false flags, missed lesion, the rest.

    Raises ValueError when the shapes differ.

    >>> counts_of(np.array([True, True, False, False]), np.array([True, False, False, False]))
    array([1, 1, 0, 2])
    """
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} for truth {truth.shape}")
    mask, truth = mask.astype(bool), truth.astype(bool)
    flagged, lesion = np.count_nonzero(mask), np.count_nonzero(truth)
    both = np.count_nonzero(mask & truth)
    return np.array([both, flagged - both, lesion - both, mask.size - flagged - lesion + both])


def share(part: ArrayLike, whole: ArrayLike) -> Float[np.ndarray, "*r"]:
    """Divide, (*r) by (*r), with NaN where there is no whole to have a share of.

    >>> share(np.array([1, 0]), np.array([4, 0]))
    array([0.25,  nan])
    """
    nothing = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) != 0)


def dice_of(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Twice the shared pixels over the pixels of both (Dice, 1945), see `dice`."""
    true_flags, false_flags, missed, _ = np.moveaxis(counts, -1, 0)
    return share(2 * true_flags, 2 * true_flags + false_flags + missed)


def iou_of(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Shared pixels over the pixels of either (Jaccard, 1912), see `iou`."""
    true_flags, false_flags, missed, _ = np.moveaxis(counts, -1, 0)
    return share(true_flags, true_flags + false_flags + missed)


def sensitivity_of(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Share of the lesion that is flagged, see `sensitivity`."""
    true_flags, _, missed, _ = np.moveaxis(counts, -1, 0)
    return share(true_flags, true_flags + missed)


def precision_of(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Share of the flagged pixels that are lesion, see `precision`."""
    true_flags, false_flags, missed, _ = np.moveaxis(counts, -1, 0)
    silent = (true_flags + false_flags == 0) & (missed > 0)
    return np.where(silent, 0.0, share(true_flags, true_flags + false_flags))


def flagged_share_of(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Share of the lesion-free pixels that are flagged, see `flagged_share`."""
    _, false_flags, _, rest = np.moveaxis(counts, -1, 0)
    return share(false_flags, false_flags + rest)


def dice(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Twice the shared pixels over the pixels of both. 1 perfect, 0 worst.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    return float(dice_of(counts_of(mask, truth)))


def iou(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Shared pixels over the pixels of either: Dice / (2 - Dice). 1 perfect, 0 worst.

    >>> iou(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    return float(iou_of(counts_of(mask, truth)))


def sensitivity(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the lesion that is flagged. 1 perfect, 0 worst; NaN without lesion."""
    return float(sensitivity_of(counts_of(mask, truth)))


def precision(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the flagged pixels that are lesion. 1 perfect, 0 worst.

    A silent mask beside a lesion has precision 0, not NaN: silence must not raise a mean.
    """
    return float(precision_of(counts_of(mask, truth)))


def flagged_share(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the lesion-free pixels that are flagged. 0 perfect, 1 worst.

    On a normal scan this is the share of the body that is flagged by mistake, the risk that a
    calibrated threshold bounds. NaN when every pixel is lesion, or there is none.
    """
    return float(flagged_share_of(counts_of(mask, truth)))


def volume_error_ml(
    mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"], *, voxel_mm3: float
) -> float:
    """Flagged minus true volume in ml: above 0 too much is flagged, below 0 too little.

    0 is perfect in volume only: a lesion flagged at the wrong place costs nothing here. A silent
    mask on a normal scan has error 0 ml, a figure like any other; NaN when there is no pixel.

    >>> volume_error_ml(np.array([True, True]), np.array([True, False]), voxel_mm3=500.0)
    0.5
    """
    _, false_flags, missed, _ = counts_of(mask, truth)
    if not mask.size:
        return float("nan")
    return float(false_flags - missed) * voxel_mm3 / _MM3_PER_ML
