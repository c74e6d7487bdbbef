"""The one slice of a case that a report shows, small and the right way up.

Axes: i j k as in the file; u v the two axes within a slice, as in the file; r c rows and columns
as displayed: rows from anterior (or superior) down, columns from the patient's right.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from nibabel.orientations import io_orientation

# The longest side that is kept, and the air left around the body.
LIMIT_PX = 224
_MARGIN_PX = 8

# An image without a place in the world: its first axis runs right, its second down.
_AS_STORED = np.diag([-1.0, -1.0, -1.0, 1.0])


class Thumbnail(NamedTuple):
    """One slice of one case, cropped to its body.

    slice_index : along the axis across slices. image : 0..255. map : higher = odder, None for a
    method that gives masks alone. mask : None for a method without a threshold. pixel_mm : height
    and width of a pixel.
    """

    slice_index: int
    image: UInt8[np.ndarray, "r c"]
    inside: Bool[np.ndarray, "r c"]
    truth: Bool[np.ndarray, "r c"]
    map: Float[np.ndarray, "r c"] | None
    mask: Bool[np.ndarray, "r c"] | None
    pixel_mm: tuple[float, float]


class _View(NamedTuple):
    """How a slice (u, v) is turned: exchange the axes, then reverse rows, columns."""

    exchange: bool
    reverse: tuple[bool, bool]
    pixel_mm: tuple[float, float]

    def turn(self, pixels: Shaped[np.ndarray, "u v"]) -> Shaped[np.ndarray, "r c"]:
        turned = pixels.T if self.exchange else pixels
        return turned[tuple(slice(None, None, -1 if back else 1) for back in self.reverse)]


def thumbnail(
    *,
    image: Float[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    map: Float[np.ndarray, "i j k"] | None,
    mask: Bool[np.ndarray, "i j k"] | None,
    axis: int,
    affine: Float[np.ndarray, "4 4"] | None,
) -> Thumbnail:
    """Show the slice with the most lesion in the body, else the one with the most body.

    The choice reads neither map nor mask, so every method is shown on the same slice.
    """
    at = _slice_to_show(np.moveaxis(inside, axis, 0), np.moveaxis(truth, axis, 0))
    view = _view(_AS_STORED if affine is None else affine, axis)
    box = _box(view.turn(inside.take(at, axis)))
    body = inside.take(at, axis)
    step = math.ceil(max(view.turn(body)[box].shape) / LIMIT_PX)

    def small(volume: np.ndarray) -> Float[np.ndarray, "r c"]:
        return _block_mean(view.turn(volume.take(at, axis))[box].astype(np.float32), step)

    return Thumbnail(
        slice_index=at,
        image=_grey(small(image), *_window(image, inside)),
        inside=small(inside) >= 0.5,
        truth=small(truth) >= 0.5,
        map=None if map is None else small(map),
        mask=None if mask is None else small(mask) >= 0.5,
        pixel_mm=view.pixel_mm,
    )


def _slice_to_show(inside: Bool[np.ndarray, "n u v"], truth: Bool[np.ndarray, "n u v"]) -> int:
    body = inside.sum(axis=(1, 2))
    lesion = (truth & inside).sum(axis=(1, 2))
    return int(np.argmax(lesion if lesion.any() else body))


def _view(affine: Float[np.ndarray, "4 4"], axis: int) -> _View:
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    u, v = (other for other in range(3) if other != axis % 3)
    world, sign = io_orientation(affine).T
    exchange = bool(world[u] < world[v])
    row, column = (v, u) if exchange else (u, v)
    # RAS+ world: what is shown above and on the left lies at the higher coordinate.
    reverse = (bool(sign[row] > 0), bool(sign[column] > 0))
    return _View(exchange, reverse, (float(spacing_mm[row]), float(spacing_mm[column])))


def _box(inside: Bool[np.ndarray, "r c"]) -> tuple[slice, slice]:
    """Bounding box of the body with a margin; everything where there is no body."""
    if not inside.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(inside.any(axis=across)) for across in (1, 0))
    return _around(rows), _around(columns)


def _around(taken: np.ndarray) -> slice:
    return slice(max(int(taken[0]) - _MARGIN_PX, 0), int(taken[-1]) + 1 + _MARGIN_PX)


def _block_mean(pixels: Float[np.ndarray, "r c"], step: int) -> Float[np.ndarray, "r c"]:
    if step == 1:
        return pixels
    rows, columns = (max(side // step, 1) for side in pixels.shape)
    whole = pixels[: rows * step, : columns * step]
    return whole.reshape(rows, -1, columns, whole.shape[1] // columns).mean(axis=(1, 3))


def _window(
    image: Float[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"]
) -> tuple[float, float]:
    """Intensities to show as black and white: the whole volume's, so that slices compare."""
    seen = image[inside] if inside.any() else image
    low, high = np.percentile(seen, [0.5, 99.5])
    return min(float(low), float(image.min())), float(high)


def _grey(pixels: Float[np.ndarray, "r c"], black: float, white: float) -> UInt8[np.ndarray, "r c"]:
    share = (pixels - black) / max(white - black, 1e-9)
    return np.rint(255 * share.clip(0, 1)).astype(np.uint8)
