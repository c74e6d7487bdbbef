"""From an anomaly map to a mask: threshold, holes, smallest lesion.

Axes: i j k, any orientation.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes, generate_binary_structure, label

# Voxels that touch by a corner belong to one lesion.
_NEIGHBOURS = generate_binary_structure(3, 3)


class Cleanup:
    """What is done after the threshold.

    min_lesion_mm3 : connected components (26 neighbours) smaller than this are dropped; 0 keeps
    all. fill_holes : fill what is enclosed within a lesion, in 3-D.
    """

    def __init__(self, *, min_lesion_mm3: float = 0.0, fill_holes: bool = False) -> None:
        if min_lesion_mm3 < 0:
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

    def _without_small(self, mask: np.ndarray, voxel_mm3: float) -> np.ndarray:
        labels = np.zeros(mask.shape, np.int32)
        label(mask, _NEIGHBOURS, output=labels)
        large = np.bincount(labels.ravel()) * voxel_mm3 >= self.min_lesion_mm3
        large[0] = False
        return large[labels]
