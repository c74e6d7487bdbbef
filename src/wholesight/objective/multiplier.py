"""A penalty whose strength is found in training: the Lagrange multiplier of the constraint.

Axes: b slices. Needs the package cooper (extra `research`).
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from wholesight.objective.penalty import Penalty


class Multiplier(Penalty):
    """Augmented Lagrangian: one multiplier m >= 0 for all slices, learnt by dual ascent.

    cost = (max(0, m + c g)^2 - m^2) / 2c, or m g with c = 0;   m <- max(0, m + step mean(g))

    (Nocedal and Wright, Numerical Optimization, 2006, eq. 17.65.) Where a barrier or a hinge asks
    for a weight, this finds the one at which the constraint just holds on the mean slice, and rests
    at 0 when it holds by itself. The term's weight only sets the scale. m is a buffer of the
    method: saved, loaded and resumed with it.

    step : of the ascent, > 0: how far m rises in a training step on a violation of 1. Too small for
    the steps there are, and m never gets where it should. curvature : c, of the squared violation,
    which damps the swings between m and the network, 0 or more.
    """

    needs_slack: ClassVar[bool] = True
    multiplier: Tensor

    def __init__(self, *, step: float = 1.0, curvature: float = 1.0) -> None:
        super().__init__()
        if not step > 0:
            raise ValueError(f"step is {step}, legal is step > 0")
        if not curvature >= 0:
            raise ValueError(f"curvature is {curvature}, legal is 0 or more")
        _cooper()
        self.step = step
        self.curvature = curvature
        self.register_buffer("multiplier", torch.zeros(1))

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        constraint = self._constraint()

        def of_a_slice(g: Tensor) -> Tensor:
            state = _cooper().ConstraintState(g)
            store = constraint.compute_contribution_to_lagrangian(state, "primal")
            return store.lagrangian_contribution

        return torch.vmap(of_a_slice)(violation)

    def learn(self, violation: Float[Tensor, " b"]) -> None:
        constraint = self._constraint()
        state = _cooper().ConstraintState(violation.detach().mean().to(self.multiplier))
        store = constraint.compute_contribution_to_lagrangian(state, "dual")
        weight = constraint.multiplier.weight
        (slope,) = torch.autograd.grad(store.lagrangian_contribution, weight)
        with torch.no_grad():
            weight.add_(slope, alpha=self.step)
            constraint.multiplier.post_step_()
            self.multiplier.copy_(weight)

    def logged(self, violation: Float[Tensor, " b"], epoch: float) -> dict[str, Float[Tensor, ""]]:
        return {"multiplier": self.multiplier[0].clone()}

    def _constraint(self) -> Any:
        """Return cooper's constraint with the multiplier as it now is.

        Made anew each time: cooper keeps it as a parameter, and the optimiser, which lowers the
        loss, must not get hold of what has to climb.
        """
        cooper = _cooper()
        value = self.multiplier.clone()
        multiplier = cooper.multipliers.DenseMultiplier(
            init=value, device=value.device, dtype=value.dtype
        )
        kind = cooper.ConstraintType.INEQUALITY
        if self.curvature == 0:  # the augmented form divides by it
            return cooper.Constraint(kind, cooper.formulations.Lagrangian, multiplier)
        coefficient = cooper.penalty_coefficients.DensePenaltyCoefficient(
            torch.full_like(value, self.curvature)
        )
        augmented = cooper.formulations.AugmentedLagrangian
        return cooper.Constraint(kind, augmented, multiplier, coefficient)


def _cooper() -> Any:
    """Return the package, which is an extra and so is imported when it is needed."""
    try:
        return importlib.import_module("cooper")
    except ImportError as fault:
        raise ValueError("the penalty multiplier needs cooper: pip install cooper-optim") from fault
