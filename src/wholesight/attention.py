"""Attention of a network: where its features carry a score. Pure and differentiable.

Axes: b slices, k feature channels, z latent dimensions, h w map pixels, H W slice pixels.

References: Selvaraju et al., "Grad-CAM", ICCV 2017; Draelos and Carin, "HiResCAM", arXiv
2011.08891; Liu et al., "Towards visually explaining variational autoencoders", CVPR 2020 (Grad-CAM
on a VAE's latent); Silva-Rodriguez et al., arXiv 2109.00482 (Grad-CAM without ReLU, constrained)
and arXiv 2203.01671 (activation mean).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad


def grad_cam(
    features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool = True
) -> Float[Tensor, "b h w"]:
    """Grad-CAM without ReLU: sum_k alpha_k F_k, alpha_k the spatial mean of d score / d F_k.

    `score` must depend on `features` through the autograd graph, which is kept: several stages
    may explain one score. With `differentiable` the map can be trained through. Unbounded,
    unitless.

    >>> features = torch.ones(1, 2, 4, 4, requires_grad=True)
    >>> score = (features * torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)).sum()
    >>> grad_cam(features, score)[0, 0, 0].item()
    2.0
    """
    importance = _gradient(features, score, differentiable).mean(dim=(2, 3), keepdim=True)
    return (importance * features).sum(dim=1)


def hires_cam(
    features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool = True
) -> Float[Tensor, "b h w"]:
    """HiResCAM: sum_k g_k F_k, g_k = d score / d F_k at every pixel, not its spatial mean.

    Keeps where the score looks, which Grad-CAM's mean over the pixels forgets. Otherwise as
    `grad_cam`.

    >>> features = torch.ones(1, 1, 1, 2, requires_grad=True)
    >>> score = (features * torch.tensor([3.0, -1.0])).sum()
    >>> hires_cam(features, score).tolist()
    [[[3.0, -1.0]]]
    """
    return (_gradient(features, score, differentiable) * features).sum(dim=1)


def _gradient(features: Tensor, score: Tensor, differentiable: bool) -> Tensor:
    (gradient,) = torch.autograd.grad(
        score, features, create_graph=differentiable, retain_graph=True
    )
    return gradient


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


def row_maxima(
    attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Return (a - m) / M: the faulty min-max of MedIA 2022's published code.

    For reproduction only. m should be a slice's minimum and is the smallest of its rows' maxima,
    plus 1e-3; M is the maximum of a - m, plus 1e-3. So all that is below the quietest row's
    maximum comes out negative, without a bound, and the rest reaches 1 in every healthy slice.

    >>> two_rows = torch.tensor([[[0.0, 1.0], [0.0, 3.0]]], dtype=torch.float64)
    >>> row_maxima(two_rows, two_rows >= 0).round(decimals=4).tolist()
    [[[-0.5005, -0.0005], [-0.5005, 0.9995]]]
    """
    del inside
    low = attention.amax(dim=2).amin(dim=1)[:, None, None] + 1e-3
    above = attention - low
    high = above.amax(dim=(1, 2), keepdim=True) + 1e-3
    # Where all rows share their maximum, what is published divides by 0.
    return above / high.clamp_min(torch.finfo(attention.dtype).eps)


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


class HiResCAM(Attention):
    """HiResCAM: as Grad-CAM, with the gradient of every pixel."""

    def __call__(
        self, features: Float[Tensor, "b k h w"], score: Float[Tensor, ""], *, differentiable: bool
    ) -> Float[Tensor, "b h w"]:
        return hires_cam(features, score, differentiable=differentiable)


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
    "hires-cam": HiResCAM,
    "activation-mean": ActivationMean,
}


class Target(ABC):
    """The score that attention explains, out of the latent means of a batch."""

    @abstractmethod
    def __call__(self, mean: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
        """Return the score: a sum over slices, so that each slice's gradient is its own."""

    def require_in(self, latent: int) -> None:  # noqa: B027 - most are in any latent
        """Raise ValueError where a latent of so many dimensions does not have it."""


class LatentSum(Target):
    """Sum of the latent mean (as published). Its sign is a matter of chance in training."""

    def __call__(self, mean: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
        return mean.sum()


class LatentNorm(Target):
    """Euclidean norm of the latent mean: how far from the prior's centre, whatever the sign."""

    def __call__(self, mean: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
        return torch.linalg.vector_norm(mean, dim=1).sum()


class OneLatent(Target):
    """One dimension of the latent mean.

    index : which, from 0.
    """

    def __init__(self, *, index: int = 0) -> None:
        if index < 0:
            raise ValueError(f"index is {index}, legal is 0 or more")
        self.index = index

    def __call__(self, mean: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
        return mean[:, self.index].sum()

    def require_in(self, latent: int) -> None:
        if self.index >= latent:
            raise ValueError(
                f"index is {self.index}, legal is 0 to {latent - 1} in a latent of {latent}"
            )


TARGETS: Final[dict[str, type[Target]]] = {
    "latent-sum": LatentSum,
    "latent-norm": LatentNorm,
    "one-latent": OneLatent,
}

# How the map of a slice is scaled at test time.
NORMALISATIONS: Final = {
    "none": unchanged,
    "body-median": over_body_median,
    "min-max": min_max,
    "row-maxima": row_maxima,
}

# Feature i of every stage sees the slice around pixel stride * i: all convolutions and the pooling
# are centred there. Map and body are brought together on that grid. The usual resize, which takes
# pixels for squares, draws the map (stride - 1) / 2 pixels off: 2 to 3 mm on a head.


def enlarged(attention: Float[Tensor, "b h w"], stride: int) -> Float[Tensor, "b H W"]:
    """Enlarge a map by a whole factor, bilinear, each value at the pixel that it sees.

    >>> enlarged(torch.tensor([[[0.0, 2.0]]]), 2)[0, 0].tolist()
    [0.0, 1.0, 2.0, 2.0]
    """
    height, width = attention.shape[1] * stride, attention.shape[2] * stride
    # One more row and column, so that the last pixels have something to lean on.
    padded = pad(attention[:, None], (0, 1, 0, 1), mode="replicate")
    size = (height + 1, width + 1)
    large = interpolate(padded, size, mode="bilinear", align_corners=True)
    return large[:, 0, :height, :width]


def enlarged_to_corners(attention: Float[Tensor, "b h w"], stride: int) -> Float[Tensor, "b H W"]:
    """Enlarge a map so that its corner pixels lie on the slice's, bilinear, as published.

    Stretches what the features saw by (H - 1) / (H - stride): right at the top left, and the last
    pixel stride - 1 off.

    >>> enlarged_to_corners(torch.tensor([[[0.0, 3.0]]]), 2)[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    size = (attention.shape[1] * stride, attention.shape[2] * stride)
    return interpolate(attention[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def shrunk(
    inside: Bool[Tensor, "b 1 H W"], attention: Float[Tensor, "b h w"]
) -> Bool[Tensor, "b h w"]:
    """Bring the body to the map's size: a map pixel counts when half of what is around it does."""
    stride = inside.shape[2] // attention.shape[1]
    before = stride // 2
    share = avg_pool2d(pad(inside.float(), (before, 0, before, 0)), stride)
    return share[:, 0, : attention.shape[1], : attention.shape[2]] >= 0.5


Upsampling = Callable[[Tensor, int], Tensor]

UPSAMPLINGS: Final[dict[str, Upsampling]] = {
    "receptive-field": enlarged,
    "corners": enlarged_to_corners,
}


def summed(maps: Sequence[Float[Tensor, "b _ _"]], upsampling: Upsampling) -> Tensor:
    """Return the sum of maps from the finest to the coarsest, on the first one's grid.

    >>> summed([torch.ones(1, 4, 4), torch.ones(1, 2, 2)], enlarged).unique().tolist()
    [2.0]
    """
    finest = maps[0].shape[1]
    return torch.stack([upsampling(each, finest // each.shape[1]) for each in maps]).sum(dim=0)
