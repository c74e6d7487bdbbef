"""What a scan looks like in a few figures: how bright, how large, of what shape, how sampled.

Not what is abnormal in it, but whether it is the kind of scan that a model knows: a knee, a scan of
another modality, or a head whose skull is still there differs in these however it is segmented.

Axes: n slices, H W slice pixels, f figures.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_erosion, gaussian_filter

from wholesight.prep.chain import Prepared
from wholesight.volume import Volume


class Feature(NamedTuple):
    """One figure. kind : what of the scan it tells of. name : in a message.

    finest : a difference below it is never told.
    """

    kind: str
    name: str
    finest: float


# Shares of the body's pixels that are darker than the values that are compared.
_SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
# Lengths and volumes are compared by their logarithm: finest 0.1 is a tenth more or less.
FEATURES: Final = (
    *(
        Feature("intensity", f"the intensity that {share:.0%} of the body is below", 0.03)
        for share in _SHARES
    ),
    Feature("intensity", "whether thin structures are dark or bright", 0.05),
    Feature("intensity", "the brightness of the body's rim", 0.05),
    Feature("sampling", "the distance between slices", 0.1),
    Feature("shape", "the volume of the body", 0.1),
    Feature("shape", "the width of the body", 0.05),
    Feature("shape", "the depth of the body", 0.05),
    Feature("shape", "the height of the body", 0.1),
    Feature("shape", "the share of its box that the body fills", 0.03),
)
# Thin structures are so wide or less, in pixels of a slice, and a rim is.
_THIN_PX: Final = 1.5
_RIM_PX: Final = 2
# Of the pixels at either end: a lesion may fill as many, and they do not tell it from the rest.
_EXTREME: Final = 0.05
_NEIGHBOURS: Final = np.ones((1, 3, 3), bool)


def appearance(prepared: Prepared, image: Volume) -> Float[np.ndarray, " f"]:
    """Return the FEATURES of a scan, (f,) float64. image : the one that was prepared.

    Intensities are those that a method sees, of normal slices alone where a truth is known, so that
    a training scan is described by what is trained on.
    """
    inside = prepared.inside[:, 0]
    seen = inside & prepared.normal[:, None, None]
    if not seen.any():
        seen = inside
    pixels = prepared.pixels[:, 0]
    bright = np.quantile(pixels[seen], _SHARES)
    within = np.asarray(binary_erosion(inside, _NEIGHBOURS, iterations=_RIM_PX), bool)
    median = max(float(bright[2]), np.finfo(np.float32).eps)
    rim = seen & ~within
    thin = _lean(_thin(pixels, inside)[seen & within])
    edge = float(np.median(pixels[rim])) / median if rim.any() else 1.0
    return np.array([*bright, thin, edge, *_sizes(prepared, image)], np.float64)


def _thin(pixels: np.ndarray, inside: np.ndarray) -> Float[np.ndarray, "n H W"]:
    """Return what is brighter or darker than its surroundings in the body."""
    sigma = (0.0, _THIN_PX, _THIN_PX)
    weight = gaussian_filter(inside.astype(np.float32), sigma)
    return pixels - gaussian_filter(pixels, sigma) / np.maximum(weight, np.finfo(np.float32).eps)


def _lean(values: np.ndarray) -> float:
    """Return from -1, far values are low ones, to 1, they are high ones: a skewness by quantiles.

    >>> _lean(np.array([-3.0, 0.0, 0.0, 0.0, 1.0])) < 0
    True
    """
    if not values.size:
        return 0.0
    low, middle, high = np.quantile(values, (_EXTREME, 0.5, 1 - _EXTREME))
    return float((high + low - 2 * middle) / (high - low)) if high > low else 0.0


def _sizes(prepared: Prepared, image: Volume) -> Float[np.ndarray, " s"]:
    # The file's axes in the order of right, front, top.
    order = [int(axis) for axis in np.argsort(prepared.turn[:, 0])]
    spacing_mm = np.array(image.spacing_mm)[order]
    taken = [np.flatnonzero(prepared.body.any(axis=_others(axis))) for axis in order]
    size = np.array([axis[-1] - axis[0] + 1 for axis in taken])
    if image.is_noted("N_NO_SPACING"):
        # Its proportions are known alone: the same thing may fill any number of pixels.
        spacing_mm = np.array([1 / size[0], 1 / size[0], 1.0])
    size_mm = size * spacing_mm
    body_mm3 = prepared.body.sum() * spacing_mm.prod()
    # Not the size of pixels in a slice: slices are cut to one size before a method sees them.
    lengths = (spacing_mm[2], body_mm3, *size_mm)
    return np.array([*np.log(lengths), body_mm3 / size_mm.prod()])


def _others(axis: int) -> tuple[int, int]:
    one, other = (n for n in range(3) if n != axis)
    return one, other
