"""Find the brain in a head scan: a marker watershed over the dark ring of the skull.

Bone is dark in every usual MR contrast and lies between two brighter things, scalp and brain. Seen
as a landscape of minus the intensity, scalp and brain are two basins and the skull is the ridge
between them. One marker is put into each, and both are flooded (S. Beucher and F. Meyer, "The
morphological approach to segmentation: the watershed transformation", 1993). Slices are flooded
singly, since a thick slice may show the brain where its neighbour shows bone.

Every figure is a property of heads or a share of the brain's own intensity, none of a scanner:

    SMOOTH_MM        1           less than the 2 mm of a skull's table, more than a noisy voxel
    SCALP_MM         4           skin and fat are thicker: so much of a head's rim is no brain
    BRAIN_DEPTH_MM   8           skin, fat and bone are thicker: brain starts deeper
    BRAIN_RADIUS_MM  5           a brain is wider than 10 mm; marrow and small muscles are not
    BRIDGE_MM        3           veins and nerves that cross the skull are less than 6 mm wide
    BRAIN_LEVELS     0.6 to 1.5  of the brain's level: its grey and white matter in FLAIR and T1
    BONE_SHARE       0.8         of skin and brain: bone is darker than both, cortex is not

Made for FLAIR and T1 of adults. In T2, where fluid is brighter than brain, and in small children,
look at the result or give a mask.

Axes: i j in the plane of a slice, k slices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from wholesight.errors import InputError
from wholesight.prep.morphology import (
    Mask,
    SpacingMm,
    closed,
    depth_mm,
    eroded,
    filled,
    large_parts,
    opened,
)

SMOOTH_MM = 1.0
SCALP_MM = 4.0
BRAIN_DEPTH_MM = 8.0
BRAIN_RADIUS_MM = 5.0
BRIDGE_MM = 3.0
BRAIN_LEVELS = (0.6, 1.5)
BONE_SHARE = 0.8

Levels = Float[np.ndarray, "i j k"]


def strip_skull(
    voxels: Num[np.ndarray, "i j k"],
    spacing_mm: SpacingMm,
    *,
    tissue: float = 0.5,
    sulcus_mm: float = 8.0,
) -> Mask:
    """Mask the brain, sulci and ventricles included; never empty.

    A scan whose skull is gone already comes back whole.

    Parameters
    ----------
    voxels : (i, j, k) head scan, k along the axis of the body.
    spacing_mm : along i, j, k.
    tissue : at the brain's surface, what is darker than this share of the brain is fluid or bone.
    sulcus_mm : a cleft in the brain's surface narrower than twice this belongs to the brain.

    Raises
    ------
    InputError
        ``E_EMPTY`` when there is no head or no brain to be found.
    """
    air = np.percentile(voxels, 0.5)
    smooth = _smooth(voxels - air, spacing_mm)
    head = _head(smooth, spacing_mm)
    # The air around the head is most of a scan, and nothing is to be found there.
    box = ndimage.find_objects(head.astype(np.uint8))[0]
    depth = depth_mm(head[box], spacing_mm)
    level = smooth[box] / _brain_level(smooth[box], depth)
    scalp = depth < SCALP_MM
    flood = _flood(level, scalp=scalp, core=_core(level, depth, spacing_mm))
    mask = np.zeros(voxels.shape, dtype=bool)
    if _is_bone(level, flood.ring, skin=scalp & (depth > SMOOTH_MM)):
        bright = flood.basin & (level > tissue)
        mask[box] = _with_clefts(bright, flood.basin, spacing_mm, sulcus_mm)
    else:
        # A stripped brain's edge is sharp, and smoothing has moved the head's into the air.
        mask[box] = filled(head[box] & (voxels[box] > air))
    return _not_empty(mask, "brain")


def _smooth(values: np.ndarray, spacing_mm: SpacingMm) -> Levels:
    sigma = (SMOOTH_MM / spacing_mm[0], SMOOTH_MM / spacing_mm[1], 0.0)
    return ndimage.gaussian_filter(values.astype(np.float64), sigma)


def _head(smooth: Levels, spacing_mm: SpacingMm) -> Mask:
    """Everything inside the skin: of each slice the largest bright part, its holes filled."""
    # The brightest voxels, fat near the coil, would pull the threshold up.
    capped = np.minimum(smooth, np.percentile(smooth, 99.5)).ravel()
    head = np.zeros(smooth.shape, dtype=bool)
    if capped.min() < capped.max():
        # Otsu parts bright tissue from the rest; half way from there to the air lies all tissue.
        bright = float(threshold_otsu(capped))
        air = np.median(capped[capped <= bright])
        solid = closed(smooth > (air + bright) / 2, spacing_mm, SCALP_MM)
        for k in range(smooth.shape[2]):
            head[..., [k]] = large_parts(solid[..., [k]], share=1.0)
    return _not_empty(head, "head")


def _brain_level(smooth: Levels, depth: Levels) -> float:
    """The commonest intensity deep in the head, where most voxels are brain."""
    # 30 mm is past scalp, skull and orbits; slices near the vertex are less deep.
    deep = smooth[depth > min(30.0, depth.max() / 2)]
    # Ventricles and sinuses are dark, and many.
    deep = deep[deep > 0.2 * np.percentile(deep, 90)]
    counts, edges = np.histogram(deep, bins=64)
    peak = int(ndimage.gaussian_filter1d(counts.astype(np.float64), 2.0).argmax())
    return float(edges[peak] + edges[peak + 1]) / 2


def _core(level: Levels, depth: Levels, spacing_mm: SpacingMm) -> Mask:
    """Certain brain: deep, as bright as brain, and wide. Bright lesions are left to the flood."""
    darkest, brightest = BRAIN_LEVELS
    unlike = (level <= darkest) | (level >= brightest) | (depth <= BRAIN_DEPTH_MM)
    # Vessels and noise must not break the brain into pieces.
    unlike = opened(unlike, spacing_mm, BRIDGE_MM / 2)
    core = large_parts(eroded(~unlike, spacing_mm, BRAIN_RADIUS_MM), share=1.0)
    return _not_empty(core, "brain")


class _Flood(NamedTuple):
    """Where the floods went. basin : the core's. ring : the line on which the two met."""

    basin: Mask
    ring: Mask


def _flood(level: Levels, *, scalp: Mask, core: Mask) -> _Flood:
    """Flood every slice from scalp and core; they meet on the darkest line between the two."""
    marker = np.where(core, 2, scalp.astype(np.int32))
    label = np.zeros(level.shape, dtype=np.int32)
    for k in range(level.shape[2]):
        label[..., k] = watershed(-level[..., k], marker[..., k], watershed_line=True)
    return _Flood(basin=label == 2, ring=label == 0)


def _is_bone(level: Levels, ring: Mask, *, skin: Mask) -> bool:
    """Whether the ring is darker than what lies on either side of it; else the skull is gone.

    Its median over the lesser of skin's and brain's was 0.24 to 0.29 in five heads, 0.58 in one
    with a skull full of bright marrow, and 0.98 to 1.22 in twenty stripped brains, where the ring
    runs through cortex (FLAIR of several scanners).
    """
    if not ring.any() or not skin.any():
        return False
    return bool(np.median(level[ring]) < BONE_SHARE * min(1.0, np.median(level[skin])))


def _with_clefts(bright: Mask, basin: Mask, spacing_mm: SpacingMm, sulcus_mm: float) -> Mask:
    """The brain in its basin: the bright part without bridges to the skull, and its clefts."""
    brain = large_parts(opened(bright, spacing_mm, BRIDGE_MM), share=1.0)
    whole = closed(brain, spacing_mm, sulcus_mm) & basin
    return large_parts(opened(whole, spacing_mm, BRIDGE_MM), share=1.0)


def _not_empty(mask: Mask, what: str) -> Mask:
    if mask.any():
        return mask
    raise InputError(
        f"skull stripping found no {what} in {' x '.join(map(str, mask.shape))} voxels. Check that "
        "this is an axial head scan and that its spacing is right, or give a mask of the brain.",
        code="E_EMPTY",
    )
