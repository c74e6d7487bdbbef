"""Whether a mask lies on its image's grid, and how the two differ when it does not."""

from __future__ import annotations

import numpy as np

from wholesight.errors import InputError
from wholesight.volume import Scan, Volume


def require_one_grid(scan: Scan) -> None:
    """Refuse a scan whose body mask or truth lies on another grid than its image (E_GRID)."""
    for role, part in (("body mask", scan.inside), ("mask", scan.abnormal)):
        if part is not None and not part.same_grid(scan.image):
            raise InputError(
                f"its {role} ({part.name}) {difference(part, scan.image)}. "
                "Resample the mask onto the image's grid first (nearest neighbour).",
                code="E_GRID",
            )


def difference(part: Volume, image: Volume) -> str:
    """Say how two grids differ: in size, or else in place.

    >>> difference(Volume(np.zeros((2, 2, 1))), Volume(np.zeros((2, 2, 3)), name="a.nii"))
    'is 2x2x1 voxels but its image a.nii is 2x2x3'
    """
    if part.shape != image.shape:
        return f"is {_size(part)} voxels but its image {image.name} is {_size(image)}"
    return (
        f"has the size of its image {image.name} but lies elsewhere, "
        f"affine [{_rows(part)}] against [{_rows(image)}]"
    )


def _size(volume: Volume) -> str:
    return "x".join(str(n) for n in volume.shape)


def _rows(volume: Volume) -> str:
    """Write an affine on one line, six significant digits, the constant last row left out."""
    rows = np.asarray(volume.affine)[:3] + 0.0  # no minus zero
    return "; ".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
