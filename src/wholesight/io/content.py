"""What an image is by its voxels, whatever its file is called and however it is compressed."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from wholesight.volume import Volume

# What the hash of a case's voxels is called among those of its files: "case/voxels".
VOXELS: Final = "/voxels"


def voxels_sha256(image: Volume) -> str:
    """Return the SHA-256 of an image's values in their grid's shape.

    >>> one = Volume(np.zeros((2, 2, 2)), np.eye(4))
    >>> voxels_sha256(one) == voxels_sha256(one.like(one.voxels.astype(np.uint8)))
    True
    """
    voxels = np.ascontiguousarray(image.voxels, np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()
