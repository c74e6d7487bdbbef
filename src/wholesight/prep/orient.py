"""Any of the 48 orientations to canonical RAS+, and exactly back.

Axes: i j k as in the file; x y z canonical: rightward, anteriorward, superiorward.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])


class Canonical(NamedTuple):
    """Voxels in canonical orientation, their affine, and how they were turned.

    turn : (3, 2) nibabel orientation of the source, what `restore` undoes.
    """

    voxels: np.ndarray
    affine: np.ndarray
    turn: np.ndarray


def canonical(voxels: np.ndarray, affine: np.ndarray) -> Canonical:
    """Permute and flip axes so that they run nearest to right, anterior, superior.

    voxels (i, j, k), affine (4, 4) -> voxels (x, y, z) and their affine. No resampling: an oblique
    or sheared grid stays so, and every voxel keeps its place in the world.
    """
    turn = io_orientation(affine)
    return Canonical(
        apply_orientation(voxels, turn), affine @ inv_ornt_aff(turn, voxels.shape), turn
    )


def restore(voxels: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Undo `canonical`: (x, y, z) -> (i, j, k), the same voxels bit for bit.

    >>> a = np.arange(6).reshape(1, 2, 3)
    >>> turned = canonical(a, np.diag([-1.0, 1, -1, 1]))
    >>> bool((restore(turned.voxels, turned.turn) == a).all())
    True
    """
    return np.ascontiguousarray(apply_orientation(voxels, ornt_transform(CANONICAL, turn)))


def axial_axis(affine: np.ndarray) -> int:
    """Return which array axis runs nearest to superior: slices along it are axial."""
    return int(np.flatnonzero(io_orientation(affine)[:, 0] == CANONICAL[2, 0])[0])
