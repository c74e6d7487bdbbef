"""ResNet-18-style encoder whose four stages can all be looked at.

Axes: b slices, c channels, H W slice pixels, h w feature pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm, ResidualBlock, normalisation

STAGES = 4
# How much smaller the first stage's features are than the slice.
STEM_STRIDE = {"conv-pool": 4, "conv": 2, "bare-conv-pool": 4, "bare-conv": 2}
Stem = Literal["conv-pool", "conv", "bare-conv-pool", "bare-conv"]


class Stages(NamedTuple):
    """Outputs of the four residual stages; each halves the size of the one before."""

    first: Float[Tensor, "b c1 h1 w1"]
    second: Float[Tensor, "b c2 h2 w2"]
    third: Float[Tensor, "b c3 h3 w3"]
    fourth: Float[Tensor, "b c4 h4 w4"]


class ResNetEncoder(nn.Module):
    """Stem and four stages of two residual blocks, with width, 2, 4 and 8 times the width.

    stem "conv-pool": 7x7 convolution of stride 2, norm, ReLU, then max pooling; "conv": without the
    pooling, features twice as large. "bare-conv-pool" and "bare-conv" have neither norm nor ReLU
    after the convolution: so in the published code of BMVC 2021 and of MedIA 2022.
    """

    def __init__(self, *, channels: int, width: int, stem: Stem, norm: Norm) -> None:
        super().__init__()
        if min(channels, width) < 1:
            raise ValueError(f"channels {channels} and width {width} must be at least 1")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)]
        if stem in ("conv-pool", "conv"):
            layers += [normalisation(norm, width), nn.ReLU(inplace=True)]
        if stem in ("conv-pool", "bare-conv-pool"):
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.stem = nn.Sequential(*layers)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, after, stride=1 if stage == 0 else 2, norm=norm),
                ResidualBlock(after, after, norm=norm),
            )
            for stage, (before, after) in enumerate(
                [(width, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)]
            )
        )
        self.stem_kind = stem
        self.norm: Norm = norm
        self.stride = STEM_STRIDE[stem] * 2 ** (STAGES - 1)
        self.channels_out = 8 * width

    def top(self, size: int) -> int:
        """Return the pixels along a side of the last stage. Raises ValueError for other sizes."""
        if size < 1 or size % self.stride:
            raise ValueError(
                f"size {size} is not a multiple of {self.stride}, the stride of '{self.stem_kind}'"
            )
        return size // self.stride

    def forward(self, slices: Float[Tensor, "b c H W"]) -> Stages:
        """Return the features after every stage."""
        features = self.stem(slices)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return Stages(*outputs)
