"""Terms of the loss: a constraint, or a contrast, with its penalty and weight.

Axes: b slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from wholesight.objective.constraints import CONSTRAINTS, Constraint
from wholesight.objective.contrast import CONTRASTS, Contrast
from wholesight.objective.penalties import PENALTIES, LogBarrier, Penalty


@dataclass(frozen=True, kw_only=True)
class Term:
    """One constraint with its penalty and weight lambda (nats per slice and unit of cost).

    warmup_epochs : the term is off before this epoch.
    """

    constraint: Constraint
    penalty: Penalty
    weight: float
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _require_weight(self.weight)
        if not self.warmup_epochs >= 0:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, legal is 0 or more")
        # Two pixels are enough to tell whether there is any room below 0.
        if self.penalty.needs_slack and self.constraint.lowest(pixels=2) >= 0:
            legal = [name for name, kind in PENALTIES.items() if not kind.needs_slack]
            raise ValueError(
                f"the penalty {_kind(PENALTIES, self.penalty)} needs a violation below 0, which "
                f"{_kind(CONSTRAINTS, self.constraint)} never has as it is set. "
                f"Take {self.constraint.more_slack}, or one of the penalties {', '.join(legal)}"
            )

    def doubts(self, pixels: int, epochs: int) -> list[str]:
        """Tell of a barrier whose tangent the lowest violation never leaves: |g| t^2 <= 1.

        pixels : of the map that the constraint sees. t is that of the end, its largest.
        """
        name, more_slack = _kind(CONSTRAINTS, self.constraint), self.constraint.more_slack
        return _doubts(name, -self.constraint.lowest(pixels), more_slack, self.penalty, epochs)


@dataclass(frozen=True, kw_only=True)
class ContrastTerm:
    """One contrast with its penalty and weight (nats per slice and unit of cost)."""

    contrast: Contrast
    penalty: Penalty
    weight: float

    def __post_init__(self) -> None:
        _require_weight(self.weight)

    def doubts(self, epochs: int) -> list[str]:
        """Tell of a barrier whose tangent the lowest violation never leaves, as `Term.doubts`."""
        name, more_slack = _kind(CONTRASTS, self.contrast), self.contrast.more_slack
        return _doubts(name, -self.contrast.lowest, more_slack, self.penalty, epochs)


def _require_weight(weight: float) -> None:
    if not weight > 0:
        raise ValueError(f"weight is {weight}, legal is weight > 0")


def _doubts(name: str, most: float, more_slack: str, penalty: Penalty, epochs: int) -> list[str]:
    """Tell of a barrier on a violation that is below 0 by `most` at most: most t^2 <= 1."""
    if not isinstance(penalty, LogBarrier):
        return []
    t = penalty.sharpness(float(epochs))
    if most * t**2 > 1:
        return []
    when = " at the end of training" if penalty.growth > 1 else ""
    # A map of one pixel is as even as can be, and no t gives room where there is none.
    enough = f", or a t above {most**-0.5:.3g}{when}" if most > 0 else ""
    return [
        f"{name} is satisfied by {most:.3g} at most, and with "
        f"t = {t:.3g}{when} the barrier has its logarithm beyond {t**-2:.3g}: it never leaves "
        f"its linear branch. Take {more_slack}{enough}."
    ]


def _kind(registry: Mapping[str, Any], member: object) -> str:
    """Return the name by which a recipe asks for such an object."""
    names = (name for name, kind in registry.items() if type(member) is kind)
    return next(names, type(member).__name__)


def priced(
    violation: Float[Tensor, " b"],
    penalty: Penalty,
    weight: float,
    *,
    epoch: float,
    learning: bool,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return what a violation costs on average, and what is worth watching of it.

    learning : whether the penalty takes note of it, in training mode.
    """
    cost = weight * penalty.cost(violation, epoch).mean()
    parts = {
        "satisfied": (violation <= 0).float().mean(),
        "slack": -violation.mean(),
        **penalty.logged(violation, epoch),
    }
    if learning:
        penalty.learn(violation.detach())
    return cost, parts
