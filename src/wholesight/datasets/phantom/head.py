"""One head: how it is drawn, and the tissue it has at each voxel.

Axes: i j k voxels of the output, s sheets (k cut finer, so that a thick slice averages through its
thickness). A deformation is written backwards: from a place in this head to the place of the maps
it is taken from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from wholesight.datasets.phantom.atlas import REACH_MM, Atlas
from wholesight.datasets.phantom.field import CENTRE_MM, Grid, SmoothField, draw_field

_SHEET_MM = 2.0
# The depth over which wider ventricles squeeze the tissue.
_SQUEEZED_MM = 14.0

# points (3, n) in this head, mm -> displacement (3, n) in mm to add before the maps are looked up
Push = Callable[[np.ndarray], np.ndarray]


class Head(NamedTuple):
    """What makes one head differ from another.

    matrix : rotation and 1 / size. bend, fold : the deformation over some cm (asymmetry, shape) and
    over one gyrus (the pattern of the folds). ventricle_mm : how far the walls of the lateral
    ventricles stand out. sulci : width of the furrows, 0 is that of the maps.
    """

    matrix: Float[np.ndarray, "3 3"]
    shift_mm: Float[np.ndarray, " 3"]
    bend: SmoothField
    bend_mm: float
    fold: SmoothField
    fold_mm: float
    ventricle_mm: float
    sulci: float


class Tissue(NamedTuple):
    """What each voxel holds. white + gray + fluid = 1 in the brain and 0 outside.

    wall_mm : mean distance from the lateral ventricles, for the bright rim along them.
    """

    brain: Bool[np.ndarray, "i j k"]
    white: Float[np.ndarray, "i j k"]
    gray: Float[np.ndarray, "i j k"]
    fluid: Float[np.ndarray, "i j k"]
    wall_mm: Float[np.ndarray, "i j k"]


def draw_head(rng: np.random.Generator) -> Head:
    """Draw a head; adults, some with wide ventricles and furrows."""
    age = rng.uniform()
    size = rng.uniform(0.90, 0.98) * rng.uniform(0.97, 1.03, 3)
    tilt = np.deg2rad(rng.normal(0, (4.0, 2.5, 3.0)))
    return Head(
        matrix=_rotation(tilt) / size,
        shift_mm=rng.normal(0, (2.0, 3.0, 2.0)),
        bend=draw_field(rng, 45.0, fields=3),
        bend_mm=rng.uniform(2.0, 4.0),
        fold=draw_field(rng, 13.0, fields=3),
        fold_mm=rng.uniform(1.2, 2.0),
        ventricle_mm=-1.0 + 4.5 * age + rng.uniform(-0.5, 1.0),
        sulci=rng.uniform(-0.5, 0.5) + age,
    )


def tissue_of(head: Head, atlas: Atlas, grid: Grid, push: Push | None = None) -> Tissue:
    """Look the head's tissue up in the maps.

    `push` displaces the tissue inside the brain but not the brain's outline: the skull holds.
    """
    samples = math.ceil(grid.spacing_mm[2] / _SHEET_MM)
    here = grid.points_mm(samples).reshape(3, -1)
    source = _source(head, atlas, here, grid, samples)
    inside = _inside(atlas, source)
    here, source = here[:, inside], source[:, inside]
    if push is not None:
        source = source + head.matrix @ push(here)
    source, wall_mm = _open_ventricles(head, atlas, source)

    fluid = _furrows(_look_up(atlas.fluid, source), head.sulci)
    white = _step(_look_up(atlas.white, source), 0.15, 0.85) * (1 - fluid)
    maps = np.zeros((4, inside.size))
    maps[:, inside] = np.ones_like(white), white, fluid, wall_mm
    covered, white, fluid, wall_mm = maps.reshape(4, *grid.shape, samples).mean(-1)

    brain = _in_one_piece(covered >= 0.5)
    white, fluid, wall_mm = (
        np.divide(part, covered, out=np.zeros_like(part), where=brain)
        for part in (white, fluid, wall_mm)
    )
    return Tissue(brain, white, brain - white - fluid, fluid, wall_mm)


def _in_one_piece(brain: np.ndarray) -> Bool[np.ndarray, "i j k"]:
    """Drop specks and whiskers, as a skull stripping does."""
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    pieces = np.zeros(brain.shape, np.int32)
    ndimage.label(ndimage.binary_opening(brain, cross), output=pieces)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])


def _source(
    head: Head, atlas: Atlas, here: np.ndarray, grid: Grid, samples: int
) -> Float[np.ndarray, "3 n"]:
    """Where in the maps (voxel index) each sample is taken from, ventricles and lesion aside."""
    bend = head.bend_mm * head.bend.on(grid, samples) + head.fold_mm * head.fold.on(grid, samples)
    centre = np.array(CENTRE_MM)[:, None]
    offset = centre + (head.shift_mm - atlas.origin_mm)[:, None]
    return head.matrix @ (here - centre + bend.reshape(3, -1)) + offset


def _open_ventricles(
    head: Head, atlas: Atlas, source: np.ndarray
) -> tuple[Float[np.ndarray, "3 n"], Float[np.ndarray, " n"]]:
    """Move the walls outward by `ventricle_mm`; further out the tissue is squeezed, not lost.

    Returns the new source and each sample's distance from the moved wall.
    """
    wall_mm = _distance(atlas, source)
    near = np.flatnonzero(wall_mm < REACH_MM)
    at, there = wall_mm[near], source[:, near]
    steps = 2 * np.eye(3)
    outward = np.stack([_distance(atlas, there + step[:, None]) - at for step in steps]) / 2
    strength = np.exp(-(((at - head.ventricle_mm) / _SQUEEZED_MM) ** 2))
    source = source.copy()
    source[:, near] -= head.ventricle_mm * strength * outward
    wall_mm[near] = _distance(atlas, source[:, near])
    return source, wall_mm


def _distance(atlas: Atlas, source: np.ndarray) -> Float[np.ndarray, " n"]:
    """Distance from the ventricles' wall; REACH_MM where it is not kept."""
    at = (source - atlas.wall_first[:, None]) / 2
    return ndimage.map_coordinates(
        atlas.wall_mm, at, np.float64, order=1, cval=REACH_MM, prefilter=False
    )


def _inside(atlas: Atlas, source: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Whether the voxel nearest to each sample is brain."""
    nearest = ndimage.map_coordinates(
        atlas.brain.view(np.uint8), source, np.uint8, order=0, prefilter=False
    )
    return nearest > 0


def _look_up(values: np.ndarray, source: np.ndarray) -> Float[np.ndarray, " n"]:
    """Linear interpolation in a map of shares; 0 beyond its edge."""
    return ndimage.map_coordinates(values, source, np.float64, order=1, prefilter=False) / 255


def _furrows(fluid: np.ndarray, width: float) -> np.ndarray:
    """Make a mean over many heads one head's: fluid where it is likely, none elsewhere.

    The maps have fluid 0.2 to 0.4 in furrows, for no two heads have them in the same place.
    """
    return _step(fluid, 0.12 - 0.05 * width, 0.50 - 0.12 * width)


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    at = np.clip((values - low) / (high - low), 0, 1)
    return at * at * (3 - 2 * at)


def _rotation(angles: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Turn about x, then y, then z (radians)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
