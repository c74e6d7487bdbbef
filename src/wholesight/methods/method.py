"""What every method is: a loss on normal slices, and a map where higher = odder.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

# Normal slices (b, c, H, W) and where their body is (b, 1, H, W). b is unnamed in the type: among
# several batches, of which the last is smaller, it is not one number.
Batch = tuple[Float[Tensor, "_ c H W"], Bool[Tensor, "_ 1 H W"]]


class LossTerms(NamedTuple):
    """The scalar to minimise, and its named parts for the log (scalars, in the recipe's units).

    rivals : parts of the total that pull at the same parameters, weighted as in the total; training
    logs how long their gradients are, so that one sees who wins. Empty for most methods.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]
    rivals: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})


class Method(nn.Module, ABC):
    """A way to find what is abnormal. The constructor is the configuration."""

    # Where the method was published, for `info` and the report.
    reference: ClassVar[str]
    # What it needs, in words for `info`.
    needs: ClassVar[str] = "normal slices"
    # The (channels, height, width) of slices that it takes; None when it takes any.
    slice_shape: tuple[int, int, int] | None = None
    # Whether it takes slices of one channel alone.
    one_channel: bool = False
    # Whether it needs slices in [0, 1].
    unit_range: bool = False

    @property
    def trainable(self) -> bool:
        """Whether there is anything to train by gradient; if not, `fit` only calls `observe`."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @property
    def last_start(self) -> float:
        """The epoch at which the last part of its training begins; training must go beyond it."""
        return 0.0

    @property
    def scaled_per_slice(self) -> bool:
        """Whether every slice of the map is stretched to one range of its own.

        Then the highest value says nothing of how odd a slice is, a healthy slice reaches what an
        abnormal one does, and neither a score of a scan nor a threshold can tell them apart.
        """
        return False

    @property
    def unit_map(self) -> bool:
        """Whether every value of the map lies in [0, 1] by the way it is made."""
        return False

    def doubts(self, epochs: int) -> list[str]:
        """Return what to tell before training that long, a sentence or two each.

        Settings that are legal, and cannot do what they are for.
        """
        return []

    @abstractmethod
    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        """Return what training minimises on a batch of normal slices.

        Parameters that a step does not reach stay as they are, so players may take turns; whose
        turn it is follows from the epoch and from a buffer that counts the steps taken.
        """

    def observe(self, batches: Iterable[Batch]) -> None:
        """Note in buffers what is to be known of all normal training slices, once, after training.

        batches : can be gone through more than once, always in the same order. Called in eval mode.
        """

    @abstractmethod
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        """Return the map, higher = odder, without a gradient. Call it in eval mode."""
