"""Residual decoder: from the latent vector back to the slice's logits.

Axes: b slices, z latent dimensions, c channels, H W slice pixels.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm, UpBlock
from wholesight.nn.encoder import ResNetEncoder


class ResidualDecoder(nn.Module):
    """Linear layer to `width_top` maps, up blocks that halve the width each, 3x3 convolution.

    The published decoder has width_top 256; it ends with width_top / 2^blocks channels.
    """

    def __init__(
        self,
        *,
        channels: int,
        latent: int,
        width_top: int,
        size_top: int,
        blocks: int,
        norm: Norm,
    ) -> None:
        super().__init__()
        if min(latent, width_top) < 1:
            raise ValueError(f"latent {latent} and width_top {width_top} must be at least 1")
        self.shape_top = (width_top, size_top, size_top)
        self.spread = nn.Linear(latent, width_top * size_top**2)
        widths = [max(width_top // 2**block, 4) for block in range(blocks + 1)]
        self.up = nn.Sequential(
            *(UpBlock(before, after, norm=norm) for before, after in pairwise(widths))
        )
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    @classmethod
    def mirror(
        cls, encoder: ResNetEncoder, *, size: int, channels: int, latent: int, width_top: int
    ) -> ResidualDecoder:
        """Return the decoder from a dense code back to the slices that the encoder took."""
        return cls(
            channels=channels,
            latent=latent,
            width_top=width_top,
            size_top=encoder.top(size),
            blocks=encoder.stride.bit_length() - 1,
            norm=encoder.norm,
        )

    def forward(self, latent: Float[Tensor, "b z"]) -> Float[Tensor, "b c H W"]:
        """Return logits; sigmoid of them is the reconstruction in [0, 1]."""
        return self.out(self.up(self.spread(latent).unflatten(1, self.shape_top)))
