"""What every method is: a loss on normal slices, and a map where higher = odder.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn


class LossTerms(NamedTuple):
    """The scalar to minimise, and its named parts for the log (scalars, in the recipe's units)."""

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


class Method(nn.Module, ABC):
    """A way to find what is abnormal. The constructor is the configuration."""

    # Where the method was published, for `info` and the report.
    reference: ClassVar[str]
    # False for a method with nothing to train; `fit` then only fits the prep.
    trainable: ClassVar[bool] = True

    @property
    def slice_shape(self) -> tuple[int, int, int] | None:
        """The (channels, height, width) of slices that it takes; None when it takes any."""
        return None

    @abstractmethod
    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        """Return what training minimises on a batch of normal slices."""

    @abstractmethod
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        """Return the map, higher = odder, without a gradient. Call it in eval mode."""
