"""The tissue maps every phantom head is bent from: MNI152, as carried in nilearn's wheel.

Axes: x y z voxels of the maps, 1 mm. The maps are exactly left-right symmetric: a head gets its
asymmetry from its own deformation (`head.py`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from wholesight.errors import UsageError
from wholesight.io import nifti

NOTICE = (
    "Anatomy: ICBM 152 nonlinear atlases (2009a, symmetric), grey and white matter maps and T1 "
    "template, as distributed with nilearn. Copyright (C) 1993-2004 Louis Collins, McConnell "
    "Brain Imaging Centre, Montreal Neurological Institute, McGill University. Permission to use, "
    "copy, modify, and distribute this software and its documentation for any purpose and without "
    "fee is hereby granted, provided that the above copyright notice appear in all copies. The "
    "authors and McGill University make no representations about the suitability of this software "
    'for any purpose. It is provided "as is" without express or implied warranty. The authors '
    "are not responsible for any data loss, equipment damage, property loss, or injury to subjects "
    "or patients resulting from the use or misuse of this software package. "
    "Reference: Fonov et al., NeuroImage 54 (2011) 313-327, doi:10.1016/j.neuroimage.2010.07.033."
)

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"

# Between these corners (mm) the two largest wholly fluid regions are the lateral ventricles.
_VENTRICLE_BOX_MM = ((-40, -64, -6), (40, 36, 36))
# The distance from their walls is kept this far out.
REACH_MM = 32


class Atlas(NamedTuple):
    """Maps on the grid of MNI152, and one on a part of it.

    brain : the brain and the fluid around it. white, fluid : shares of 255, the rest of the brain
    is grey. wall_mm : distance from the wall of the lateral ventricles, negative inside, at every
    second voxel from `wall_first` on; beyond it the distance is at least REACH_MM.
    origin_mm : world position of the first voxel; the axes are the world's (RAS+).
    """

    brain: Bool[np.ndarray, "x y z"]
    white: UInt8[np.ndarray, "x y z"]
    fluid: UInt8[np.ndarray, "x y z"]
    wall_mm: Float[np.ndarray, "u v w"]
    wall_first: Int[np.ndarray, " 3"]
    origin_mm: Float[np.ndarray, " 3"]


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the maps. Raises UsageError when nilearn is not installed."""
    folder = _folder()
    t1 = nifti.read(folder / _FILE.format("t1"))
    gray, white = (nifti.read(folder / _FILE.format(tissue)).voxels for tissue in ("gm", "wm"))
    origin_mm = t1.affine[:3, 3]
    # There is no map of fluid: it is what the tissues leave.
    fluid = np.clip(255 - gray - white, 0, 255)
    wall_mm, wall_first = _wall_mm(fluid, origin_mm)
    brain = t1.voxels > 0
    # The outermost millimetre and all beyond is fluid, else the outline has bright dashes where
    # the maps end inside the cortex.
    fluid = np.where(ndimage.binary_erosion(brain), fluid, 255)
    # whole numbers of 255 in the files; as bytes they are looked up twice as fast
    return Atlas(
        brain, white.astype(np.uint8), fluid.astype(np.uint8), wall_mm, wall_first, origin_mm
    )


def _folder() -> Path:
    """Find the maps without importing nilearn, which would load pandas and scikit-learn."""
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise UsageError(
            "The phantom is made from the MNI152 tissue maps that come with nilearn, which is not "
            'installed. Run: pip install "wholesight[demo]"'
        )
    return Path(spec.origin).parent / "datasets" / "data"


def _wall_mm(
    fluid: np.ndarray, origin_mm: np.ndarray
) -> tuple[Float[np.ndarray, "u v w"], Int[np.ndarray, " 3"]]:
    """Signed distance from the ventricles' wall, smooth enough to follow, and its first voxel."""
    low, high = (np.array(_VENTRICLE_BOX_MM) - origin_mm).astype(int)
    box = fluid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    regions = np.zeros(box.shape, np.int32)
    ndimage.label(box > 0.6 * 255, output=regions)
    largest_two = 1 + np.argsort(np.bincount(regions.ravel())[1:])[-2:]
    ventricles = np.isin(regions, largest_two)

    inside = np.pad(_depth(ventricles), REACH_MM)
    outside = _depth(~np.pad(ventricles, REACH_MM))
    signed = ndimage.gaussian_filter(outside - inside, 1.5)
    return np.ascontiguousarray(signed[::2, ::2, ::2]), low - REACH_MM


def _depth(mask: np.ndarray) -> Float[np.ndarray, "x y z"]:
    """Distance to the nearest voxel that is not in the mask; 0 outside it."""
    return np.asarray(ndimage.distance_transform_edt(mask), np.float32)
