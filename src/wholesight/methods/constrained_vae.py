"""The VAE whose attention is constrained to cover the whole normal slice: BMVC 2021, MedIA 2022.

Axes: b slices, c channels, h w map pixels, H W slice pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from wholesight.attention import NORMALISATIONS, Attention
from wholesight.methods.method import LossTerms, Method
from wholesight.nn.encoder import STAGES
from wholesight.nn.vae import VAE, Encoding
from wholesight.objective.constraints import Constraint, Coverage
from wholesight.objective.losses import RECONSTRUCTIONS, kl_divergence
from wholesight.objective.penalties import LogBarrier, Penalty


@dataclass(frozen=True, kw_only=True)
class Term:
    """One constraint with its penalty and weight lambda (nats per slice and unit of cost).

    warmup_epochs : the term is off before this epoch.
    """

    constraint: Constraint
    penalty: Penalty
    weight: float
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.warmup_epochs < 0:
            raise ValueError("legal is weight > 0 and warmup_epochs >= 0")
        if isinstance(self.penalty, LogBarrier) and isinstance(self.constraint, Coverage):
            self._warn_of_a_linear_barrier(self.penalty, self.constraint)

    @staticmethod
    def _warn_of_a_linear_barrier(penalty: LogBarrier, constraint: Coverage) -> None:
        """Say so when full coverage, g = -p, is still on the barrier's tangent: p t^2 <= 1."""
        if constraint.p * penalty.t**2 <= 1 and penalty.growth == 1:
            warnings.warn(
                f"p = {constraint.p} and t = {penalty.t} make p t^2 <= 1: the barrier never leaves "
                f"its linear branch. A t above {constraint.p**-0.5:.3g} gives it its logarithm.",
                stacklevel=3,
            )


class ConstrainedVAE(Method):
    """loss = reconstruction + beta KL + sum_k weight_k penalty_k(constraint_k(sigmoid(A), inside)).

    A is the attention at an encoder stage; the score it explains is the sum of the latent mean.
    All terms are in nats per slice (sums over pixels and latent), so that beta and the weights
    mean the same in every recipe. normalisation "sum" minimises that; "mean" divides the whole by
    the number of pixels, which changes the scale of the gradient and nothing else. Published code
    that averages its terms is restated in these units (docs/decisions/0004).

    stage : 1 to 4, where attention is read. terms : none gives a plain VAE, whose Grad-CAM is the
    unconstrained comparison (Liu et al., CVPR 2020). map_normalisation : of the map at test, slice
    by slice: "none", "body-median" (see `attention.over_body_median`), or "min-max" as published,
    which is unfit for any threshold.
    """

    reference: ClassVar[str] = (
        "Silva-Rodriguez, Naranjo, Dolz: Looking at the whole picture: constrained unsupervised "
        "anomaly segmentation. BMVC 2021, arXiv 2109.00482; MedIA 2022, arXiv 2203.01671."
    )

    def __init__(
        self,
        *,
        network: VAE,
        attention: Attention,
        stage: int = 1,
        terms: Sequence[Term] = (),
        reconstruction: Literal["bernoulli", "gaussian"] = "bernoulli",
        beta: float = 1.0,
        normalisation: Literal["sum", "mean"] = "sum",
        map_normalisation: Literal["none", "body-median", "min-max"] = "none",
    ) -> None:
        super().__init__()
        if not 1 <= stage <= STAGES:
            raise ValueError(f"stage is {stage}, legal are 1 to {STAGES}")
        if beta < 0:
            raise ValueError(f"beta is {beta}, legal is beta >= 0")
        self.network = network
        self.attention = attention
        self.stage = stage
        self.terms = tuple(terms)
        self.reconstruction = RECONSTRUCTIONS[reconstruction]
        self.beta = beta
        self.normalisation = normalisation
        self.map_normalisation = NORMALISATIONS[map_normalisation]

    @property
    def slice_shape(self) -> tuple[int, int, int]:
        return self.network.slice_shape

    @property
    def unit_range(self) -> bool:
        return True

    @property
    def last_start(self) -> float:
        return max((term.warmup_epochs for term in self.terms), default=0.0)

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        encoding = self.network.encode(slices)
        logits = self.network.decode(self.network.sample(encoding))
        parts = {
            "reconstruction": self.reconstruction(logits, slices).mean(),
            "kl": kl_divergence(encoding.mean, encoding.log_variance).mean(),
        }
        total = parts["reconstruction"] + self.beta * parts["kl"]
        if any(epoch >= term.warmup_epochs for term in self.terms):
            cost, logged = self._constrain(encoding, inside, epoch)
            total = total + cost
            parts |= logged
        scale = slices[0].numel() if self.normalisation == "mean" else 1
        return LossTerms(total / scale, parts)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        with torch.enable_grad():
            encoding = self.network.encode(slices.detach().requires_grad_())
            attention = self._attend(encoding, differentiable=False).detach()
        attention = self.map_normalisation(attention, _shrunk(inside, attention))
        return _enlarged(attention, slices.shape[2] // attention.shape[1])[:, None]

    def _attend(self, encoding: Encoding, *, differentiable: bool) -> Float[Tensor, "b h w"]:
        score = encoding.mean.sum()
        features = encoding.stages[self.stage - 1]
        return self.attention(features, score, differentiable=differentiable)

    def _constrain(
        self, encoding: Encoding, inside: Tensor, epoch: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        attention = self._attend(encoding, differentiable=True).sigmoid()
        inside = _shrunk(inside, attention)
        total = attention.new_zeros(())
        logged: dict[str, Tensor] = {"attention": attention.mean()}
        for number, term in enumerate(self.terms, start=1):
            if epoch < term.warmup_epochs:
                continue
            violation = term.constraint.violation(attention, inside)
            cost = term.weight * term.penalty.cost(violation, epoch).mean()
            total = total + cost
            suffix = "" if len(self.terms) == 1 else f"_{number}"
            logged[f"constraint{suffix}"] = cost
            logged[f"satisfied{suffix}"] = (violation <= 0).float().mean()
        return total, logged


# Feature i of every stage sees the slice around pixel stride * i: all convolutions and the pooling
# are centred there. Map and body are brought together on that grid. The usual resize, which takes
# pixels for squares, draws the map (stride - 1) / 2 pixels off: 2 to 3 mm on a head.


def _enlarged(attention: Float[Tensor, "b h w"], stride: int) -> Float[Tensor, "b H W"]:
    """Bring the map to the slice's size, bilinear, each value at the pixel that it sees."""
    height, width = attention.shape[1] * stride, attention.shape[2] * stride
    # One more row and column, so that the last pixels have something to lean on.
    padded = pad(attention[:, None], (0, 1, 0, 1), mode="replicate")
    size = (height + 1, width + 1)
    large = interpolate(padded, size, mode="bilinear", align_corners=True)
    return large[:, 0, :height, :width]


def _shrunk(
    inside: Bool[Tensor, "b 1 H W"], attention: Float[Tensor, "b h w"]
) -> Bool[Tensor, "b h w"]:
    """Bring the body to the map's size: a map pixel counts when half of what is around it does."""
    stride = inside.shape[2] // attention.shape[1]
    before = stride // 2
    share = avg_pool2d(pad(inside.float(), (before, 0, before, 0)), stride)
    return share[:, 0, : attention.shape[1], : attention.shape[2]] >= 0.5
