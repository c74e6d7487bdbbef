"""What every network is that encodes a slice and decodes it again.

Axes: b slices, c channels, z latent dimensions, H W slice pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class Coding(NamedTuple):
    """A slice through the network: logits of the reconstruction, and the code that led to it.

    log_variance : of q(z|x); None where the code is a point (an autoencoder).
    """

    logits: Float[Tensor, "b c H W"]
    mean: Float[Tensor, "b z"]
    log_variance: Float[Tensor, "b z"] | None


def require_latent(latent: int) -> None:
    """Raise ValueError for a code without dimensions."""
    if latent < 1:
        raise ValueError(f"latent is {latent}, legal is 1 or more")


class Coder(nn.Module, ABC):
    """An encoder and a decoder with a code between them; sigmoid of the logits is in [0, 1].

    slice_shape : (channels, height, width) of the slices. variational : whether the code is a
    distribution. dropout : share of channels that are dropped on both sides of the code.
    """

    slice_shape: tuple[int, int, int]
    variational: ClassVar[bool] = False
    dropout: float = 0.0

    @abstractmethod
    def forward(self, slices: Float[Tensor, "b c H W"]) -> Coding:
        """Encode and decode."""

    def reconstruct(self, slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        """Return the logits from the code's mean, in training as in eval mode."""
        return self(slices).logits
