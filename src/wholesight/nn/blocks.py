"""Residual blocks: the two bricks that encoder and decoder are made of.

Axes: b slices, c channels, h w pixels.
"""

from __future__ import annotations

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["batch", "group"]
GROUPS = 4


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return batch norm (as published) or group norm over four groups of channels.

    Batch norm couples the slices of a training batch and behaves otherwise at test; group norm
    looks at one slice alone, and is the same in both (docs/decisions/0003).
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a shortcut (He et al., CVPR 2016, basic block).

    The first convolution has the stride; the shortcut is a 1x1 convolution where shapes change.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int = 1, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            normalisation(norm, channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            normalisation(norm, channels_out),
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                normalisation(norm, channels_out),
            )
        )
        self.activation = nn.ReLU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Return activation(body + shortcut); h2 = h / stride."""
        return self.activation(self.body(x) + self.shortcut(x))


class UpBlock(nn.Module):
    """Doubles the size (nearest neighbour), then two residual blocks."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: Norm = "batch") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"),
            ResidualBlock(channels_in, channels_out, norm=norm),
            ResidualBlock(channels_out, channels_out, norm=norm),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 2*h 2*w"]:
        """Return features of twice the size."""
        return self.body(x)
