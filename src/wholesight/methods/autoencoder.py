"""Reconstruction: a network that has learned normal slices cannot draw what is abnormal.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.coder import Coder, Coding
from wholesight.nn.dropout import thinned
from wholesight.objective.losses import RECONSTRUCTIONS, kl_divergence

Reconstruction = Literal["bernoulli", "gaussian", "laplace"]


class CodingCost:
    """What a coding costs: reconstruction + beta KL, in nats per slice; a point code has no KL.

    beta : weight of the KL, 1 unless told. Raises ValueError for a beta below 0, and for any beta
    where the network has no KL.
    """

    def __init__(self, network: Coder, reconstruction: Reconstruction, beta: float | None) -> None:
        if beta is not None and not network.variational:
            raise ValueError(
                f"beta is {beta}, but the network's code is a point and has no KL to weigh; "
                "legal is none, or a variational network such as vae"
            )
        if beta is not None and beta < 0:
            raise ValueError(f"beta is {beta}, legal is beta >= 0")
        self.reconstruction = RECONSTRUCTIONS[reconstruction]
        self.beta = 1.0 if beta is None else beta

    def parts(
        self, coding: Coding, slices: Float[Tensor, "b c H W"]
    ) -> dict[str, Float[Tensor, " b"]]:
        """Return the terms by name, unweighted."""
        parts = {"reconstruction": self.reconstruction(coding.logits, slices)}
        if coding.log_variance is not None:
            parts["kl"] = kl_divergence(coding.mean, coding.log_variance)
        return parts

    def total(self, parts: Mapping[str, Float[Tensor, " b"]]) -> Float[Tensor, " b"]:
        """Return the weighted sum of the terms: the negative ELBO where beta is 1."""
        total = parts["reconstruction"]
        return total + self.beta * parts["kl"] if "kl" in parts else total

    def loss(self, coding: Coding, slices: Float[Tensor, "b c H W"]) -> LossTerms:
        """Return the mean over slices of all of it."""
        parts = self.parts(coding, slices)
        logged = {name: part.mean() for name, part in parts.items()}
        return LossTerms(self.total(parts).mean(), logged)


class Autoencoding(Method):
    """An autoencoder or a VAE of normal slices; the map is the residual of the reconstruction.

    loss = reconstruction + beta KL, in nats per slice.

    beta : weight of the KL, 1 unless told; only for a network with a KL. samples : 0 reconstructs
    with the whole network and a VAE's latent mean. Above 0 the reconstruction is the mean of that
    many thinned networks (Monte Carlo dropout: the "Bayesian" autoencoder and VAE of the study
    below), for which the network needs its dropout. The draws follow from their number alone and
    serve all slices, so a map is repeatable. The dropout alone is sampled: a VAE's latent stays at
    its mean, where published code samples it too.
    """

    reference: ClassVar[str] = (
        "Baur, Denner, Wiestler, Navab, Albarqouni: Autoencoders for unsupervised anomaly "
        "segmentation in brain MR images: a comparative study. MedIA 2021, arXiv 2004.03271."
    )
    unit_range = True

    def __init__(
        self,
        *,
        network: Coder,
        residual: Residual,
        reconstruction: Reconstruction = "laplace",
        beta: float | None = None,
        samples: int = 0,
    ) -> None:
        super().__init__()
        if samples < 0:
            raise ValueError(f"samples is {samples}, legal is 0 or more")
        if samples and not network.dropout:
            raise ValueError(
                f"samples is {samples} and the network's dropout is 0, so all draws would be the "
                "same; legal is samples 0, or a network with dropout above 0"
            )
        self.network = network
        self.slice_shape = network.slice_shape
        self.residual = residual
        self.cost = CodingCost(network, reconstruction, beta)
        self.samples = samples

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        return self.cost.loss(self.network(slices), slices)

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return self.residual(slices, self.reconstruct(slices), inside)

    def reconstruct(self, slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        """Return the reconstruction in [0, 1], as the map compares it with the slices."""
        if not self.samples:
            return self.network.reconstruct(slices).sigmoid()
        total = torch.zeros_like(slices)
        for seed in range(self.samples):
            with thinned(self.network, seed):
                total += self.network.reconstruct(slices).sigmoid()
        return total / self.samples
