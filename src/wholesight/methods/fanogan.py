"""f-AnoGAN: a generator of normal slices, and an encoder that finds a slice's nearest one.

Axes: b slices, c channels, z latent dimensions, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.adversarial import Turns, critic_loss, require_one_size, require_weights
from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.autoencoder import Autoencoder
from wholesight.nn.critic import Critic, frozen


class FAnoGAN(Method):
    """Two stages: generator G against critic D, then encoder E with both of them still.

    Before the epoch `encoder_start` a Wasserstein GAN with gradient penalty: `critic_steps` times
    E[D(G(z))] - E[D(x)] + penalty_weight E[(||dD||_2 - 1)^2], then once -E[D(G(z))], z ~ N(0, 1).
    From then on the encoder's "izi_f" loss, a mean over the batch, n pixels and n_f features:
    ||x - G(E(x))||^2 / n + kappa ||f(x) - f(G(E(x)))||^2 / n_f, where f is what the critic's last
    layer reads. The map is the residual of x against G(E(x)).

    network : its decoder is G, its encoder and dense code are E. encoder_start : in epochs.
    """

    reference: ClassVar[str] = (
        "Schlegl, Seeboeck, Waldstein, Langs, Schmidt-Erfurth: f-AnoGAN: fast unsupervised anomaly "
        "detection with generative adversarial networks. Medical Image Analysis 54, 2019, "
        "doi 10.1016/j.media.2019.01.010."
    )
    unit_range = True

    def __init__(
        self,
        *,
        network: Autoencoder,
        critic: Critic,
        residual: Residual,
        encoder_start: float,
        critic_steps: int = 5,
        penalty_weight: float = 10.0,
        kappa: float = 1.0,
    ) -> None:
        super().__init__()
        require_one_size(network.slice_shape, critic.slice_shape)
        require_weights(penalty_weight=penalty_weight, kappa=kappa)
        if not encoder_start > 0:
            raise ValueError(
                f"encoder_start is {encoder_start}, legal is > 0: the generator learns before it"
            )
        self.network = network
        self.slice_shape = network.slice_shape
        self.critic = critic
        self.residual = residual
        self.turns = Turns(critic_steps=critic_steps)
        self.encoder_start = encoder_start
        self.penalty_weight = penalty_weight
        self.kappa = kappa

    @property
    def last_start(self) -> float:
        return self.encoder_start

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        if epoch >= self.encoder_start:
            return self._encoder_loss(slices)
        if self.turns.take():
            with torch.no_grad():
                fake = self._generate(slices)
            return critic_loss(self.critic, slices, fake, penalty_weight=self.penalty_weight)
        total = -frozen(self.critic)(self._generate(slices)).score.mean()
        return LossTerms(total, {"generator": total})

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        with torch.no_grad():
            reconstruction = self.network(slices).logits.sigmoid()
        return self.residual(slices, reconstruction, inside)

    def _generate(self, like: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        """Return as many made slices, from noise alone."""
        latent = self.network.code.out_features
        noise = torch.randn(len(like), latent, dtype=like.dtype, device=like.device)
        return self.network.decoder(noise).sigmoid()

    def _encoder_loss(self, slices: Float[Tensor, "b c H W"]) -> LossTerms:
        # A generator with batch norm would go on learning its statistics, and from other slices
        # than it was trained on; in eval mode it is the generator that makes the map.
        self.network.decoder.eval()
        code = self.network.encode(slices)
        found = frozen(self.network.decoder)(code).sigmoid()
        with torch.no_grad():
            wanted = self.critic(slices).features
        features = frozen(self.critic)(found).features
        parts = {
            "image_residual": (slices - found).square().mean(),
            "feature_residual": (wanted - features).square().mean(),
        }
        return LossTerms(parts["image_residual"] + self.kappa * parts["feature_residual"], parts)
