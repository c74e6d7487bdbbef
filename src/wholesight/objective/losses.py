"""The two terms of the ELBO, in nats per slice, one value a slice.

Axes: b slices, c channels, z latent dimensions, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jaxtyping import Float
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
