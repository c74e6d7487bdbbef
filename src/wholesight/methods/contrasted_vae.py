"""The constrained VAE that has also seen lesions, made up in normal slices.

Axes: b slices, c channels, h w pixels of the first stage, H W slice pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wholesight.attention import enlarged
from wholesight.methods.augmentation import Augmentation
from wholesight.methods.made_up import MadeUpLesions
from wholesight.methods.method import LossTerms, Method
from wholesight.nn.pyramid import Pyramid
from wholesight.nn.vae import VAE, Encoding
from wholesight.objective.contrast import normal_part
from wholesight.objective.losses import RECONSTRUCTIONS, kl_divergence
from wholesight.objective.term import ContrastTerm, Term, priced


class ContrastedVAE(Method):
    """loss = reconstruction + beta KL + sum_k weight_k penalty_k(g_k), contrasts and constraints.

    The slices that are encoded have lesions made up in them, and the VAE is to give back the slice
    without them: it stays a model of normal slices. Its attention A is a weighted sum of features
    on the first stage's grid, to which a light decoder brings all stages (`nn.pyramid`), the
    weights learnt (a class activation map: Zhou et al., CVPR 2016, arXiv 1512.04150).

    Constraints hold from both sides. The terms are those of the constrained VAE, on the part of
    each body that is normal: evenness asks that attention is alike in all of it. (Coverage asks
    that it is high there, which goes with `margin` alone: overlap and surprise ask that it is low.)
    The contrasts are about the rest: attention in a lesion stands out (`objective.contrast`). The
    map at test is A. All terms are in nats per slice, as in `methods.constrained_vae`.

    decoder_width : channels of the light decoder. decoded_share : of each batch that is decoded, in
    (0, 1]; of a part the mean reconstruction is that of all on average, and a step is cheaper, as
    the VAE's decoder works on the slice's grid and everything else on smaller ones. mirrored :
    whether the map is the mean over the slice and its mirror image.
    """

    reference: ClassVar[str] = (
        "Ours, after Silva-Rodriguez, Naranjo, Dolz: BMVC 2021, arXiv 2109.00482; lesions made up "
        "in normal images: Tan, Hou, Batten, Qiu, Kainz: Detecting outliers with foreign patch "
        "interpolation. 2020, arXiv 2011.04197."
    )
    needs: ClassVar[str] = "normal slices, in which it makes up lesions"
    unit_range = True

    def __init__(
        self,
        *,
        network: VAE,
        lesions: MadeUpLesions,
        augmentation: Augmentation,
        contrasts: Sequence[ContrastTerm] = (),
        terms: Sequence[Term] = (),
        decoder_width: int = 32,
        reconstruction: Literal["bernoulli", "gaussian"] = "bernoulli",
        beta: float = 1.0,
        decoded_share: float = 1.0,
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        if not beta >= 0:
            raise ValueError(f"beta is {beta}, legal is 0 or more")
        if not 0 < decoded_share <= 1:
            raise ValueError(f"decoded_share is {decoded_share}, legal is 0 < share <= 1")
        self.network = network
        self.slice_shape = network.slice_shape
        self.pyramid = Pyramid.on(network.encoder, channels=decoder_width)
        self.attended = nn.Conv2d(decoder_width, 1, 1)
        self.lesions = lesions
        self.augmentation = augmentation
        self.contrasts = tuple(contrasts)
        self.terms = tuple(terms)
        # Registered, so that what a penalty learns is saved with the network.
        self.penalties = nn.ModuleList(term.penalty for term in (*contrasts, *terms))
        self.reconstruction = RECONSTRUCTIONS[reconstruction]
        self.beta = beta
        self.decoded_share = decoded_share
        self.mirrored = mirrored

    @property
    def last_start(self) -> float:
        return max((term.warmup_epochs for term in self.terms), default=0.0)

    def doubts(self, epochs: int) -> list[str]:
        pixels = self.network.slice_shape[1] * self.network.slice_shape[2]
        return [doubt for term in self.contrasts for doubt in term.doubts(epochs)] + [
            doubt for term in self.terms for doubt in term.doubts(pixels, epochs)
        ]

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        view = self.augmentation(slices, inside)
        altered, share = self.lesions(view.slices, view.inside)
        encoding = self.network.encode(altered)
        # The batch is in a random order: the first slices stand for all.
        some = math.ceil(self.decoded_share * len(slices))
        logits = self.network.decode(self.network.sample(encoding)[:some])
        parts = {
            "reconstruction": self.reconstruction(logits, view.slices[:some]).mean(),
            "kl": kl_divergence(encoding.mean, encoding.log_variance).mean(),
        }
        costs, logged = self._constrain(
            self._attend(encoding, slices.shape[2]),
            share[:, 0],
            view.inside[:, 0],
            epoch,
        )
        total = parts["reconstruction"] + self.beta * parts["kl"] + sum(costs.values())
        rivals = {"reconstruction": parts["reconstruction"], **costs}
        return LossTerms(total, parts | costs | logged, rivals)

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        attention = self._map(slices)
        if self.mirrored:
            attention = (attention + self._map(slices.flip(3)).flip(2)) / 2
        return attention[:, None]

    def _map(self, slices: Tensor) -> Float[Tensor, "b H W"]:
        return self._attend(self.network.encode(slices), slices.shape[2])

    def _attend(self, encoding: Encoding, size: int) -> Float[Tensor, "b {size} {size}"]:
        attention = self.attended(self.pyramid(encoding.stages))[:, 0]
        return enlarged(attention, size // attention.shape[1])

    def _constrain(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
        epoch: float,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what contrasts, and terms that are on, cost, and what else to log of them."""
        squashed = attention.sigmoid()
        costs: dict[str, Tensor] = {}
        logged: dict[str, Tensor] = {"attention": squashed.mean()}
        for number, part in enumerate(self.contrasts, start=1):
            shown = squashed if part.contrast.squashed else attention
            violation = part.contrast.violation(shown, lesion, inside)
            # In a batch without a lesion there is nothing to stand out.
            if len(violation):
                costs[f"contrast_{number}"], watched = priced(
                    violation, part.penalty, part.weight, epoch=epoch, learning=self.training
                )
                logged |= {f"{name}_contrast_{number}": value for name, value in watched.items()}
        normal = normal_part(lesion, inside)
        for number, term in enumerate(self.terms, start=1):
            if epoch < term.warmup_epochs:
                continue
            constrained = squashed if term.constraint.squashed else attention
            costs[f"constraint_{number}"], watched = priced(
                term.constraint.violation(constrained, normal),
                term.penalty,
                term.weight,
                epoch=epoch,
                learning=self.training,
            )
            logged |= {f"{name}_{number}": value for name, value in watched.items()}
        return costs, logged
