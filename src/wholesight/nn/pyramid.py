"""A light decoder that brings an encoder's deep stages up to the grid of its first.

Axes: b slices, k channels of the pyramid, h w pixels of the first stage.
Reference: Lin et al., "Feature pyramid networks for object detection", CVPR 2017, arXiv 1612.03144.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from wholesight.nn.blocks import Norm, normalisation
from wholesight.nn.encoder import ResNetEncoder, Stages


class Pyramid(nn.Module):
    """From the deepest stage to the first: enlarge, add what the next stage sees, convolve.

    widths : channels of the stages, finest first. channels : of the pyramid, at every level.
    """

    def __init__(self, widths: list[int], *, channels: int, norm: Norm) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels is {channels}, legal is 1 or more")
        self.across = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                normalisation(norm, channels),
                nn.SiLU(),
            )
            for _ in widths
        )

    @classmethod
    def on(cls, encoder: ResNetEncoder, *, channels: int) -> Pyramid:
        """Return a pyramid for the stages of an encoder."""
        widths = [encoder.channels_out // 2**k for k in (3, 2, 1, 0)]
        return cls(widths, channels=channels, norm=encoder.norm)

    def forward(self, stages: Stages) -> Float[Tensor, "b k h w"]:
        """Return features on the first stage's grid that have seen all stages."""
        finest_last = list(zip(stages, self.across, self.mix, strict=True))[::-1]
        (deepest, across, mix), *others = finest_last
        features = mix(across(deepest))
        for stage, across, mix in others:
            seen = across(stage)
            larger = interpolate(features, seen.shape[2:], mode="bilinear", align_corners=False)
            features = mix(seen + larger)
        return features
