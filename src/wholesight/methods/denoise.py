"""A network that has learnt to take coarse noise away takes lesions away with it.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.noise import Noise
from wholesight.nn.unet import UNet


class DenoisingUNet(Method):
    """loss = 1/2 sum_inside (f(x + sigma n) - x)^2, map = residual of x and f(x), no noise at test.

    f is a U-Net, n the noise, inside the body only. The network learns to undo what is not normal
    at the noise's own scale, and to leave alone all the rest. The loss is per slice, in nats for a
    Gaussian of unit variance.

    sigma : standard deviation of the noise at a pixel, in the slices' units.
    """

    reference: ClassVar[str] = (
        "Kascenas, Pugeault, O'Neil: Denoising autoencoders for unsupervised anomaly detection in "
        "brain MRI. MIDL 2022."
    )

    def __init__(self, *, network: UNet, noise: Noise, sigma: float, residual: Residual) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}, legal is sigma > 0")
        self.network = network
        self.slice_shape = network.slice_shape
        self.noise = noise
        self.sigma = sigma
        self.residual = residual
        self.unit_range = residual.kind == "ssim"

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        restored = self.network(self.noised(slices, inside))
        error = 0.5 * ((restored - slices) * inside).square().sum(dim=(1, 2, 3)).mean()
        return LossTerms(error, {"reconstruction": error})

    def noised(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b c H W"]:
        """Return slices with noise inside the body, another for each slice."""
        return slices + self.sigma * self.noise.draw(slices.shape).to(slices) * inside

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return self.residual(slices, self.network(slices), inside)
