"""Kinds of noise that a network learns to take away: mean 0 and variance 1 at every pixel.

Axes: b slices, c channels, H W slice pixels, n nodes of a coarse grid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from wholesight.nn.simplex import octaves_of_simplex_noise


class Noise(ABC):
    """A random picture for each slice and channel, independent of all others."""

    @abstractmethod
    def draw(
        self, shape: torch.Size | tuple[int, ...], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c H W"]:
        """Return noise of that shape, mean 0 and variance 1, on the CPU.

        generator : what it is drawn from; torch's own, which `fit` seeds, when there is none.
        """


class Gaussian(Noise):
    """Every pixel by itself (Ho, Jain, Abbeel, "DDPM", NeurIPS 2020, arXiv 2006.11239)."""

    def draw(
        self, shape: torch.Size | tuple[int, ...], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c H W"]:
        return torch.randn(tuple(shape), generator=generator)


class Coarse(Noise):
    """Gaussian at the nodes of a coarse grid, bilinear between them (Kascenas et al., MIDL 2022).

    The grid is shifted at random in both directions. A point at 0 <= f <= 1 of the way between two
    nodes has (1 - f)^2 + f^2 of their variance, 2/3 on average, (2/3)^2 in two directions: noise
    whose nodes have standard deviation s (as published) has 2/3 s at the pixels.

    coarseness_px : distance of two nodes.
    """

    def __init__(self, *, coarseness_px: float = 8.0) -> None:
        if coarseness_px < 1:
            raise ValueError(f"coarseness_px is {coarseness_px}, legal is 1 or more")
        self.coarseness_px = coarseness_px

    def draw(
        self, shape: torch.Size | tuple[int, ...], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c H W"]:
        slices, channels, height, width = shape
        rows = self._shares(slices, height, generator)
        columns = self._shares(slices, width, generator)
        nodes = torch.randn(
            slices, channels, rows.shape[-1], columns.shape[-1], generator=generator
        )
        return 1.5 * rows[:, None] @ nodes @ columns[:, None].mT

    def _shares(
        self, slices: int, pixels: int, generator: torch.Generator | None
    ) -> Float[Tensor, "b pixels n"]:
        """Return each node's share in each pixel along a side whose nodes are shifted at random."""
        nodes = math.ceil(pixels / self.coarseness_px) + 2
        place = torch.arange(pixels) / self.coarseness_px
        place = place + torch.rand(slices, 1, generator=generator)
        return (1 - (place[..., None] - torch.arange(nodes)).abs()).clamp_min(0)


class Simplex(Noise):
    """Octaves of simplex noise (Wyatt et al., CVPRW 2022); see `nn.simplex`.

    wavelength_px : of the first octave, each next has half of it. octaves : how many. persistence :
    amplitude of an octave in those of the one before.
    """

    def __init__(
        self, *, wavelength_px: float = 64.0, octaves: int = 6, persistence: float = 0.8
    ) -> None:
        if wavelength_px <= 0 or octaves < 1 or not 0 < persistence <= 1:
            raise ValueError(
                f"wavelength_px is {wavelength_px}, octaves {octaves}, persistence {persistence}: "
                "legal is wavelength_px > 0, octaves >= 1, 0 < persistence <= 1"
            )
        self.wavelength_px = wavelength_px
        self.octaves = octaves
        self.persistence = persistence

    def draw(
        self, shape: torch.Size | tuple[int, ...], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c H W"]:
        slices, channels, height, width = shape
        pictures = octaves_of_simplex_noise(
            slices * channels,
            height,
            width,
            wavelength_px=self.wavelength_px,
            octaves=self.octaves,
            persistence=self.persistence,
            generator=generator,
        )
        return pictures.unflatten(0, (slices, channels))


NOISES: Final[dict[str, type[Noise]]] = {
    "coarse": Coarse,
    "gaussian": Gaussian,
    "simplex": Simplex,
}
