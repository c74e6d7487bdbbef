"""Which pixels are judged: those inside the body, away from its rim.

Axes: i j k as in the file; n in-body pixels, in no particular order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

# The published evaluation erodes the body of every axial slice by a square of 6 x 6 pixels.
EROSION_PX = 6


class Pixels(NamedTuple):
    """The judged pixels of one case.

    scores : (n,) higher = odder, or None for a method that gives masks alone. truth : (n,) True =
    lesion. mask : (n,) True = flagged, or None for a method that has no threshold.
    """

    scores: Float[np.ndarray, " n"] | None
    truth: Bool[np.ndarray, " n"]
    mask: Bool[np.ndarray, " n"] | None = None


def eroded(
    inside: Bool[np.ndarray, "i j k"], *, axis: int, size: int = EROSION_PX
) -> Bool[np.ndarray, "i j k"]:
    """Erode a body mask by `size` x `size` pixels within each slice.

    axis : the index of the axis across slices (0, 1 or 2); nothing is eroded along it. What lies
    beyond the edge of the grid counts as outside. Size 1 changes nothing.

    >>> eroded(np.ones((8, 8, 2), dtype=bool), axis=2).sum(axis=(0, 1)).tolist()
    [9, 9]
    """
    for in_plane in {0, 1, 2} - {axis % 3}:
        # A square is two lines: the same result as one square, for a third of the time.
        line = np.ones([size if other == in_plane else 1 for other in range(3)], dtype=bool)
        inside = ndimage.binary_erosion(inside, line)
    return inside


def pixels_inside(
    inside: Bool[np.ndarray, "i j k"],
    *,
    scores: Float[np.ndarray, "i j k"] | None,
    truth: Bool[np.ndarray, "i j k"],
    mask: Bool[np.ndarray, "i j k"] | None = None,
) -> Pixels:
    """Take the in-body pixels of one case.

    Raises ValueError when the shapes differ or an in-body score is not finite.
    """
    others = {"scores": scores, "truth": truth, "mask": mask}
    for name, array in others.items():
        if array is not None and array.shape != inside.shape:
            raise ValueError(f"{name} {array.shape} on a body mask of {inside.shape}")
    taken = None if scores is None else scores[inside].astype(np.float32)
    if taken is not None and not np.isfinite(taken).all():
        raise ValueError(f"{np.sum(~np.isfinite(taken))} in-body scores are not finite")
    return Pixels(taken, truth[inside], None if mask is None else mask[inside])
