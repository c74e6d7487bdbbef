"""The smallest box around what is True: nothing beyond it needs a look.

Axes: i j k as in the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def bounding_box(flags: Bool[np.ndarray, "i j k"]) -> tuple[slice, slice, slice]:
    """Return slices (i, j, k) that hold every True; of no length when there is none.

    >>> bounding_box(np.arange(12).reshape(2, 3, 2) == 5)
    (slice(0, 1, None), slice(2, 3, None), slice(1, 2, None))
    """
    i, j, k = (_extent(np.any(flags, axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return i, j, k


def diagonal_mm(flags: Bool[np.ndarray, "i j k"], *, spacing_mm: Sequence[float]) -> float:
    """Return the diagonal of the box around `flags` in mm, from outer corner to outer corner.

    So it is longer than the distance between any two of its voxels. 0 when nothing is True.

    >>> diagonal_mm(np.ones((3, 4, 1), dtype=bool), spacing_mm=(1.0, 1.0, 12.0))
    13.0
    """
    voxels = [side.stop - side.start for side in bounding_box(flags)]
    return math.hypot(*(n * step for n, step in zip(voxels, spacing_mm, strict=True)))


def _extent(line: Bool[np.ndarray, " n"]) -> slice:
    at = np.flatnonzero(line)
    return slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)
