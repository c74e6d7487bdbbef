"""Constraints on attention: violation g <= 0 is satisfied. Unitless, one value a slice.

Axes: b slices, h w map pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Literal

from jaxtyping import Bool, Float
from torch import Tensor


class Constraint(ABC):
    """An inequality on the attention of a normal slice."""

    @abstractmethod
    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        """Return g, differentiable in the attention; attention in [0, 1]."""


class Coverage(Constraint):
    """Mean attention at least 1 - p: g = (1 - mean a) - p (arXiv 2109.00482, eq. of section 3).

    p : share of the field that may go unattended, in (0, 1). scope : "image" takes the mean over
    the whole slice as published, "body" inside the body. A slice without a body has g = 1 - p.
    """

    def __init__(self, *, p: float = 0.2, scope: Literal["image", "body"] = "image") -> None:
        if not 0 < p < 1:
            raise ValueError(f"p is {p}, legal is 0 < p < 1")
        self.p = p
        self.scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        return 1 - self._covered(attention, inside) - self.p

    def _covered(self, attention: Tensor, inside: Tensor) -> Tensor:
        if self.scope == "image":
            return attention.mean(dim=(1, 2))
        return (attention * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp_min(1)


CONSTRAINTS: Final[dict[str, type[Constraint]]] = {"coverage": Coverage}
