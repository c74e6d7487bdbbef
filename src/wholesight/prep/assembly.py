"""What becomes of a scan's maps, slice by slice, when they are one volume again.

A method sees slices, each by itself. What takes all slices of a scan is done here, on the way back.

Axes: n slices, H W slice pixels.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import gaussian_filter1d

# A pixel inside has at least its own weight; what lies far outside has none to divide by.
_LEAST: Final = 1e-6


class Assembly:
    """Level and fuse the maps of a scan; as it stands it leaves them as they are.

    level : "median" takes off the median of the map over the scan's body, for maps whose level
    moves from scan to scan by a sum, as a logit's does; 0 is then what is usual in this very scan.
    Where a lesion fills over half of the body, the median is the lesion's. fused_mm : maps are
    averaged through the slices with a Gaussian of this standard deviation; 0 leaves each alone.
    """

    def __init__(self, *, level: Literal["none", "median"] = "none", fused_mm: float = 0.0) -> None:
        if fused_mm < 0:
            raise ValueError(f"fused_mm is {fused_mm}, legal is 0 or more")
        self.level: Literal["none", "median"] = level
        self.fused_mm = fused_mm

    def __call__(
        self,
        maps: Float32[np.ndarray, "n 1 H W"],
        inside: Bool[np.ndarray, "n 1 H W"],
        *,
        slice_mm: float,
    ) -> Float32[np.ndarray, "n 1 H W"]:
        """Return the maps of one scan as they belong together.

        inside : the pixels that count; others neither make the level nor reach their neighbours.
        slice_mm : from slice to slice.
        """
        if self.level == "median" and inside.any():
            maps = maps - np.median(maps[inside])
        return averaged_through(maps, inside, sigma=self.fused_mm / slice_mm)


def averaged_through(
    maps: Float32[np.ndarray, "n 1 H W"], inside: Bool[np.ndarray, "n 1 H W"], *, sigma: float
) -> Float32[np.ndarray, "n 1 H W"]:
    """Average every pixel inside the body with those above and below it that are inside, too.

    Gaussian weights of standard deviation `sigma`, in slices; 0 changes nothing. Outside the body
    maps stay as they are. A normalised convolution (Knutsson and Westin, CVPR 1993): what lies
    outside has no weight, so that the first and the last slice are not drawn towards 0.

    >>> maps = np.array([4.0, 0.0, 9.0, 8.0], np.float32).reshape(4, 1, 1, 1)
    >>> inside = np.array([True, True, False, True]).reshape(4, 1, 1, 1)
    >>> averaged_through(maps, inside, sigma=1000.0).round(2).ravel().tolist()
    [4.0, 4.0, 9.0, 4.0]
    """
    if not sigma:
        return maps
    weight = inside.astype(np.float32)
    total, share = (
        gaussian_filter1d(values, sigma, axis=0, mode="constant")
        for values in (maps * weight, weight)
    )
    return np.where(inside, total / np.maximum(share, _LEAST), maps)
