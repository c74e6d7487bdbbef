"""What every penalty is: a violation in, a cost out.

Axes: b slices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn


class Penalty(nn.Module, ABC):
    """Turns the violation g of a constraint g <= 0 into a cost. A module for its buffers alone.

    equality : whether it holds g at 0, from both sides; otherwise below is satisfied.
    needs_slack : whether it asks for g < 0, so that a constraint without such g is refused.
    """

    equality: bool = False
    needs_slack: ClassVar[bool] = False

    def __init__(self) -> None:
        # Stated, so that a penalty without options has a constructor without arguments.
        super().__init__()

    @abstractmethod
    def cost(self, violation: Float[Tensor, " b"], epoch: float) -> Float[Tensor, " b"]:
        """Return the cost per slice, finite, non-decreasing in g (equality: lowest at 0)."""

    def learn(self, violation: Float[Tensor, " b"]) -> None:
        """Take note of a training batch, after its cost. Called in training mode only."""

    def logged(self, violation: Float[Tensor, " b"], epoch: float) -> dict[str, Float[Tensor, ""]]:
        """Return what is worth watching, by name."""
        return {}
