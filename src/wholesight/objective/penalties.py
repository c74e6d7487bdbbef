"""Penalties: what a violation costs. Finite and non-decreasing in the violation.

Axes: b slices. Schedules are pure functions of the epoch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor


class Penalty(ABC):
    """Turns the violation g of a constraint g <= 0 into a cost."""

    @abstractmethod
    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        """Return the cost per slice, finite, non-decreasing in the violation."""


class LogBarrier(Penalty):
    """Extended log-barrier (Kervadec et al. 2019, arXiv 1904.04205, eq. 4; used by 2109.00482).

    psi_t(g) = -log(-g) / t                      where g <= -1/t^2
             = t g - log(1/t^2) / t + 1/t        elsewhere: the tangent, so that psi is C1.

    t : sharpness at epoch 0, > 0. growth : factor by which t grows every epoch, >= 1; 1 keeps it
    as published. As t grows the barrier tends to the hard constraint, and its push on slices that
    satisfy it, 1/(t |g|), fades.

    >>> LogBarrier(t=10.0).cost(torch.tensor([-0.5, 0.0]), 0.0).tolist()
    [0.06931471824645996, 0.5605170130729675]
    """

    def __init__(self, *, t: float = 20.0, growth: float = 1.0) -> None:
        if t <= 0:
            raise ValueError(f"t is {t}, legal is t > 0")
        if growth < 1:
            raise ValueError(f"growth is {growth}, legal is growth >= 1")
        self.t = t
        self.growth = growth

    def sharpness(self, epoch: float) -> float:
        """Return t at this epoch."""
        return self.t * self.growth**epoch

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        t = self.sharpness(epoch)
        joint = -1 / t**2
        # Clamped before the logarithm: torch.where lets the unused branch's nan gradient through.
        barrier = -torch.log(-violation.clamp_max(joint)) / t
        tangent = t * violation + 2 * math.log(t) / t + 1 / t
        return torch.where(violation <= joint, barrier, tangent)


PENALTIES: Final[dict[str, type[Penalty]]] = {"log-barrier": LogBarrier}
