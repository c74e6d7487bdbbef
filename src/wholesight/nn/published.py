"""The decoder blocks of the two published programs, for the recipes that reproduce them.

Axes: b slices, c channels, h w pixels.

Layers as listed in the authors' repositories on GitHub: BMVC 2021 in
cvblab/anomaly_localization_vae_gcams (code/models.py), MedIA 2022 in
jusiro/constrained_anomaly_segmentation (code/models/models.py). Convolutions have a bias there,
also where a batch norm after it takes it away again.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm, normalisation


class Bmvc2021UpBlock(nn.Module):
    """Doubles the size; then two 3x3 convolutions beside one, and no activation after the sum.

    In the path of two, each convolution is followed by ReLU and then by its norm.
    """

    def __init__(self, channels_in: int, channels_out: int, *, norm: Norm = "batch") -> None:
        super().__init__()
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            normalisation(norm, channels_out),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            normalisation(norm, channels_out),
        )
        self.shortcut = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 2*h 2*w"]:
        """Return features of twice the size."""
        x = self.larger(x)
        return self.body(x) + self.shortcut(x)


class Media2022UpBlock(nn.Module):
    """Two residual blocks; the first doubles the size after its first convolution."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: Norm = "batch") -> None:
        super().__init__()
        larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.first = _two_convolutions(channels_in, channels_out, norm, larger)
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1), larger, normalisation(norm, channels_out)
        )
        self.second = _two_convolutions(channels_out, channels_out, norm, nn.Identity())
        self.activation = nn.ReLU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 2*h 2*w"]:
        """Return features of twice the size."""
        x = self.activation(self.first(x) + self.shortcut(x))
        return self.activation(self.second(x) + x)


def _two_convolutions(
    channels_in: int, channels_out: int, norm: Norm, between: nn.Module
) -> nn.Sequential:
    """Return the path of a residual block; `between` follows its first convolution."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        between,
        normalisation(norm, channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        normalisation(norm, channels_out),
    )
