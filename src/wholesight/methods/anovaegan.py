"""AnoVAEGAN: a VAE whose reconstructions a critic must not tell from real slices.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.adversarial import Turns, critic_loss, require_one_size, require_weights
from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.critic import Critic, frozen
from wholesight.nn.vae import VAE
from wholesight.objective.losses import kl_divergence


class AnoVAEGAN(Method):
    """Critic D and VAE take turns, `critic_steps` to one; y is the VAE's reconstruction of x.

    Critic: E[D(y)] - E[D(x)] + penalty_weight E[(||dD||_2 - 1)^2]. VAE: sum |x - y| over the
    slice + beta KL - adversarial_weight D(y), averaged over slices. The first two are in nats per
    slice, of a Laplace distribution with scale 1. The penalty holds the gradient of D(y) by y at
    norm 1, where that of sum |x - y| is the square root of the number of pixels: with an
    adversarial_weight of the slice's side the two pull alike. The map is the residual of x
    against the reconstruction from the latent mean.
    """

    reference: ClassVar[str] = (
        "Baur, Wiestler, Albarqouni, Navab: Deep autoencoding models for unsupervised anomaly "
        "segmentation in brain MR images. MICCAI BrainLes 2018, arXiv 1804.04488."
    )
    unit_range = True

    def __init__(
        self,
        *,
        network: VAE,
        critic: Critic,
        residual: Residual,
        critic_steps: int = 5,
        penalty_weight: float = 10.0,
        beta: float = 1.0,
        adversarial_weight: float = 1.0,
    ) -> None:
        super().__init__()
        require_one_size(network.slice_shape, critic.slice_shape)
        require_weights(
            penalty_weight=penalty_weight, beta=beta, adversarial_weight=adversarial_weight
        )
        self.network = network
        self.slice_shape = network.slice_shape
        self.critic = critic
        self.residual = residual
        self.turns = Turns(critic_steps=critic_steps)
        self.penalty_weight = penalty_weight
        self.beta = beta
        self.adversarial_weight = adversarial_weight

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        if self.turns.take():
            with torch.no_grad():
                fake = self.network(slices).logits.sigmoid()
            return critic_loss(self.critic, slices, fake, penalty_weight=self.penalty_weight)
        return self._vae_loss(slices)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        with torch.no_grad():
            reconstruction = self.network(slices).logits.sigmoid()
        return self.residual(slices, reconstruction, inside)

    def _vae_loss(self, slices: Float[Tensor, "b c H W"]) -> LossTerms:
        encoding = self.network.encode(slices)
        found = self.network.decode(self.network.sample(encoding)).sigmoid()
        score = frozen(self.critic)(found).score
        parts = {
            "reconstruction": (slices - found).abs().sum(dim=(1, 2, 3)).mean(),
            "kl": kl_divergence(encoding.mean, encoding.log_variance).mean(),
            "adversarial": -score.mean(),
        }
        rivals = {
            "reconstruction": parts["reconstruction"],
            "kl": self.beta * parts["kl"],
            "adversarial": self.adversarial_weight * parts["adversarial"],
        }
        total = rivals["reconstruction"] + rivals["kl"] + rivals["adversarial"]
        return LossTerms(total, parts, rivals)
