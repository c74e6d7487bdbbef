"""A volume to a stack of axial slices of one size, and a stack of maps back to the volume.

Axes: x y z canonical voxels; n slices, H W slice pixels (H runs along y, W along x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from skimage.transform import resize


@dataclass(frozen=True, kw_only=True)
class SliceGrid:
    """Where a stack of slices was cut from; knows the way there and back.

    shape : of the canonical volume (x, y, z). start : first voxel (x, y) of the field, which may
    lie outside the volume. field : voxels (x, y) of the field. size : pixels (H, W) of a slice.
    """

    shape: tuple[int, int, int]
    start: tuple[int, int]
    field: tuple[int, int]
    size: tuple[int, int]

    def stack(self, voxels: np.ndarray) -> np.ndarray:
        """(x, y, z) -> (n, 1, H, W) float32: crop or pad with 0, then resize (linear, smoothed).

        Linear in the voxels; booleans come back as the share of each pixel that is True.
        """
        cut = np.zeros((*self.field, self.shape[2]), np.float32)
        volume_part, field_part = self._overlap()
        cut[field_part] = voxels[volume_part]
        slices = _resize(cut.transpose(2, 1, 0), self.size)
        return np.ascontiguousarray(slices[:, None], np.float32)

    def unstack(self, maps: np.ndarray) -> np.ndarray:
        """(n, 1, H, W) -> (x, y, z) float32: resize to the field, put back where it was cut.

        Outside the field the result is 0.
        """
        if maps.shape != (self.shape[2], 1, *self.size):
            raise ValueError(f"maps {maps.shape} on a grid of {(self.shape[2], 1, *self.size)}")
        field = _resize(maps[:, 0], (self.field[1], self.field[0])).transpose(2, 1, 0)
        out = np.zeros(self.shape, np.float32)
        volume_part, field_part = self._overlap()
        out[volume_part] = field[field_part]
        return out

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the part of the volume that the field covers, in volume and field indices."""
        volume_part, field_part = [], []
        for start, length, available in zip(self.start, self.field, self.shape, strict=False):
            first, last = max(start, 0), min(start + length, available)
            volume_part.append(slice(first, last))
            field_part.append(slice(first - start, last - start))
        return tuple(volume_part), tuple(field_part)  # type: ignore[return-value]


class Slicing:
    """How slices are cut.

    size : pixels along each side of a square slice; None keeps the voxels as they are.
    field : "image" takes the whole image; "body" the body's bounding box over all slices plus
    `margin_mm`, so that small networks spend their pixels on the body. With a size, the field is
    padded to a square in mm, so that anatomy is not stretched.
    """

    def __init__(
        self,
        *,
        size: int | None,
        field: Literal["image", "body"] = "image",
        margin_mm: float = 0.0,
    ) -> None:
        if size is not None and size < 8:
            raise ValueError(f"size is {size}, legal is 8 or more, or none")
        if margin_mm < 0:
            raise ValueError(f"margin_mm is {margin_mm}, legal is 0 or more")
        self.size = size
        self.field: Literal["image", "body"] = field
        self.margin_mm = margin_mm

    def grid(self, body: np.ndarray, spacing_mm: tuple[float, float, float]) -> SliceGrid:
        """Return the grid for a body (x, y, z) bool with this spacing."""
        bounds = [self._bounds(body, axis, spacing_mm[axis]) for axis in (0, 1)]
        if self.size is None:
            (x0, nx), (y0, ny) = bounds
            return SliceGrid(shape=body.shape, start=(x0, y0), field=(nx, ny), size=(ny, nx))
        side_mm = max(n * mm for (_, n), mm in zip(bounds, spacing_mm, strict=False))
        squared = [
            _widen(start, n, max(n, round(side_mm / mm)))
            for (start, n), mm in zip(bounds, spacing_mm, strict=False)
        ]
        (x0, nx), (y0, ny) = squared
        return SliceGrid(
            shape=body.shape, start=(x0, y0), field=(nx, ny), size=(self.size, self.size)
        )

    def _bounds(self, body: np.ndarray, axis: int, mm: float) -> tuple[int, int]:
        """First voxel and number of voxels of the field along an axis."""
        if self.field == "image":
            return 0, body.shape[axis]
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(body.any(axis=others))
        margin = round(self.margin_mm / mm)
        first, last = int(occupied[0]) - margin, int(occupied[-1]) + margin
        return first, last - first + 1


def _widen(start: int, length: int, wanted: int) -> tuple[int, int]:
    return start - (wanted - length) // 2, wanted


def _resize(slices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, h, w) -> (n, *size), linear; smoothed first where the size shrinks."""
    if slices.shape[1:] == size:
        return slices
    return resize(
        slices, (slices.shape[0], *size), order=1, mode="edge", anti_aliasing=True
    ).astype(np.float32)
