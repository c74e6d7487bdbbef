"""Penalties: what a violation costs. Finite; non-decreasing in the violation, or lowest at 0.

Axes: b slices. Schedules are pure functions of the epoch.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final

import torch
from jaxtyping import Float
from torch import Tensor

from wholesight.objective.multiplier import Multiplier
from wholesight.objective.penalty import Penalty

# The least and the largest t of a barrier. At 1e6 any g from -1 to -1e-12 costs under 3e-5 nats,
# so that more would change nothing, and t^2 is still far from the ends of a float32.
_BLUNTEST: Final = 1e-6
_SHARPEST: Final = 1e6


class LogBarrier(Penalty):
    """Extended log-barrier (Kervadec et al. 2019, arXiv 1904.04205, eq. 4; used by 2109.00482).

    psi_t(g) = -log(-g) / t                      where g <= -1/t^2
             = t g - log(1/t^2) / t + 1/t        elsewhere: the tangent, so that psi is C1.

    t : sharpness at epoch 0, 1e-6 to 1e6. growth : factor by which t grows every epoch until it is
    1e6, where it stays; >= 1, and 1 keeps it as published. As t grows the barrier tends to the hard
    constraint, and its push on slices that satisfy it, 1/(t |g|), fades.

    >>> LogBarrier(t=10.0).cost(torch.tensor([-0.5, 0.0]), 0.0).tolist()
    [0.06931471824645996, 0.5605170130729675]
    """

    needs_slack: ClassVar[bool] = True

    def __init__(self, *, t: float = 20.0, growth: float = 1.0) -> None:
        super().__init__()
        if not _BLUNTEST <= t <= _SHARPEST:
            raise ValueError(f"t is {t}, legal is {_BLUNTEST:g} <= t <= {_SHARPEST:g}")
        if not 1 <= growth < math.inf:
            raise ValueError(f"growth is {growth}, legal is a finite growth >= 1")
        self.t = t
        self.growth = growth

    def sharpness(self, epoch: float) -> float:
        """Return t at this epoch, at most 1e6.

        >>> [LogBarrier(t=20.0, growth=1.5).sharpness(epoch) for epoch in (0.0, 2.0, 300.0)]
        [20.0, 45.0, 1000000.0]
        """
        # In logarithms: 20 to the power of 300 is no float.
        grown = min(epoch * math.log(self.growth), math.log(_SHARPEST / self.t))
        return min(self.t * math.exp(grown), _SHARPEST)

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        t = self.sharpness(epoch)
        joint = -1 / t**2
        # Clamped before the logarithm: torch.where lets the unused branch's nan gradient through.
        barrier = -torch.log(-violation.clamp_max(joint)) / t
        tangent = t * violation + 2 * math.log(t) / t + 1 / t
        return torch.where(violation <= joint, barrier, tangent)

    def logged(self, violation: Float[Tensor, " b"], epoch: float) -> dict[str, Float[Tensor, ""]]:
        """Return the share of slices on the logarithm: 0 means that it acts as a straight line."""
        joint = -1 / self.sharpness(epoch) ** 2
        return {"log_branch": (violation <= joint).to(violation.dtype).mean()}


class Hinge(Penalty):
    """Cost max(g, 0): no push on a slice that satisfies the constraint.

    >>> Hinge().cost(torch.tensor([-0.5, 0.5]), 0.0).tolist()
    [0.0, 0.5]
    """

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        return violation.relu()


class Quadratic(Penalty):
    """Cost max(g, 0)^2: weaker the nearer to satisfied.

    equality : g^2 instead, which holds g at 0 from both sides (the paper's ablation "l2", coded
    there as sqrt(g^2), which is `Absolute`).

    >>> Quadratic().cost(torch.tensor([-0.5, 0.5]), 0.0).tolist()
    [0.0, 0.25]
    """

    def __init__(self, *, equality: bool = False) -> None:
        super().__init__()
        self.equality = equality

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        return (violation if self.equality else violation.relu()).square()


class Absolute(Penalty):
    """Cost |g|: holds g at 0 from both sides (the paper's ablation "l1", the form of earlier work).

    >>> Absolute().cost(torch.tensor([-0.5, 0.5]), 0.0).tolist()
    [0.5, 0.5]
    """

    equality = True

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        return violation.abs()


class Linear(Penalty):
    """Cost g: the push is the same on every slice, satisfied or not, and g has no floor of its own.

    With `Evenness` it is the entropy term of MedIA 2022, with `PixelwiseEquality` CAVGA's.

    >>> Linear().cost(torch.tensor([-0.5, 0.5]), 0.0).tolist()
    [-0.5, 0.5]
    """

    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        return violation


PENALTIES: Final[dict[str, type[Penalty]]] = {
    "log-barrier": LogBarrier,
    "hinge": Hinge,
    "quadratic": Quadratic,
    "absolute": Absolute,
    "linear": Linear,
    "multiplier": Multiplier,
}
