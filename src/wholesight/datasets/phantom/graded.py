"""A lesion of a given volume and contrast, whose shape and place depend on neither.

Axes: i j k voxels. Signals are relative to white matter (1), as in `flair.py`.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wholesight.datasets.phantom.field import Grid, SmoothField, draw_field
from wholesight.datasets.phantom.head import Tissue
from wholesight.datasets.phantom.lesion import MOST_FLUID, draw_centre, draw_stretch

# Its centre lies as deep in the brain as a ball of this volume needs, whatever its own volume.
_PLACED_AS_ML = 30.0
# Bumps are kept below this many standard deviations, so that no direction turns inside out.
_HIGHEST_BUMP = 2.0
# At its border a lesion has this share of the contrast of its inside, which it reaches at this
# depth, in shares of its radius, or in mm where that is less.
_BORDER_CONTRAST = 0.75
_BORDER_DEPTH = 0.33
_BORDER_MM = 3.0
# The contrast of the inside varies by at most this share.
_MOTTLED_CONTRAST = 0.08
# No weight is above this. The least is _BORDER_CONTRAST * (1 - _MOTTLED_CONTRAST), and so their
# mean is no less than that: dividing by the mean makes 1 + _MOTTLED_CONTRAST at most this.
HIGHEST_WEIGHT = (1 + _MOTTLED_CONTRAST) / (_BORDER_CONTRAST * (1 - _MOTTLED_CONTRAST))


class GradedLesion(NamedTuple):
    """The place and the shape of lesions of any volume.

    stretch : (3, 3) maps an offset from the centre in mm to one in mm of a ball of that volume.
    bumps, bump_height : its border's irregularity, in shares of the radius. mottle : of its inside.
    """

    centre_mm: Float[np.ndarray, " 3"]
    stretch: Float[np.ndarray, "3 3"]
    bumps: SmoothField
    bump_height: float
    mottle: SmoothField


def draw_graded(rng: np.random.Generator, tissue: Tissue, grid: Grid) -> GradedLesion:
    """Draw a place in this head's own white matter, and a shape."""
    radius_mm = np.cbrt(3 * 1000 * _PLACED_AS_ML / (4 * np.pi))
    return GradedLesion(
        centre_mm=draw_centre(rng, tissue, grid, radius_mm),
        stretch=draw_stretch(rng),
        bumps=draw_field(rng, 11.0),
        bump_height=rng.uniform(0.08, 0.20),
        mottle=draw_field(rng, 8.0),
    )


def graded_weight(
    lesion: GradedLesion, tissue: Tissue, grid: Grid, volume_ml: float
) -> Float[np.ndarray, "i j k"]:
    """Return what share of the contrast each voxel takes: 0 outside, mean 1 over the lesion.

    The lesion is exactly `round(volume_ml / voxel)` voxels of solid tissue in one piece, so its
    volume is the nominal one to half a voxel. A larger one holds all smaller ones.
    """
    reached_mm = _radius_needed_mm(lesion, grid)
    solid = tissue.brain & (tissue.fluid < MOST_FLUID)
    mask = _grow(reached_mm, solid, round(volume_ml / grid.voxel_ml))
    radius_mm = float(reached_mm[mask].max())
    border_mm = min(_BORDER_MM, _BORDER_DEPTH * radius_mm)
    rising = np.clip((radius_mm - reached_mm) / border_mm, 0, 1)
    mottle = np.clip(lesion.mottle.on(grid)[0], -1, 1)
    share = _BORDER_CONTRAST + (1 - _BORDER_CONTRAST) * rising
    weight = np.where(mask, share * (1 + _MOTTLED_CONTRAST * mottle), 0)
    return weight / weight[mask].mean()


def add_graded(
    signal: Float[np.ndarray, "i j k"], weight: Float[np.ndarray, "i j k"], contrast: float
) -> Float[np.ndarray, "i j k"]:
    """Return the signal with the lesion: signal (1 + contrast weight).

    Every voxel of the lesion moves the same way, in proportion to the contrast; over its voxels
    the signal becomes 1 + contrast times the healthy one, on average.

    >>> add_graded(np.ones((1, 1, 3)), np.array([[[0.0, 0.75, 1.25]]]), -0.5)
    array([[[1.   , 0.625, 0.375]]])
    """
    return signal * (1 + contrast * weight)


def _radius_needed_mm(lesion: GradedLesion, grid: Grid) -> Float[np.ndarray, "i j k"]:
    """Radius at which the lesion's bumpy surface passes through each voxel."""
    offset = grid.points_mm() - lesion.centre_mm[:, None, None, None]
    away_mm = np.linalg.norm(np.einsum("ab,bijk->aijk", lesion.stretch, offset), axis=0)
    bumps = np.clip(lesion.bumps.on(grid)[0], -_HIGHEST_BUMP, _HIGHEST_BUMP)
    return away_mm / (1 + lesion.bump_height * bumps)


def _grow(
    needed_mm: Float[np.ndarray, "i j k"], solid: Bool[np.ndarray, "i j k"], voxels: int
) -> Bool[np.ndarray, "i j k"]:
    """Take `voxels` solid voxels in one piece from the centre on, the nearest neighbour first.

    What a ball of some radius would hold, but for places that fluid cuts off from its centre, and
    exact in number, where the volume of a ball that meets fluid or the brain's edge jumps.
    """
    # a frame, so that no neighbour of a solid voxel is beyond the end of the array
    cost = np.pad(np.where(solid, needed_mm, np.inf), 1, constant_values=np.inf)
    _, j, k = cost.shape
    neighbours = (-j * k, -k, -1, 1, k, j * k)
    costs = cost.ravel()
    first = int(costs.argmin())
    border = [(float(costs[first]), first)]
    seen, taken = {first}, np.zeros(cost.shape, bool)
    for _ in range(voxels):
        _, voxel = heappop(border)
        taken.flat[voxel] = True
        for step in neighbours:
            other = voxel + step
            if other not in seen and np.isfinite(costs[other]):
                seen.add(other)
                heappush(border, (float(costs[other]), other))
    return taken[1:-1, 1:-1, 1:-1]
