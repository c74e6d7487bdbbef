"""Simplex noise: smooth random pictures without a preferred direction.

Axes: b pictures, H W pixels, p pixels of a picture in a row, x y the plane in lattice units.
Reference: Perlin, "Noise hardware", SIGGRAPH course notes 2001 (the lattice and its kernel).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

# From the plane to the lattice's coordinates, where its triangles are halves of unit squares, and
# back: i = x + SKEW (x + y), x = i - UNSKEW (i + j).
_SKEW = (math.sqrt(3) - 1) / 2
_UNSKEW = (3 - math.sqrt(3)) / 6
# A corner is felt up to this squared distance, the height of the lattice's triangles: three corners
# a point are enough, and what the fourth would add is 0.
_REACH = 0.5
# The variance of the sum below, over all positions of a point: with gradients g of unit length in
# all directions, E (g . d)^2 = d^2 / 2, and there is a corner every 1 / sqrt(3) of the plane, so
# sqrt(3) times the integral of (1/2 - r^2)^8 r^2 / 2 over the disc r^2 < 1/2.
_VARIANCE = math.sqrt(3) * math.pi / 184_320


def simplex_noise(
    pictures: int,
    height: int,
    width: int,
    *,
    wavelength_px: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b H W"]:
    """Draw pictures of simplex noise: every pixel has mean 0 and variance 1.

    n(x) = sum over the corners k of x's triangle of (1/2 - |d_k|^2)^4 g_k . d_k, d_k = x - corner,
    g_k a random direction. Each picture's lattice is turned and shifted at random, so that pictures
    have no pixel and no direction in common.

    wavelength_px : the lattice's unit; its corners are 0.82 of it apart.
    """
    x, y = _turned_grid(height, width, 2 * math.pi * torch.rand(pictures, 1, generator=generator))
    shift = torch.rand(pictures, 2, 1, generator=generator)
    # Shifted by less than a cell, along the lattice's own axes.
    x = x / wavelength_px + shift[:, 0] - _UNSKEW * shift.sum(dim=1)
    y = y / wavelength_px + shift[:, 1] - _UNSKEW * shift.sum(dim=1)
    return simplex_at(x, y, generator).unflatten(1, (height, width))


def simplex_at(
    x: Float[Tensor, "b p"], y: Float[Tensor, "b p"], generator: torch.Generator | None = None
) -> Float[Tensor, "b p"]:
    """Draw simplex noise at points of the plane, in lattice units; see `simplex_noise`."""
    i, j = torch.floor(x + _SKEW * (x + y)), torch.floor(y + _SKEW * (x + y))
    x, y = x - i + _UNSKEW * (i + j), y - j + _UNSKEW * (i + j)
    i, j = i - i.min(), j - j.min()
    # One angle for every corner that any picture has, and one more row: a cell has two of them.
    rows, columns = int(i.max()) + 2, int(j.max()) + 2
    angles = 2 * math.pi * torch.rand(len(x), rows * columns, generator=generator)
    lower = (x > y).float()  # which half of the cell, and so which corner is the second
    total = torch.zeros_like(x)
    for di, dj in ((0.0, 0.0), (lower, 1 - lower), (1.0, 1.0)):
        corner = ((i + di) * columns + j + dj).long()
        total += _felt(x - di + _UNSKEW * (di + dj), y - dj + _UNSKEW * (di + dj), angles, corner)
    return total / math.sqrt(_VARIANCE)


def octaves_of_simplex_noise(
    pictures: int,
    height: int,
    width: int,
    *,
    wavelength_px: float,
    octaves: int,
    persistence: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b H W"]:
    """Draw sums of independent simplex noise: every pixel has mean 0 and variance 1.

    Each octave has half the wavelength and `persistence` times the amplitude of the one before.
    """
    total = torch.zeros(pictures, height, width)
    for octave in range(octaves):
        total += persistence**octave * simplex_noise(
            pictures,
            height,
            width,
            wavelength_px=wavelength_px / 2**octave,
            generator=generator,
        )
    return total / math.sqrt(sum(persistence ** (2 * octave) for octave in range(octaves)))


def _turned_grid(
    height: int, width: int, turn: Float[Tensor, "b 1"]
) -> tuple[Float[Tensor, "b p"], Float[Tensor, "b p"]]:
    """Return x and y of every pixel, turned about the picture's centre."""
    rows, columns = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    rows, columns = rows.flatten(), columns.flatten()
    return columns * turn.cos() - rows * turn.sin(), columns * turn.sin() + rows * turn.cos()


def _felt(
    dx: Float[Tensor, "b p"],
    dy: Float[Tensor, "b p"],
    angles: Float[Tensor, "b corners"],
    corner: Int[Tensor, "b p"],
) -> Float[Tensor, "b p"]:
    """Return what points feel of a corner at distance (dx, dy): its slope, fading to 0."""
    angle = angles.gather(1, corner)
    fade = (_REACH - dx.square() - dy.square()).clamp_min(0) ** 4
    return fade * (angle.cos() * dx + angle.sin() * dy)
