"""Residual decoder: from the latent vector back to the slice's logits.

Axes: b slices, z latent dimensions, c channels, H W slice pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm, UpBlock
from wholesight.nn.dropout import ChannelDropout
from wholesight.nn.encoder import ResNetEncoder
from wholesight.nn.published import Bmvc2021UpBlock, Media2022UpBlock

# Which up blocks a decoder is made of: ours, or those of a published program.
LEAST_WIDTH: Final = 4
UpBlocks = Literal["residual", "bmvc2021", "media2022"]
UP_BLOCKS: Final = {
    "residual": UpBlock,
    "bmvc2021": Bmvc2021UpBlock,
    "media2022": Media2022UpBlock,
}


class ResidualDecoder(nn.Module):
    """Linear layer to `width_top` maps, up blocks that halve the width (to 4), 3x3 convolution.

    The published decoders have width_top 256. up : "residual" is ours, "media2022" has the same
    widths. With "bmvc2021" the linear layer gives as many maps as the latent has dimensions, and
    the first block widens them to width_top. dropout : share of the linear layer's maps dropped.
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
        up: UpBlocks = "residual",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width_top < LEAST_WIDTH:
            raise ValueError(f"width_top is {width_top}, legal is {LEAST_WIDTH} or more")
        widths = [max(width_top // 2**block, LEAST_WIDTH) for block in range(blocks + 1)]
        if up == "bmvc2021":
            widths = [latent, *widths[:-1]]
        self.shape_top = (widths[0], size_top, size_top)
        self.spread = nn.Linear(latent, widths[0] * size_top**2)
        self.drop = ChannelDropout(widths[0], dropout)
        block = UP_BLOCKS[up]
        self.up = nn.Sequential(
            *(block(before, after, norm=norm) for before, after in pairwise(widths))
        )
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    @classmethod
    def mirror(
        cls,
        encoder: ResNetEncoder,
        *,
        size: int,
        channels: int,
        latent: int,
        width_top: int,
        up: UpBlocks = "residual",
        dropout: float = 0.0,
    ) -> ResidualDecoder:
        """Return the decoder from a dense code back to the slices that the encoder took."""
        return cls(
            channels=channels,
            latent=latent,
            width_top=width_top,
            size_top=encoder.top(size),
            blocks=encoder.stride.bit_length() - 1,
            norm=encoder.norm,
            up=up,
            dropout=dropout,
        )

    def forward(self, latent: Float[Tensor, "b z"]) -> Float[Tensor, "b c H W"]:
        """Return logits; sigmoid of them is the reconstruction in [0, 1]."""
        top = self.spread(latent).unflatten(1, self.shape_top)
        return self.out(self.up(self.drop(top)))
