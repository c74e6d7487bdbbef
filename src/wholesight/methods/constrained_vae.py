"""The VAE whose attention is constrained to cover the whole normal slice: BMVC 2021, MedIA 2022.

Axes: b slices, c channels, h w map pixels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wholesight.attention import (
    NORMALISATIONS,
    UPSAMPLINGS,
    Attention,
    LatentSum,
    Target,
    min_max,
    row_maxima,
    shrunk,
    summed,
)
from wholesight.methods.method import LossTerms, Method
from wholesight.nn.encoder import STAGES
from wholesight.nn.vae import VAE, Encoding
from wholesight.objective.losses import RECONSTRUCTIONS, kl_divergence
from wholesight.objective.term import Term, priced

_PUBLISHED_TARGET: Final = LatentSum()
# These give every slice, healthy or not, the same maximum; the others keep what a slice's is.
_ONE_RANGE_A_SLICE: Final = (min_max, row_maxima)


class ConstrainedVAE(Method):
    """loss = reconstruction + beta KL + sum_k weight_k penalty_k(constraint_k(a, inside)).

    a = sigmoid(A), or A itself where a constraint asks for it; A is the attention at encoder
    stages, and the score that it explains is the target. All terms are in nats per slice (sums over
    pixels and latent), so that beta and the weights mean the same in every recipe. normalisation
    "sum" minimises that; "mean" divides the whole by the number of pixels, which changes the scale
    of the gradient and nothing else. Published code that averages its terms is restated in these
    units (docs/decisions/0004).

    attention, target : how the map is made, of which score. stages : where it is read, 1 (finest)
    to 4, in that order; several are summed on the first one's grid. upsampling : "receptive-field"
    draws every value at the pixel that it sees, "corners" as published. constrained_at : "stage"
    constrains the map on the stage's grid, "slice" enlarges it to the slice's size before
    (MedIA 2022). terms : none gives a plain VAE, whose Grad-CAM is the unconstrained comparison
    (Liu et al., CVPR 2020). map_normalisation : of the map at test, slice by slice: "none",
    "body-median" (see `attention.over_body_median`), or "min-max" and "row-maxima" as published,
    which are unfit for any threshold.
    """

    reference: ClassVar[str] = (
        "Silva-Rodriguez, Naranjo, Dolz: Looking at the whole picture: constrained unsupervised "
        "anomaly segmentation. BMVC 2021, arXiv 2109.00482; MedIA 2022, arXiv 2203.01671."
    )
    unit_range = True

    def __init__(
        self,
        *,
        network: VAE,
        attention: Attention,
        target: Target = _PUBLISHED_TARGET,
        stages: Sequence[int] = (1,),
        upsampling: Literal["receptive-field", "corners"] = "receptive-field",
        constrained_at: Literal["stage", "slice"] = "stage",
        terms: Sequence[Term] = (),
        reconstruction: Literal["bernoulli", "gaussian"] = "bernoulli",
        beta: float = 1.0,
        normalisation: Literal["sum", "mean"] = "sum",
        map_normalisation: Literal["none", "body-median", "min-max", "row-maxima"] = "none",
    ) -> None:
        super().__init__()
        _require_stages(stages)
        if not beta >= 0:
            raise ValueError(f"beta is {beta}, legal is beta >= 0")
        target.require_in(network.mean.out_features)
        self.network = network
        self.slice_shape = network.slice_shape
        self.attention = attention
        self.target = target
        self.stages = tuple(stages)
        self.upsampling = UPSAMPLINGS[upsampling]
        self.constrained_at = constrained_at
        self.terms = tuple(terms)
        # Registered, so that what a penalty learns is saved with the network.
        self.penalties = nn.ModuleList(term.penalty for term in terms)
        self.reconstruction = RECONSTRUCTIONS[reconstruction]
        self.beta = beta
        self.normalisation = normalisation
        self.map_normalisation = NORMALISATIONS[map_normalisation]

    @property
    def last_start(self) -> float:
        return max((term.warmup_epochs for term in self.terms), default=0.0)

    @property
    def scaled_per_slice(self) -> bool:
        return self.map_normalisation in _ONE_RANGE_A_SLICE

    @property
    def unit_map(self) -> bool:
        return self.map_normalisation is min_max

    def doubts(self, epochs: int) -> list[str]:
        pixels = self._constrained_side() ** 2
        return [doubt for term in self.terms for doubt in term.doubts(pixels, epochs)]

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        encoding = self.network.encode(slices)
        logits = self.network.decode(self.network.sample(encoding))
        parts = {
            "reconstruction": self.reconstruction(logits, slices).mean(),
            "kl": kl_divergence(encoding.mean, encoding.log_variance).mean(),
        }
        scale = slices[0].numel() if self.normalisation == "mean" else 1
        total = parts["reconstruction"] + self.beta * parts["kl"]
        rivals: dict[str, Tensor] = {}
        if any(epoch >= term.warmup_epochs for term in self.terms):
            costs, logged = self._constrain(encoding, inside, epoch)
            pulling = {"reconstruction": parts["reconstruction"], **costs}
            rivals = {name: part / scale for name, part in pulling.items()}
            total = total + sum(costs.values())
            parts |= costs | logged
        return LossTerms(total / scale, parts, rivals)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        with torch.enable_grad():
            encoding = self.network.encode(slices.detach().requires_grad_())
            attention = self._attend(encoding, differentiable=False).detach()
        attention = self.map_normalisation(attention, shrunk(inside, attention))
        return self.upsampling(attention, slices.shape[2] // attention.shape[1])[:, None]

    def _attend(self, encoding: Encoding, *, differentiable: bool) -> Float[Tensor, "b h w"]:
        score = self.target(encoding.mean)
        maps = [
            self.attention(encoding.stages[stage - 1], score, differentiable=differentiable)
            for stage in self.stages
        ]
        return summed(maps, self.upsampling)

    def _constrain(
        self, encoding: Encoding, inside: Tensor, epoch: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what each term that is on costs, and what else to log of them."""
        attention = self._attend(encoding, differentiable=True)
        squashed = attention.sigmoid()
        costs: dict[str, Tensor] = {}
        logged: dict[str, Tensor] = {"attention": squashed.mean()}
        for number, term in enumerate(self.terms, start=1):
            if epoch < term.warmup_epochs:
                continue
            constrained = squashed if term.constraint.squashed else attention
            suffix = "" if len(self.terms) == 1 else f"_{number}"
            costs[f"constraint{suffix}"], parts = self._cost(term, constrained, inside, epoch)
            logged |= {f"{name}{suffix}": part for name, part in parts.items()}
        return costs, logged

    def _cost(
        self, term: Term, attention: Tensor, inside: Tensor, epoch: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.constrained_at == "slice":
            attention = self.upsampling(attention, inside.shape[2] // attention.shape[1])
        violation = term.constraint.violation(attention, shrunk(inside, attention))
        return priced(violation, term.penalty, term.weight, epoch=epoch, learning=self.training)

    def _constrained_side(self) -> int:
        """Return the pixels along a side of the map that the constraints see."""
        size = self.network.slice_shape[1]
        if self.constrained_at == "slice":
            return size
        return size * 2 ** (STAGES - self.stages[0]) // self.network.encoder.stride


def _require_stages(stages: Sequence[int]) -> None:
    legal = range(1, STAGES + 1)
    if not stages or not set(stages) <= set(legal) or sorted(set(stages)) != list(stages):
        raise ValueError(
            f"stages is {list(stages)}, legal are one or more of 1 to {STAGES}, finest first"
        )
