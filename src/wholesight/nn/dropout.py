"""Dropout of whole channels, whose draws at test can be held and repeated.

Axes: b slices, c channels, h w feature pixels.
Reference: Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016, arXiv 1506.02142.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout2d


class ChannelDropout(nn.Module):
    """Sets channels to 0 with probability `rate`, and divides the others by 1 - rate.

    In training every slice gets a draw of its own. In eval mode nothing is dropped, except inside
    `thinned`, where one draw serves all slices: they then pass through one and the same network.
    """

    def __init__(self, channels: int, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout is {rate}, legal is 0 <= dropout < 1")
        self.channels = channels
        self.rate = rate
        self.held: Float[Tensor, " c"] | None = None

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the features with what is left of their channels."""
        if self.held is not None:
            return features * self.held.to(features)[:, None, None]
        return dropout2d(features, self.rate, self.training)

    def hold(self, generator: torch.Generator) -> None:
        """Draw once, for all that comes until `release`."""
        kept = torch.rand(self.channels, generator=generator) >= self.rate
        self.held = kept / (1 - self.rate)

    def release(self) -> None:
        """Forget the draw."""
        self.held = None


@contextmanager
def thinned(network: nn.Module, seed: int) -> Iterator[None]:
    """Inside, the network is one draw of its dropouts, which follows from the seed alone.

    Neither the slices of a batch nor torch's global random numbers have a part in it.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, ChannelDropout)]
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        layer.hold(generator)
    try:
        yield
    finally:
        for layer in layers:
            layer.release()
