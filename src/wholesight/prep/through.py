"""A stack of maps, each averaged with its neighbours: lesions go on in the next slice.

Axes: n slices, H W slice pixels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import gaussian_filter1d

# A pixel inside has at least its own weight; what lies far outside has none to divide by.
_LEAST: float = 1e-6


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
