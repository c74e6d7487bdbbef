"""Flat morphology: discs measured in mm, every slice by itself.

Axes: i j in the plane of a slice, k slices. Spacings are (i, j, k) in mm; only the first two are
used, because slices may be several mm thick and their neighbours then show another anatomy.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

Mask = Bool[np.ndarray, "i j k"]
SpacingMm = tuple[float, float, float]


def depth_mm(mask: Mask, spacing_mm: SpacingMm) -> Float[np.ndarray, "i j k"]:
    """In-plane distance of every voxel to the nearest one outside the mask; 0 outside the mask.

    What lies beyond the image counts as outside.

    >>> depth_mm(np.ones((1, 3, 1), bool), (2.0, 2.0, 6.0)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    rimmed = np.pad(mask, ((1, 1), (1, 1), (0, 0)))
    slices = [_distance_mm(rimmed[..., k], spacing_mm) for k in range(mask.shape[2])]
    return np.stack(slices, axis=2)[1:-1, 1:-1]


def dilated(mask: Mask, spacing_mm: SpacingMm, radius_mm: float) -> Mask:
    """Every voxel that has a voxel of the mask within the radius in its own slice."""
    grown = np.zeros(mask.shape, dtype=bool)
    for k in range(mask.shape[2]):
        # The distance to a mask that is not there is not defined.
        if mask[..., k].any():
            grown[..., k] = _distance_mm(~mask[..., k], spacing_mm) <= radius_mm
    return grown


def eroded(mask: Mask, spacing_mm: SpacingMm, radius_mm: float) -> Mask:
    """The voxels that lie deeper in the mask than the radius."""
    return depth_mm(mask, spacing_mm) > radius_mm


def opened(mask: Mask, spacing_mm: SpacingMm, radius_mm: float) -> Mask:
    """The mask without what is thinner than two radii: bridges, spurs, specks."""
    return dilated(eroded(mask, spacing_mm, radius_mm), spacing_mm, radius_mm)


def closed(mask: Mask, spacing_mm: SpacingMm, radius_mm: float) -> Mask:
    """The mask with its clefts narrower than two radii, and every hole, filled."""
    # Room for the disc, else a mask at the image's edge would be eroded from there.
    i, j = (math.ceil(radius_mm / mm) + 1 for mm in spacing_mm[:2])
    room = np.pad(mask, ((i, i), (j, j), (0, 0)))
    grown = filled(dilated(room, spacing_mm, radius_mm))
    return eroded(grown, spacing_mm, radius_mm)[i:-i, j:-j]


def filled(mask: Mask) -> Mask:
    """The mask and its holes: what cannot reach the edge of its slice.

    >>> ring = np.ones((3, 3, 1), bool)
    >>> ring[1, 1] = False
    >>> bool(filled(ring).all())
    True
    """
    whole = np.zeros(mask.shape, dtype=bool)
    for k in range(mask.shape[2]):
        whole[..., k] = ndimage.binary_fill_holes(mask[..., k])
    return whole


def large_parts(mask: Mask, *, share: float) -> Mask:
    """The connected parts that have at least this share of the largest part's voxels.

    Parts are connected across slices, by faces. A share of 1 keeps the largest part alone.
    """
    label = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, output=label)
    size = np.bincount(label.ravel())
    size[0] = 0
    return mask & (size >= share * size.max())[label]


def _distance_mm(plane: Bool[np.ndarray, "i j"], spacing_mm: SpacingMm) -> np.ndarray:
    return np.asarray(ndimage.distance_transform_edt(plane, sampling=spacing_mm[:2]))
