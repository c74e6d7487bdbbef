"""The surface of a mask in small pieces of known area.

Axes: i j k as in the file; d surface elements; x y z the two voxels along i, j, k of a cell.

Between eight neighbouring voxels lies a cell; where some of them are in the mask and others are
not, marching cubes (Lorensen, Cline, 1987) says how the surface cuts it. There are 256 patterns,
so their areas are worked out once for a spacing. Of a pattern and its opposite, which bound the
same surface from its two sides, the smaller cut counts: this makes the area of a mask that of its
complement, and the areas those of Nikolov et al. (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from skimage.measure import marching_cubes, mesh_surface_area

from wholesight.metrics.box import bounding_box

_CORNERS = 8
_PATTERNS = 2**_CORNERS


class Surfels(NamedTuple):
    """Surface elements: (d, 3) where they are in mm, and (d,) their areas in mm2."""

    at_mm: Float[np.ndarray, "d 3"]
    area_mm2: Float[np.ndarray, " d"]


def surfels(mask: Bool[np.ndarray, "i j k"], *, spacing_mm: Sequence[float]) -> Surfels:
    """Return the surface elements of a mask; what lies beyond the grid is not of it.

    A flat mask, on a grid of one slice, is taken to go on beyond it: it has an outline, whose
    elements weigh by length, and no faces.

    >>> voxel = np.pad(np.ones((1, 1, 1), dtype=bool), 1)
    >>> print(surfels(voxel, spacing_mm=(1.0, 1.0, 1.0)).area_mm2.sum().round(6))
    1.732051
    """
    if not mask.any():
        return Surfels(np.zeros((0, 3)), np.zeros(0))
    box = bounding_box(mask)
    flat = [size == 1 for size in mask.shape]
    # One voxel around it on all sides, but a flat mask is doubled along the axis it lacks.
    solid = np.pad(mask[box], [(0, 0) if one else (1, 1) for one in flat])
    solid = np.pad(solid, [(0, 1) if one else (0, 0) for one in flat], mode="edge")
    patterns = _patterns(solid)
    cut = (patterns > 0) & (patterns < _PATTERNS - 1)
    start = np.array([side.start for side in box])
    areas = _areas((float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])))
    return Surfels((np.argwhere(cut) + start) * np.asarray(spacing_mm, float), areas[patterns[cut]])


def _patterns(solid: Bool[np.ndarray, "i j k"]) -> Int[np.ndarray, "i-1 j-1 k-1"]:
    """Return, of each cell, which corners are in the mask, one bit a corner."""
    i, j, k = (size - 1 for size in solid.shape)
    patterns = np.zeros((i, j, k), np.int16)
    for bit, (x, y, z) in enumerate(np.ndindex(2, 2, 2)):
        patterns |= solid[x : x + i, y : y + j, z : z + k].astype(np.int16) << bit
    return patterns


@lru_cache(maxsize=16)
def _areas(spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, " 256"]:
    """Return the area in mm2 that each pattern cuts out of its cell."""
    areas = np.zeros(_PATTERNS)
    for pattern in range(1, _PATTERNS - 1):
        corners = (pattern >> np.arange(_CORNERS) & 1).reshape(2, 2, 2).astype(np.float32)
        vertices, faces, _, _ = marching_cubes(corners, 0.5, spacing=spacing_mm, method="lorensen")
        areas[pattern] = mesh_surface_area(vertices, faces)
    return np.minimum(areas, areas[::-1])  # the opposite pattern stands mirrored in the table
