"""A made-up lesion of known volume and contrast in a normal part of a scan.

It shows what a threshold finds where no abnormal scan is at hand. It resembles no disease: it is a
ball of one contrast with a soft border, and what it says of a real lesion of that volume and
contrast is a rough guess.

Axes: i j k as in the file, any orientation, any spacing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import distance_transform_edt, find_objects, label

SpacingMm = tuple[float, float, float]

# At its border a lesion has this share of the contrast of its inside, which it reaches at this
# depth in mm, or in shares of its radius where that is less.
_BORDER_CONTRAST: Final = 0.6
_BORDER_MM: Final = 3.0
_BORDER_DEPTH: Final = 0.5
# No weight is above this: none is below _BORDER_CONTRAST of the highest, so their mean is not.
HIGHEST_WEIGHT: Final = 1 / _BORDER_CONTRAST

# A lesion takes at most this share of the piece of the body it lies in: of more, the rest would be
# the exception.
_MOST_OF_PIECE: Final = 0.5
# Where a lesion is deeper than fits, its centre is at least this share of the deepest place deep.
_NEARLY_DEEPEST: Final = 0.9
# Places that are tried before a lesion counts as too large for a region full of clefts.
_ATTEMPTS: Final = 10


class Inserted(NamedTuple):
    """A scan with a lesion.

    image : (i, j, k) floating point. lesion : (i, j, k) where it differs, the truth.
    """

    image: Float[np.ndarray, "i j k"]
    lesion: Bool[np.ndarray, "i j k"]


def insert(
    image: Num[np.ndarray, "i j k"],
    region: Bool[np.ndarray, "i j k"],
    spacing_mm: SpacingMm,
    *,
    volume_ml: float,
    contrast: float,
    rng: np.random.Generator,
) -> Inserted | None:
    """Draw a place in the region and insert a lesion; None when it does not fit there.

    Where it lies and which voxels it holds depends on the region and `rng`, never on the contrast.
    For the parameters see `draw_weight` and `with_lesion`.
    """
    weight = draw_weight(region, spacing_mm, volume_ml=volume_ml, rng=rng)
    if weight is None:
        return None
    return Inserted(with_lesion(image, weight, contrast), weight > 0)


def draw_weight(
    region: Bool[np.ndarray, "i j k"],
    spacing_mm: SpacingMm,
    *,
    volume_ml: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "i j k"] | None:
    """Return which share of its contrast a lesion has in each voxel: 0 outside, mean 1 over it.

    region : the normal body, where it must lie. spacing_mm : of the voxels along i, j, k.
    volume_ml : of the lesion, which is exactly ``round(volume / voxel)`` voxels in one piece, so
    right to half a voxel. As long as a ball of this volume has room it lies whole in the region;
    else it is the voxels nearest to one of the deepest places, flat where the region ends.

    None when it does not fit: it is less than half a voxel, more than half of every piece of the
    region, or in several pieces wherever it was tried. Raises ValueError for an impossible volume.
    """
    if not 0 < volume_ml < np.inf:
        raise ValueError(f"volume_ml is {volume_ml}, a positive number is needed")
    if not region.any():
        return None
    box = _box(region)
    lesion = _draw_lesion(region[box], spacing_mm, volume_ml, rng)
    if lesion is None:
        return None
    weight = np.zeros(region.shape)
    weight[box] = _soft(lesion, spacing_mm, min(_BORDER_MM, _BORDER_DEPTH * _radius_mm(volume_ml)))
    return weight


def with_lesion(
    image: Num[np.ndarray, "i j k"], weight: Float[np.ndarray, "i j k"], contrast: float
) -> Float[np.ndarray, "i j k"]:
    """Return the image with the lesion: signal (1 + contrast weight), every other voxel untouched.

    contrast : what the lesion adds to the signal, on average over its voxels: 0.5 half as much
    again, -0.5 half of it gone. Signal counts from 0, or from the lowest value of an image that
    has negative ones (CT). Whole numbers become floating point, so that nothing saturates.

    Raises ValueError for a contrast so low that signal would turn negative, and for NaN.

    >>> with_lesion(np.full((1, 1, 3), 200, np.uint8), np.array([[[0.0, 0.8, 1.2]]]), 0.5)
    array([[[200., 280., 320.]]], dtype=float32)
    """
    if not -1 / HIGHEST_WEIGHT <= contrast < np.inf:
        raise ValueError(f"contrast is {contrast}, legal is {-1 / HIGHEST_WEIGHT:g} or more")
    # NaN is no lowest value: a scan's reader decides what becomes of it, not this.
    lowest = min(float(np.nanmin(image)), 0.0)
    signal = image.astype(np.result_type(image.dtype, np.float32))
    lesion = weight > 0
    signal[lesion] += (signal[lesion] - lowest) * contrast * weight[lesion]
    return signal


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask; what lies beyond it only costs time."""
    return find_objects(mask.astype(np.int8))[0]


def _radius_mm(volume_ml: float) -> float:
    return float(np.cbrt(3 * 1000 * volume_ml / (4 * np.pi)))


def _draw_lesion(
    region: np.ndarray, spacing_mm: SpacingMm, volume_ml: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Return the lesion's voxels, or None when it does not fit."""
    voxels = round(volume_ml * 1000 / float(np.prod(spacing_mm)))
    roomy = _roomy_pieces(region, voxels / _MOST_OF_PIECE)
    if voxels == 0 or not roomy.any():
        return None
    centres = np.flatnonzero(_deep(roomy > 0, spacing_mm, _radius_mm(volume_ml)))
    for centre in rng.choice(centres, _ATTEMPTS):
        lesion = _nearest(roomy == roomy.flat[centre], spacing_mm, int(centre), voxels)
        if _pieces(lesion)[1] == 1:
            return lesion
    return None


def _roomy_pieces(region: np.ndarray, least_voxels: float) -> np.ndarray:
    """Number the pieces that are large enough; 0 elsewhere."""
    pieces, _ = _pieces(region)
    large = np.bincount(pieces.ravel()) >= least_voxels
    large[0] = False
    return np.where(large[pieces], pieces, 0)


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the pieces, whose voxels share faces, from 1; and say how many they are."""
    pieces = np.zeros(mask.shape, np.int32)
    return pieces, int(label(mask, output=pieces))  # pyright: ignore[reportArgumentType]


def _deep(region: np.ndarray, spacing_mm: SpacingMm, radius_mm: float) -> Bool[np.ndarray, "i j k"]:
    """Return where a ball of this radius lies whole in the region, else its deepest places."""
    depth_mm = _depth_mm(region, spacing_mm)
    return depth_mm > min(radius_mm, _NEARLY_DEEPEST * float(depth_mm.max()))


def _nearest(
    piece: np.ndarray, spacing_mm: SpacingMm, centre: int, voxels: int
) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels of the piece that are nearest to a voxel of it, by its flat index."""
    middle = np.unravel_index(centre, piece.shape)
    away = [
        ((np.arange(n) - c) * step) ** 2
        for n, c, step in zip(piece.shape, middle, spacing_mm, strict=True)
    ]
    at = np.flatnonzero(piece)
    i, j, k = np.unravel_index(at, piece.shape)
    away_mm2 = away[0][i] + away[1][j] + away[2][k]
    lesion = np.zeros(piece.shape, bool)
    lesion.flat[at[np.argpartition(away_mm2, voxels - 1)[:voxels]]] = True
    return lesion


def _soft(
    lesion: np.ndarray, spacing_mm: SpacingMm, border_mm: float
) -> Float[np.ndarray, "i j k"]:
    """Let the contrast rise from the lesion's border to its inside, and scale its mean to 1."""
    weight = np.zeros(lesion.shape)
    box = _box(lesion)
    inside = lesion[box]
    rising = np.clip(_depth_mm(inside, spacing_mm) / border_mm, 0, 1)
    weight[box] = np.where(inside, _BORDER_CONTRAST + (1 - _BORDER_CONTRAST) * rising, 0)
    return weight / weight[lesion].mean()


def _depth_mm(mask: np.ndarray, spacing_mm: SpacingMm) -> Float[np.ndarray, "i j k"]:
    """Return the distance to the nearest voxel outside, for which the array's end counts, too."""
    depth_mm = distance_transform_edt(np.pad(mask, 1), spacing_mm)
    return np.asarray(depth_mm)[1:-1, 1:-1, 1:-1]
