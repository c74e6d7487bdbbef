"""The terms of the ELBO, in nats per slice, one value a slice; and those of a segmenter.

Axes: b slices, c channels, z latent dimensions, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss


def kl_divergence(
    mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]
) -> Float[Tensor, " b"]:
    """KL(q(z|x) || N(0, 1)), summed over the latent (Kingma and Welling 2014, appendix B).

    >>> import torch
    >>> kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).item()
    0.5
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)


def bernoulli(
    logits: Float[Tensor, "b c H W"], slices: Float[Tensor, "b c H W"]
) -> Float[Tensor, " b"]:
    """Binary cross-entropy with logits, summed over pixels; slices in [0, 1] (published loss)."""
    cost = binary_cross_entropy_with_logits(logits, slices, reduction="none")
    return cost.sum(dim=(1, 2, 3))


def gaussian(
    logits: Float[Tensor, "b c H W"], slices: Float[Tensor, "b c H W"]
) -> Float[Tensor, " b"]:
    """Half the squared error of the reconstruction sigmoid(logits), summed: unit variance."""
    return 0.5 * mse_loss(logits.sigmoid(), slices, reduction="none").sum(dim=(1, 2, 3))


def laplace(
    logits: Float[Tensor, "b c H W"], slices: Float[Tensor, "b c H W"]
) -> Float[Tensor, " b"]:
    """Absolute error of the reconstruction sigmoid(logits), summed: unit scale, no constant."""
    return l1_loss(logits.sigmoid(), slices, reduction="none").sum(dim=(1, 2, 3))


RECONSTRUCTIONS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "bernoulli": bernoulli,
    "gaussian": gaussian,
    "laplace": laplace,
}


def surprise_of(
    logits: Float[Tensor, "b 1 H W"],
    lesion: Float[Tensor, "b 1 H W"],
    inside: Bool[Tensor, "b 1 H W"],
) -> Float[Tensor, ""]:
    """Cross-entropy of lesion or not, mean over all pixels inside; 0 where there are none.

    lesion : share of each pixel that is lesion, in [0, 1]. In nats.
    """
    cost = binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    return (cost * inside).sum() / inside.sum().clamp_min(1)


def soft_dice(
    share: Float[Tensor, "b 1 H W"], lesion: Float[Tensor, "b 1 H W"]
) -> Float[Tensor, ""]:
    """Return (2 sum s l + 1) / (sum s^2 + sum l^2 + 1) over a batch, in (0, 1].

    Milletari, Navab, Ahmadi: V-Net. 3DV 2016, arXiv 1606.04797. The ones make it 1 where there is
    nothing and nothing is found.

    >>> import torch
    >>> soft_dice(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item()
    1.0
    """
    both = (share * lesion).sum()
    return (2 * both + 1) / (share.square().sum() + lesion.square().sum() + 1)
