"""How far apart the surfaces of mask and truth lie, in mm.

Two published conventions, each where it is the common one: for the Hausdorff distance a surface
is the voxels of a mask that touch by a face what is not of it, and each counts once; for the
surface Dice it is small elements between voxels, which weigh by area. What lies beyond the grid
is not of a mask. On a grid of one slice a mask has an outline and no faces.

Axes: i j k as in the file; a points on one surface, b on the other.

What is empty: both is NaN, left out of a mean and counted; one of both is the worst value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from wholesight.metrics.box import bounding_box, diagonal_mm
from wholesight.metrics.overlap import share
from wholesight.metrics.surfel import surfels


def hd95_mm(
    mask: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    *,
    spacing_mm: Sequence[float],
    inside: Bool[np.ndarray, "i j k"] | None = None,
) -> float:
    """Hausdorff distance at 95 %, in mm (Huttenlocher et al., 1993). 0 perfect, lower = better.

    The larger of the two 95th percentiles: of the distances from the mask's surface voxels to the
    nearest of the truth's, and back; between centres of voxels, as in MONAI. The surface-distance
    package weighs by area instead: on smooth shapes the two differ by less than two diagonals of
    a voxel, mostly by less than one.

    When one of both is empty there is no distance, and to leave the case out would reward silence.
    It takes the diagonal of the box around the body (`inside`; the whole grid without it), which
    is longer than any distance between two voxels of the body: never does silence raise a mean.

    Raises ValueError when the shapes differ or a spacing is not above 0.
    """
    _require_comparable(mask, truth, spacing_mm)
    if not mask.any() and not truth.any():
        return float("nan")
    if not mask.any() or not truth.any():
        body = np.ones(mask.shape, bool) if inside is None else inside
        return diagonal_mm(body, spacing_mm=spacing_mm)
    flagged, lesion = (_border(one.astype(bool)) * np.asarray(spacing_mm) for one in (mask, truth))
    ways = _nearest_mm(flagged, lesion), _nearest_mm(lesion, flagged)
    return float(max(np.percentile(way, 95) for way in ways))


def surface_dice(
    mask: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    *,
    spacing_mm: Sequence[float],
    tolerance_mm: float = 2.0,
) -> float:
    """Share of both surfaces, by area, that lies within a tolerance of the other.

    1 perfect, 0 worst. The normalised surface Dice of Nikolov et al. (2018), as in their
    surface-distance package and, with `use_subvoxels`, in MONAI. A tolerance should be what two
    experts differ by; 2 mm is a convention.

    Raises ValueError when the shapes differ or a spacing is not above 0.
    """
    _require_comparable(mask, truth, spacing_mm)
    flagged, lesion = (surfels(one.astype(bool), spacing_mm=spacing_mm) for one in (mask, truth))
    away = np.concatenate(
        [_nearest_mm(flagged.at_mm, lesion.at_mm), _nearest_mm(lesion.at_mm, flagged.at_mm)]
    )
    area = np.concatenate([flagged.area_mm2, lesion.area_mm2])
    # In single precision, what is at the tolerance but for rounding is within it.
    near = away.astype(np.float32) <= np.float32(tolerance_mm)
    return float(share(area[near].sum(), area.sum()))


def _border(mask: Bool[np.ndarray, "i j k"]) -> Float[np.ndarray, "a 3"]:
    """Return the indices of the voxels that touch by a face what is not of the mask."""
    box = bounding_box(mask)
    solid = mask[box]
    core = solid
    # What a cross leaves is what lines of three voxels leave, one along each axis.
    for axis in _axes(mask.shape):
        line = np.ones([3 if axis == other else 1 for other in range(3)], bool)
        core = core & np.asarray(binary_erosion(solid, line), bool)
    return np.argwhere(solid & ~core) + np.array([float(side.start) for side in box])


def _axes(shape: tuple[int, ...]) -> list[int]:
    """Return the axes along which a mask can end."""
    long = [axis for axis, size in enumerate(shape) if size > 1]
    return long or [0]  # a grid of one voxel: its surface is itself


def _nearest_mm(
    start: Float[np.ndarray, "a 3"], end: Float[np.ndarray, "b 3"]
) -> Float[np.ndarray, " a"]:
    """Return how far each point is from the nearest at the end; infinite where there is none."""
    # A tree of the few points on a surface, not a distance map of the whole grid: exact as well,
    # several times faster for lesions, and its memory does not grow with the grid.
    return KDTree(end).query(start)[0] if len(end) else np.full(len(start), np.inf)


def _require_comparable(mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> None:
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} for truth {truth.shape}")
    if len(spacing_mm) != 3 or not all(step > 0 for step in spacing_mm):
        raise ValueError(f"spacing_mm is {tuple(spacing_mm)}, legal are three above 0")
