"""The other half of the constraint: attention stands out in a lesion. g <= 0 is satisfied.

All are ours; the coverage that they complete is that of arXiv 2109.00482.

Axes: b slices, H W slice pixels, n violations.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.objective.losses import soft_dice, surprise_of

# For a margin, and for what is normal: a pixel that is mostly lesion counts as one, a pixel with
# next to nothing of it as normal; those of the soft outline between them count as neither.
_LESION: Final = 0.5
_NORMAL: Final = 0.05


class Contrast(ABC):
    """An inequality on attention where some of a slice is lesion and the rest is normal.

    squashed : whether it takes sigmoid(A), in [0, 1], or the attention A itself. more_slack : what
    to change so that attention can satisfy it by a wider margin. lowest : no attention has a g
    below it.
    """

    squashed: ClassVar[bool] = True
    more_slack: ClassVar[str]

    @property
    @abstractmethod
    def lowest(self) -> float: ...

    def violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " n"]:
        """Return g, differentiable in the attention; empty where nothing is to stand out.

        lesion : share of each pixel that is lesion, in [0, 1].
        """
        if not (lesion * inside).any():
            return attention.new_zeros(0)
        return self._violation(attention, lesion, inside)

    @abstractmethod
    def _violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " n"]:
        """Return g where some of the body is lesion, if only in part of a pixel."""


class OverlapContrast(Contrast):
    """Attention is where lesions are and nowhere else: g = (1 - overlap) - p, one value a batch.

    overlap is the soft Dice of a = sigmoid(A) and the lesion's share inside the body, over all
    slices together, so that one threshold fits them all. It is to the lesion what coverage is to
    the body (g = (1 - mean a) - p), and with attention elsewhere it falls: if a is the same
    everywhere, overlap is at most the root of the share of the body that (hard) lesions fill.

    p : share that may go amiss, in (0, 1).
    """

    more_slack: ClassVar[str] = "a larger p"

    def __init__(self, *, p: float = 0.3) -> None:
        if not 0 < p < 1:
            raise ValueError(f"p is {p}, legal is 0 < p < 1")
        self.p = p

    @property
    def lowest(self) -> float:
        return -self.p

    def _violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " n"]:
        overlap = soft_dice((attention * inside)[:, None], (lesion * inside)[:, None])
        return (1 - overlap - self.p)[None]


class SurpriseContrast(Contrast):
    """Attention tells where lesions are: g = (surprise - bound) / bound, one value a batch.

    surprise is the mean over the body's pixels, of all slices together, of the cross-entropy in
    nats between "lesion", whose logit A is, and the lesion's share. Every pixel counts alike, those
    of small lesions, too, and none earns anything below 0: it is to `OverlapContrast` what
    pixelwise equality is to coverage.

    bound : nats per pixel, > 0. Soft outlines have a surprise of their own, which no attention can
    take away.
    """

    squashed: ClassVar[bool] = False
    more_slack: ClassVar[str] = "a larger bound"

    def __init__(self, *, bound: float = 0.1) -> None:
        if not bound > 0:
            raise ValueError(f"bound is {bound}, legal is bound > 0")
        self.bound = bound

    @property
    def lowest(self) -> float:
        return -1.0

    def _violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " n"]:
        surprise = surprise_of(attention[:, None], lesion[:, None], inside[:, None])
        return (surprise / self.bound - 1)[None]


class MarginContrast(Contrast):
    """Attention in a lesion is above that of normal tissue by a margin, one value a slice with one.

    g = 1 - (low - high) / margin. low is a soft minimum of the attention A over the lesion, high a
    soft maximum over the normal tissue of all slices together, so that a lesion stands out from
    whatever is normal in any slice. With softness s they are

        low = -s log mean exp(-A / s),  high = s log mean exp(A / s),

    the means over pixels: neither grows with the number of pixels. g does not change when the same
    number is added to A everywhere, so that coverage may hold attention wherever it wants to.
    Pixels of a soft outline count as neither.

    margin : in units of A, > 0. softness : in units of A, > 0; small looks at the worst pixels
    alone, large at the means of both.
    """

    squashed: ClassVar[bool] = False
    more_slack: ClassVar[str] = "a smaller margin"

    def __init__(self, *, margin: float = 5.0, softness: float = 1.5) -> None:
        if not margin > 0:
            raise ValueError(f"margin is {margin}, legal is margin > 0")
        if not softness > 0:
            raise ValueError(f"softness is {softness}, legal is softness > 0")
        self.margin = margin
        self.softness = softness

    @property
    def lowest(self) -> float:
        return -math.inf

    def _violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Float[Tensor, "b H W"],
        inside: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " n"]:
        odd, normal = inside & (lesion > _LESION), normal_part(lesion, inside)
        there = odd.flatten(1).any(dim=1) & normal.any()
        if not there.any():
            return attention.new_zeros(0)
        low = -self._soft_maximum(-attention[there].flatten(1), odd[there].flatten(1))
        high = self._soft_maximum(attention.flatten()[None], normal.flatten()[None])
        return 1 - (low - high) / self.margin

    def _soft_maximum(
        self, values: Float[Tensor, "k n"], counted: Bool[Tensor, "k n"]
    ) -> Float[Tensor, " k"]:
        scaled = (values / self.softness).masked_fill(~counted, -float("inf"))
        return self.softness * (scaled.logsumexp(dim=1) - counted.sum(dim=1).log())


def normal_part(
    lesion: Float[Tensor, "b H W"], inside: Bool[Tensor, "b H W"]
) -> Bool[Tensor, "b H W"]:
    """Return the pixels of the body with next to nothing of a lesion."""
    return inside & (lesion < _NORMAL)


CONTRASTS: Final[dict[str, type[Contrast]]] = {
    "overlap": OverlapContrast,
    "surprise": SurpriseContrast,
    "margin": MarginContrast,
}
