"""From an anomaly map to a mask: threshold, holes, smallest lesion.

Axes: i j k, any orientation.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes, find_objects, generate_binary_structure, label
from skimage.morphology import reconstruction

# Voxels that touch by a corner belong to one lesion.
_NEIGHBOURS = generate_binary_structure(3, 3)
# What is around a hole must be closed at its faces alone, as in `binary_fill_holes`.
_FACES = generate_binary_structure(3, 1)


class Cleanup:
    """What is done after the threshold.

    min_lesion_mm3 : connected components (26 neighbours) smaller than this are dropped; 0 keeps
    all. fill_holes : fill what is enclosed within a lesion, in 3-D.
    """

    def __init__(self, *, min_lesion_mm3: float = 0.0, fill_holes: bool = False) -> None:
        if not 0 <= min_lesion_mm3 < math.inf:
            raise ValueError(f"min_lesion_mm3 is {min_lesion_mm3}, legal is 0 or more")
        self.min_lesion_mm3 = min_lesion_mm3
        self.fill_holes = fill_holes

    def __call__(
        self,
        anomaly: Float[np.ndarray, "i j k"],
        body: Bool[np.ndarray, "i j k"],
        *,
        threshold: float,
        voxel_mm3: float,
    ) -> Bool[np.ndarray, "i j k"]:
        """Return the voxels of the body above the threshold (strictly), cleaned up."""
        mask = (anomaly > threshold) & body
        if self.fill_holes:
            mask = np.asarray(binary_fill_holes(mask), bool) & body
        if self.min_lesion_mm3 > 0:
            mask = self._without_small(mask, voxel_mm3)
        return mask

    def dropping_below(self, min_lesion_mm3: float) -> Cleanup:
        """Return the same with another smallest lesion. Raises ValueError as the constructor.

        >>> Cleanup(fill_holes=True).dropping_below(30.0).fill_holes
        True
        """
        return Cleanup(min_lesion_mm3=min_lesion_mm3, fill_holes=self.fill_holes)

    def filled(
        self, anomaly: Float[np.ndarray, "i j k"], body: Bool[np.ndarray, "i j k"]
    ) -> Float[np.ndarray, "i j k"]:
        """Return the map whose every threshold is the mask at that threshold, holes filled.

        filled(a) > t is the filled mask of a > t, for every t at once: a voxel's value becomes the
        lowest peak on any way from it to the outside, where that is higher (reconstruction by
        erosion; Vincent, IEEE Trans. Image Process. 2, 1993). So what is worked out on the map over
        all thresholds, as calibration does, holds for the masks. The map itself where holes stay;
        outside the body as it was. The smallest lesion plays no part.
        """
        if not self.fill_holes or not body.any():
            return anomaly
        # Around the body's box all is open, so what lies beyond it closes no hole.
        box = find_objects(body.astype(np.int8))[0]
        within = np.where(body[box], anomaly[box], -np.inf).astype(anomaly.dtype)
        filled = anomaly.copy()
        filled[box] = np.where(body[box], _without_pits(within), anomaly[box])
        return filled

    def _without_small(self, mask: np.ndarray, voxel_mm3: float) -> np.ndarray:
        labels = np.zeros(mask.shape, np.int32)
        label(mask, _NEIGHBOURS, output=labels)
        large = np.bincount(labels.ravel()) * voxel_mm3 >= self.min_lesion_mm3
        large[0] = False
        return large[labels]


def _without_pits(within: np.ndarray) -> np.ndarray:
    """Raise every pit to the lowest point of its rim; the array's faces are open."""
    seed = np.full_like(within, within.max())
    for axis in range(within.ndim):
        for face in (0, -1):
            at = tuple(face if axis == other else slice(None) for other in range(within.ndim))
            seed[at] = within[at]
    return reconstruction(seed, within, method="erosion", footprint=_FACES)
