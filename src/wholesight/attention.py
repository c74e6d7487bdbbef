"""Attention of a network: where its features carry a score. Pure and differentiable.

Axes: b slices, k feature channels, h w map pixels.

References: Selvaraju et al., "Grad-CAM", ICCV 2017; Liu et al., "Towards visually explaining
variational autoencoders", CVPR 2020 (Grad-CAM on a VAE's latent); Silva-Rodriguez et al.,
arXiv 2109.00482 (Grad-CAM without ReLU, constrained) and arXiv 2203.01671 (activation mean).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def grad_cam(
    features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool = True
) -> Float[Tensor, "b h w"]:
    """Grad-CAM without ReLU: sum_k alpha_k F_k, alpha_k the spatial mean of d score / d F_k.

    `score` must depend on `features` through the autograd graph. With `differentiable` the map
    can be trained through (create_graph); without it the graph is freed. Unbounded, unitless.

    >>> features = torch.ones(1, 2, 4, 4, requires_grad=True)
    >>> score = (features * torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)).sum()
    >>> grad_cam(features, score)[0, 0, 0].item()
    2.0
    """
    (gradient,) = torch.autograd.grad(score, features, create_graph=differentiable)
    importance = gradient.mean(dim=(2, 3), keepdim=True)
    return (importance * features).sum(dim=1)


def activation_mean(features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b h w"]:
    """Return the channel mean of the features: the attention that MedIA 2022 ends up with.

    >>> activation_mean(torch.arange(2.0).view(1, 2, 1, 1)).item()
    0.5
    """
    return features.mean(dim=1)


def unchanged(
    attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Return the attention as it is, on the scale of the network's own score."""
    del inside
    return attention


def over_body_median(
    attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Divide every slice by its median inside the body: 1 where attention is as usual there.

    Grad-CAM's weights, and with them the level of a whole slice, scale with how strongly the score
    answers to that slice; the constraint bounds the level from below and leaves it free above. The
    quotient takes that factor out, so that slices and scans share a scale. A healthy slice stays
    near 1 everywhere. Where a lesion fills over half of a slice's body, the median is the lesion's.
    A slice without body is 0.

    >>> slices = torch.tensor([[[2.0, 2.0, 6.0]], [[20.0, 20.0, 60.0]]])
    >>> over_body_median(slices, slices > 0).tolist()
    [[[1.0, 1.0, 3.0]], [[1.0, 1.0, 3.0]]]
    """
    within = torch.where(inside, attention, torch.nan).flatten(1)
    median = within.nanmedian(dim=1).values.abs()
    # The constraint rules out a median near 0; without it a slice's own size bounds the quotient.
    smallest = 1e-3 * within.abs().nan_to_num(0.0).amax(dim=1)
    scale = torch.maximum(median, smallest).clamp_min(torch.finfo(attention.dtype).tiny)
    some = inside.flatten(1).any(dim=1)[:, None, None]
    return torch.where(some, attention / scale[:, None, None], 0.0)


def min_max(
    attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Stretch every slice to [0, 1] on its own, as published at test time.

    For reproduction only: every healthy slice gets a maximum of 1, so any fixed threshold fires
    on every healthy slice. A constant slice becomes 0.

    >>> min_max(torch.tensor([[[2.0, 4.0]]]), torch.tensor([[[True, True]]])).tolist()
    [[[0.0, 1.0]]]
    """
    del inside
    low = attention.amin(dim=(1, 2), keepdim=True)
    high = attention.amax(dim=(1, 2), keepdim=True)
    return (attention - low) / (high - low).clamp_min(torch.finfo(attention.dtype).tiny)


class Attention(ABC):
    """How features and a score become one map per slice. Higher = attended more."""

    @abstractmethod
    def __call__(
        self, features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool
    ) -> Float[Tensor, "b h w"]:
        """Return the map before any normalisation; `differentiable` to train through it."""


class GradCAM(Attention):
    """True Grad-CAM (BMVC 2021): the map depends on the score through its gradient."""

    def __call__(
        self, features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool
    ) -> Float[Tensor, "b h w"]:
        return grad_cam(features, score, differentiable=differentiable)


class ActivationMean(Attention):
    """The channel mean (MedIA 2022 "AMCons"); the score plays no part, by design."""

    def __call__(
        self,
        features: Float[Tensor, "b k h w"],
        score: Float[Tensor, ""],
        *,
        differentiable: bool,
    ) -> Float[Tensor, "b h w"]:
        attention = activation_mean(features)
        return attention if differentiable else attention.detach()


ATTENTIONS: Final[dict[str, type[Attention]]] = {
    "grad-cam": GradCAM,
    "activation-mean": ActivationMean,
}

# How the map of a slice is scaled at test time.
NORMALISATIONS: Final = {
    "none": unchanged,
    "body-median": over_body_median,
    "min-max": min_max,
}
