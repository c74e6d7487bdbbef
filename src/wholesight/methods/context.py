"""Context encoding: the network also has to fill in squares that were painted over.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.autoencoder import CodingCost, Reconstruction
from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual, smoothed_inside
from wholesight.nn.coder import Coder


def painted_over(
    slices: Float[Tensor, "b c H W"], *, squares: int, side: Sequence[float]
) -> Float[Tensor, "b c H W"]:
    """Paint 1 to `squares` squares of one random grey each over every slice, later over earlier.

    side : smallest and largest, in shares of the slice's shorter side; squares lie wholly within
    the slice, and greys within [0, 1]. Draws from torch's global random numbers.
    """
    painted = slices.clone()
    height, width = slices.shape[2:]
    numbers = torch.randint(1, squares + 1, (len(slices),)).tolist()
    for canvas, number in zip(painted, numbers, strict=True):
        for share, down, right, grey in torch.rand(number, 4).tolist():
            length = round((side[0] + share * (side[1] - side[0])) * min(height, width))
            top = int(down * (height - length + 1))
            left = int(right * (width - length + 1))
            canvas[:, top : top + length, left : left + length] = grey
    return painted


class ContextEncoding(Method):
    """A context encoder, or with a VAE the context-encoding VAE (ceVAE).

    loss = (1 - weight) (reconstruction + beta KL of the slice)
         + weight (reconstruction of the whole slice from the painted one, through the code's mean)

    in nats per slice. The second term has no KL, and its target is the slice as it was.

    beta : weight of the KL, 1 unless told; only for a network with a KL. weight : of the context
    term; 1 is a context encoder alone, and is not for a VAE, whose variance it would not train.
    squares, side : see `painted_over`. score : what the map is: the "residual"; the "gradient" of
    the KL or of the whole loss with respect to the pixel, as an absolute value (mean over
    channels); or the "product" of both. gradient_of, gradient_sigma_px : which gradient, and the
    Gaussian that smooths it inside the body; needed where there is a gradient, and only there.

    Published code divides the gradient by the largest of the batch. Here it keeps its unit (nats
    per unit of intensity), so that slices share a scale and do not depend on each other.
    """

    reference: ClassVar[str] = (
        "Zimmerer, Kohl, Petersen, Isensee, Maier-Hein: Context-encoding variational autoencoder "
        "for unsupervised anomaly detection. 2018, arXiv 1812.05941."
    )
    unit_range = True

    def __init__(
        self,
        *,
        network: Coder,
        residual: Residual,
        reconstruction: Reconstruction = "laplace",
        beta: float | None = None,
        weight: float = 0.5,
        squares: int = 3,
        side: Sequence[float] = (0.0, 0.5),
        score: Literal["residual", "gradient", "product"] = "residual",
        gradient_of: Literal["kl", "elbo"] | None = None,
        gradient_sigma_px: float | None = None,
    ) -> None:
        super().__init__()
        _require_legal_weight(network, weight)
        _require_legal_squares(squares, side)
        _require_legal_score(network, score, gradient_of, gradient_sigma_px)
        self.network = network
        self.slice_shape = network.slice_shape
        self.residual = residual
        self.cost = CodingCost(network, reconstruction, beta)
        self.weight = weight
        self.squares = squares
        self.side = tuple(side)
        self.score: Literal["residual", "gradient", "product"] = score
        self.gradient_of: Literal["kl", "elbo"] | None = gradient_of
        self.gradient_sigma_px = gradient_sigma_px

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        painted = painted_over(slices, squares=self.squares, side=self.side)
        context = self.cost.reconstruction(self.network.reconstruct(painted), slices).mean()
        if self.weight == 1:
            return LossTerms(context, {"context": context})
        plain = self.cost.loss(self.network(slices), slices)
        total = (1 - self.weight) * plain.total + self.weight * context
        return LossTerms(total, plain.parts | {"context": context})

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        if self.score == "gradient":
            return self._gradient(slices, inside)
        with torch.no_grad():
            reconstruction = self.network.reconstruct(slices).sigmoid()
        residual = self.residual(slices, reconstruction, inside)
        if self.score == "residual":
            return residual
        return residual * self._gradient(slices, inside)

    def _gradient(self, slices: Tensor, inside: Tensor) -> Float[Tensor, "b 1 H W"]:
        """Return |d cost / d pixel|, smoothed inside the body."""
        with torch.enable_grad():
            pixels = slices.detach().requires_grad_()
            parts = self.cost.parts(self.network(pixels), pixels)
            cost = parts["kl"] if self.gradient_of == "kl" else self.cost.total(parts)
            # Slices do not see each other, so the sum's gradient is each slice's own.
            gradient = torch.autograd.grad(cost.sum(), pixels)[0]
        sigma_px = self.gradient_sigma_px or 0.0
        return smoothed_inside(gradient.abs().mean(dim=1, keepdim=True), inside, sigma_px)


def _require_legal_weight(network: Coder, weight: float) -> None:
    if not 0 < weight <= 1:
        raise ValueError(f"weight is {weight}, legal is 0 < weight <= 1")
    if weight == 1 and network.variational:
        raise ValueError(
            "weight is 1, which would leave the KL of a variational network out; legal is "
            "0 < weight < 1, or a network such as autoencoder"
        )


def _require_legal_squares(squares: int, side: Sequence[float]) -> None:
    if squares < 1:
        raise ValueError(f"squares is {squares}, legal is 1 or more")
    if len(side) != 2 or not 0 <= side[0] <= side[1] <= 1 or not side[1]:
        raise ValueError(
            f"side is {list(side)}, legal are a smallest and a largest share with "
            "0 <= smallest <= largest <= 1 and largest > 0"
        )


def _require_legal_score(
    network: Coder, score: str, gradient_of: str | None, gradient_sigma_px: float | None
) -> None:
    given = f"gradient_of is {gradient_of} and gradient_sigma_px is {gradient_sigma_px}"
    if score == "residual":
        if gradient_of is not None or gradient_sigma_px is not None:
            raise ValueError(
                f"score is residual, but {given}; legal is none for both, or score gradient or "
                "product"
            )
        return
    if not network.variational:
        raise ValueError(
            f"score is {score}, but the network's code is a point; legal is residual, or a "
            "variational network such as vae"
        )
    if gradient_of is None or gradient_sigma_px is None or gradient_sigma_px < 0:
        raise ValueError(
            f"score is {score} and {given}; legal is gradient_of kl or elbo, gradient_sigma_px 0 "
            "or more"
        )
