"""A made-up lesion: where it lies, what it looks like, and the exact mask of what it changes.

Axes: i j k voxels. Signals are relative to white matter (1), as in `flair.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from wholesight.datasets.phantom.field import Grid, SmoothField, draw_field
from wholesight.datasets.phantom.head import Tissue

_DARK_SHARE = 0.3
# Of the anatomy's own contrast, this share is still seen inside a bright lesion.
_SHOWN_THROUGH = 0.4
# Furrows and ventricles, with more fluid than this, are not the lesion unless it encloses them.
MOST_FLUID = 0.4
# At its border a lesion has this share of its contrast. Not 0: the mask ends where the change ends.
_BORDER_CONTRAST = 0.3
# The contrast of the inside and the thickness of the rim vary by at most these shares.
_MOTTLED_CONTRAST = 0.25
_MOTTLED_RIM = 0.5


class Lesion(NamedTuple):
    """One lesion.

    stretch : (3, 3) maps an offset from the centre in mm to one in radii. bumps : its border's
    irregularity, in shares of the radius. sparing_mm : how much less far it reaches into grey
    matter; oedema follows the white. level : signal of its inside, mottled. rim_level, rim_mm : a
    bright shell, none when the thickness is 0. border_mm : depth over which the contrast rises.
    push_mm : how far it has pushed the tissue at its border outward.
    """

    centre_mm: Float[np.ndarray, " 3"]
    radius_mm: float
    stretch: Float[np.ndarray, "3 3"]
    bumps: SmoothField
    bump_height: float
    sparing_mm: float
    level: float
    mottle: SmoothField
    rim_level: float
    rim_mm: float
    border_mm: float
    push_mm: float

    def facts(self) -> dict[str, Any]:
        """Return what is worth a line in the cohort's record."""
        return {
            "centre_mm": [round(float(x), 1) for x in self.centre_mm],
            "contrast": "bright" if self.level > 1 else "dark",
            "level": round(float(self.level), 3),
            "rim_mm": round(float(self.rim_mm), 2),
            "push_mm": round(float(self.push_mm), 2),
        }

    def push(self, at_mm: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
        """Displacement to the place that tissue at `at_mm` came from: toward the centre.

        Greatest at the border, push_mm (r / R) exp((1 - (r / R)^2) / 2), and so small against the
        radius that no two places swap.
        """
        offset = (at_mm - self.centre_mm[:, None]) / self.radius_mm
        falling = np.exp((1 - np.sum(offset**2, axis=0)) / 2)
        return -self.push_mm * falling * offset


def draw_lesion(rng: np.random.Generator, tissue: Tissue, grid: Grid) -> Lesion:
    """Draw a lesion with a place in this head's own tissue."""
    dark = rng.uniform() < _DARK_SHARE
    radius_mm = (3 * 1000 * np.exp(rng.uniform(np.log(2), np.log(60))) / (4 * np.pi)) ** (1 / 3)
    has_rim = rng.uniform() < (0.6 if dark else 0.3)
    pushes = radius_mm > 11 and rng.uniform() < 0.6
    return Lesion(
        centre_mm=draw_centre(rng, tissue, grid, radius_mm),
        radius_mm=radius_mm,
        stretch=draw_stretch(rng) / radius_mm,
        bumps=draw_field(rng, 11.0),
        bump_height=rng.uniform(0.08, 0.25),
        sparing_mm=0.0 if dark else radius_mm * rng.uniform(0.0, 0.5),
        mottle=draw_field(rng, 8.0),
        level=rng.uniform(0.30, 0.55) if dark else rng.uniform(1.40, 1.80),
        rim_level=rng.uniform(1.5, 1.9),
        rim_mm=has_rim * rng.uniform(2.0, 3.5),
        border_mm=rng.uniform(2.0, 8.0),
        push_mm=pushes * radius_mm * rng.uniform(0.15, 0.40),
    )


def add_lesion(
    signal: Float[np.ndarray, "i j k"], lesion: Lesion, tissue: Tissue, grid: Grid
) -> tuple[Float[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
    """Return the signal with the lesion, and the mask: every voxel that changed and no other.

    The signal moves toward a target by a share that is 0 outside the mask and at least
    _BORDER_CONTRAST inside. A dark target is a share of the signal, a bright one lies above any
    normal tissue, so that no voxel of the mask stays what it was.
    """
    depth_mm = _depth_mm(lesion, grid) - lesion.sparing_mm * tissue.gray
    mask = _mask(depth_mm > 0, lesion, tissue, grid)
    depth_mm = np.clip(depth_mm, 0, None)
    mottle = np.clip(lesion.mottle.on(grid)[0], -1, 1)
    rim_mm = lesion.rim_mm * (1 + _MOTTLED_RIM * mottle)
    level = np.where(depth_mm < rim_mm, lesion.rim_level, lesion.level)
    contrast = (level - 1) * (1 + _MOTTLED_CONTRAST * mottle)
    target = np.where(
        contrast > 0, 1 + contrast + _SHOWN_THROUGH * (signal - 1), (1 + contrast) * signal
    )
    rising = np.clip((depth_mm - rim_mm) / lesion.border_mm, 0, 1)
    share = _BORDER_CONTRAST + (1 - _BORDER_CONTRAST) * np.where(depth_mm < rim_mm, 1, rising)
    return np.where(mask, signal + share * (target - signal), signal), mask


def _mask(
    within: np.ndarray, lesion: Lesion, tissue: Tissue, grid: Grid
) -> Bool[np.ndarray, "i j k"]:
    """Take the solid tissue connected to the centre, and the furrows it closes in on."""
    solid = within & tissue.brain & (tissue.fluid < MOST_FLUID)
    pieces = np.zeros(grid.shape, np.int32)
    ndimage.label(solid, output=pieces)
    away = np.linalg.norm(grid.points_mm() - lesion.centre_mm[:, None, None, None], axis=0)
    central = solid & (pieces == pieces.flat[np.argmin(np.where(solid, away, np.inf))])
    in_plane = ndimage.generate_binary_structure(2, 1)[:, :, None]
    return ndimage.binary_fill_holes(central, in_plane) & tissue.brain


def draw_centre(
    rng: np.random.Generator, tissue: Tissue, grid: Grid, radius_mm: float
) -> Float[np.ndarray, " 3"]:
    """Draw a place in white matter, so deep that most of the lesion is inside the brain."""
    padded = np.pad(tissue.brain, 1)
    depth_mm = np.asarray(ndimage.distance_transform_edt(padded, grid.spacing_mm))
    depth_mm = depth_mm[1:-1, 1:-1, 1:-1]
    white = tissue.white > 0.5
    # the second term lets some voxel qualify for the largest lesion in the smallest head
    needed_mm = min(0.7 * radius_mm, 0.8 * depth_mm[white].max())
    fits = np.argwhere(white & (depth_mm >= needed_mm))
    voxel = fits[rng.integers(len(fits))] + rng.uniform(-0.5, 0.5, 3)
    return grid.affine[:3, :3] @ voxel + grid.affine[:3, 3]


def draw_stretch(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Draw an ellipsoid of unit volume, turned at random."""
    axes = np.exp(rng.normal(0, 0.2, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return turn @ np.diag(np.cbrt(axes.prod()) / axes) @ turn.T


def _depth_mm(lesion: Lesion, grid: Grid) -> Float[np.ndarray, "i j k"]:
    """Depth below the lesion's bumpy surface, negative outside."""
    offset = grid.points_mm() - lesion.centre_mm[:, None, None, None]
    radii = np.linalg.norm(np.einsum("ab,bijk->aijk", lesion.stretch, offset), axis=0)
    return lesion.radius_mm * (1 - radii + lesion.bump_height * lesion.bumps.on(grid)[0])
