"""Restoration: the nearest slice that a VAE of normal slices finds likely.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.autoencoder import CodingCost
from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.vae import VAE
from wholesight.objective.total_variation import proximal_total_variation, total_variation

# How often a step is halved before the slice stays where it is until the next.
_HALVINGS: Final = 4


class _State(NamedTuple):
    """A slice on its way.

    cost : of all, in nats. gradient : of the negative ELBO, inside the body. dual : of the total
    variation, where the next step starts.
    """

    slices: Float[Tensor, "b c H W"]
    cost: Float[Tensor, " b"]
    gradient: Float[Tensor, "b c H W"]
    dual: Float[Tensor, "b d c H W"]


class Restoration(Method):
    """Maximum a posteriori restoration with a VAE as the prior; the map is what it changed.

    restored = argmin over y of -ELBO(y) + weight TV(y - slice), y = slice outside the body, with
    -ELBO = reconstruction + beta KL at the latent's mean, in nats per slice. The VAE is trained
    with the same -ELBO.

    reconstruction : "gaussian" (the authors') or "laplace" (the comparative study of Baur et al.);
    the Bernoulli's is linear in the slice, which would be driven to black and white. beta : weight
    of the KL; with "gaussian" it is also the variance of the pixels' noise. weight : of the total
    variation, in nats per unit of intensity and pixel length; it keeps a change in one piece, and
    pixels that are only noisy as they are. steps, step : proximal gradient steps and the first
    step's length; where the cost of a slice would rise, its step is halved, for good. The authors
    take hundreds of plain gradient steps, which have the same minimum and must be short, because
    the total variation has a kink where nothing is changed.
    """

    reference: ClassVar[str] = (
        "Chen, You, Tezcan, Konukoglu: Unsupervised lesion detection via image restoration with a "
        "normative prior. MedIA 2020; You, Tezcan, Chen, Konukoglu, MIDL 2019."
    )
    unit_range = True

    needs: ClassVar[str] = "normal slices; slow: a map takes passes both ways for every step"

    def __init__(
        self,
        *,
        network: VAE,
        residual: Residual,
        reconstruction: Literal["gaussian", "laplace"] = "gaussian",
        beta: float = 1.0,
        weight: float = 1.0,
        steps: int = 10,
        step: float = 0.25,
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight is {weight}, legal is 0 or more")
        if steps < 1:
            raise ValueError(f"steps is {steps}, legal is 1 or more")
        if step <= 0:
            raise ValueError(f"step is {step}, legal is step > 0")
        self.network = network
        self.slice_shape = network.slice_shape
        self.residual = residual
        self.cost = CodingCost(network, reconstruction, beta)
        self.weight = weight
        self.steps = steps
        self.step = step

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        return self.cost.loss(self.network(slices), slices)

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return self.residual(slices, self.restore(slices, inside)[0], inside)

    @torch.no_grad()
    def restore(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> tuple[Float[Tensor, "b c H W"], Float[Tensor, "k b"]]:
        """Return the restored slices, and what they cost before the first and after every step."""
        dual = slices.new_zeros(len(slices), 2, *slices.shape[1:])
        state = self._state(slices, slices, inside, dual)
        costs = [state.cost]
        length = torch.full_like(state.cost, self.step)
        for _ in range(self.steps):
            state, length = self._advance(state, length, slices, inside)
            costs.append(state.cost)
        return state.slices, torch.stack(costs)

    def _advance(
        self, state: _State, length: Tensor, originals: Tensor, inside: Tensor
    ) -> tuple[_State, Float[Tensor, " b"]]:
        """Take one step of each slice, and return the length that it had."""
        reached, waiting = state, torch.ones_like(length, dtype=torch.bool)
        # Rounding alone is no rise.
        highest = state.cost + 4 * torch.finfo(length.dtype).eps * state.cost.abs()
        for _ in range(_HALVINGS + 1):
            per_slice = length[:, None, None, None]
            moved = state.slices - originals - per_slice * state.gradient
            change, dual = proximal_total_variation(
                moved, inside, per_slice * self.weight, state.dual
            )
            ahead = self._state(originals + change, originals, inside, dual)
            lower = waiting & (ahead.cost <= highest)
            reached = _State(
                *(
                    torch.where(lower.view(-1, *[1] * (new.ndim - 1)), new, old)
                    for new, old in zip(ahead, reached, strict=True)
                )
            )
            waiting = waiting & ~lower
            if not waiting.any():
                break
            length = torch.where(waiting, length / 2, length)
        return reached, length

    def _state(self, slices: Tensor, originals: Tensor, inside: Tensor, dual: Tensor) -> _State:
        with torch.enable_grad():
            pixels = slices.detach().requires_grad_()
            negative_elbo = self.cost.total(self.cost.parts(self.network(pixels), pixels))
            # Slices do not see each other, so the sum's gradient is each slice's own.
            gradient = torch.autograd.grad(negative_elbo.sum(), pixels)[0]
        variation = total_variation(slices - originals, inside)
        cost = negative_elbo.detach() + self.weight * variation
        return _State(slices, cost, gradient * inside, dual)
