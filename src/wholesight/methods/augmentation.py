"""Other views of the same slices: mirrored, turned, enlarged, and of another contrast.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from wholesight.methods.made_up import body_mean


class View(NamedTuple):
    """Slices and their bodies, as another scan of another head might show them."""

    slices: Float[Tensor, "b c H W"]
    inside: Bool[Tensor, "b 1 H W"]


class Augmentation:
    """A random view of each slice, drawn from torch's global random numbers.

    mirrored_share : of slices that are mirrored left to right. turned_degrees, shifted : largest
    turn, and largest shift in shares of the side. scale, gain, gamma : smallest and largest; of the
    size, of the intensity, and of the power it is raised to, with the mean of the body as the point
    that stays (x -> m (x / m)^gamma). Evenly on a logarithmic scale. What leaves [0, 1] is cut.
    """

    def __init__(
        self,
        *,
        mirrored_share: float = 0.5,
        turned_degrees: float = 15.0,
        shifted: float = 0.05,
        scale: Sequence[float] = (0.85, 1.18),
        gain: Sequence[float] = (0.88, 1.14),
        gamma: Sequence[float] = (0.8, 1.25),
    ) -> None:
        if not 0 <= mirrored_share <= 1:
            raise ValueError(f"mirrored_share is {mirrored_share}, legal is 0 to 1")
        for name, most in (("turned_degrees", turned_degrees), ("shifted", shifted)):
            if most < 0:
                raise ValueError(f"{name} is {most}, legal is 0 or more")
        for name, pair in (("scale", scale), ("gain", gain), ("gamma", gamma)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise ValueError(
                    f"{name} is {list(pair)}, legal are two numbers, 0 < smallest <= largest"
                )
        self.mirrored_share = mirrored_share
        self.turned_degrees = turned_degrees
        self.shifted = shifted
        self.scale = tuple(scale)
        self.gain = tuple(gain)
        self.gamma = tuple(gamma)

    def __call__(self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]) -> View:
        grid = affine_grid(self._moves(len(slices)).to(slices), list(slices.shape), False)
        moved = grid_sample(slices, grid, align_corners=False)
        body = grid_sample(inside.to(slices), grid, align_corners=False) >= 0.5
        return View(self._recoloured(moved, body), body)

    def _moves(self, slices: int) -> Float[Tensor, "b 2 3"]:
        """Return for each slice where its pixels come from."""
        turn = math.radians(self.turned_degrees) * (2 * torch.rand(slices) - 1)
        size = 1 / _logarithmic(slices, self.scale)
        mirror = torch.where(torch.rand(slices) < self.mirrored_share, -1.0, 1.0)
        # The grid runs from -1 to 1, twice a side's share.
        shift = 2 * self.shifted * (2 * torch.rand(slices, 2) - 1)
        right = torch.stack([mirror * size * turn.cos(), -mirror * size * turn.sin()], dim=1)
        down = torch.stack([size * turn.sin(), size * turn.cos()], dim=1)
        return torch.cat([torch.stack([right, down], dim=1), shift[:, :, None]], dim=2)

    def _recoloured(self, slices: Tensor, inside: Tensor) -> Float[Tensor, "b c H W"]:
        mean = body_mean(slices, inside).clamp_min(torch.finfo(slices.dtype).eps)
        gain, gamma = (
            _logarithmic(len(slices), pair).to(slices)[:, None, None, None]
            for pair in (self.gain, self.gamma)
        )
        return (gain * mean * (slices / mean).clamp_min(0) ** gamma).clamp(0, 1)


def _logarithmic(slices: int, between: Sequence[float]) -> Float[Tensor, " b"]:
    low, high = (math.log(end) for end in between)
    return torch.exp(low + torch.rand(slices) * (high - low))
