"""Constraints on attention: violation g <= 0 is satisfied. One value a slice.

Axes: b slices, h w map pixels, i j regions. Unitless, but for `Evenness`, which is in nats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Which pixels count: all of the slice, or those of the body.
Scope = Literal["image", "body"]

# Along a side. A grid finer than the pixels of the map is no finer, and takes memory.
_MOST_REGIONS: Final = 64

# Of the pixels of a region, the share that the body has to fill for the region to count.
_LEAST_OF_A_REGION = 0.1


class Constraint(ABC):
    """An inequality on the attention of a normal slice.

    squashed : whether it takes sigmoid(A), in [0, 1], or the attention A itself.
    more_slack : what to change so that attention can satisfy it by a wider margin.
    """

    squashed: ClassVar[bool] = True
    more_slack: ClassVar[str]

    @abstractmethod
    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        """Return g, differentiable in the attention."""

    @abstractmethod
    def lowest(self, pixels: int) -> float:
        """Return the lowest g that attention over up to so many pixels can reach."""


class Coverage(Constraint):
    """Mean attention at least 1 - p: g = (1 - mean a) - p (arXiv 2109.00482, eq. of section 3).

    p : share of the field that may go unattended, in (0, 1). scope : "image" takes the mean over
    the whole slice as published, "body" inside the body. A slice without a body has g = 1 - p.
    """

    more_slack: ClassVar[str] = "a larger p"

    def __init__(self, *, p: float = 0.2, scope: Scope = "image") -> None:
        _require_share("p", p)
        self.p = p
        self.scope: Scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        return 1 - _mean(attention, _within(inside, self.scope)) - self.p

    def lowest(self, pixels: int) -> float:
        return -self.p


class QuantileCoverage(Constraint):
    """All but the darkest share q of pixels attended to: g = bound - quantile_q(a). Ours.

    A mean can be paid for: a hot spot makes up for a hole. A quantile cannot.

    q : share of pixels that may be darker, in (0, 1). bound : attention that the others must reach,
    in (0, 1). A slice without a body has g = bound, as if nothing were attended to.
    """

    more_slack: ClassVar[str] = "a lower bound"

    def __init__(self, *, q: float = 0.1, bound: float = 0.7, scope: Scope = "body") -> None:
        _require_share("q", q)
        _require_share("bound", bound)
        self.q = q
        self.bound = bound
        self.scope: Scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        within = _within(inside, self.scope).flatten(1)
        some = within.any(dim=1)
        # A slice without a body keeps all its pixels here, so that no gradient becomes nan.
        counted = within | ~some[:, None]
        values = torch.where(counted, attention.flatten(1), torch.nan)
        quantile = values.nanquantile(self.q, dim=1)
        return self.bound - torch.where(some, quantile, 0.0)

    def lowest(self, pixels: int) -> float:
        return self.bound - 1


class RegionalCoverage(Constraint):
    """Coverage of the worst region: g = max over regions of (1 - mean a) - p. Ours.

    A grid of regions x regions is laid over the body's bounding box; a region's mean is over the
    body in it. Regions of which the body fills less than a tenth are left out (all of them being
    so, the fullest counts). With scope "image" the grid lies over the whole slice.

    regions : along a side, 1 to 64. p : share of each region that may go unattended, in (0, 1).
    A slice without a body has g = 1 - p.
    """

    more_slack: ClassVar[str] = "a larger p"

    def __init__(self, *, regions: int = 4, p: float = 0.2, scope: Scope = "body") -> None:
        if not 1 <= regions <= _MOST_REGIONS:
            raise ValueError(f"regions is {regions}, legal is 1 to {_MOST_REGIONS}")
        _require_share("p", p)
        self.regions = regions
        self.p = p
        self.scope: Scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        within = _within(inside, self.scope).to(attention.dtype)
        rows = self._membership(within.any(dim=2)).to(attention.dtype)
        columns = self._membership(within.any(dim=1)).to(attention.dtype)

        def per_region(values: Tensor) -> Tensor:
            return torch.einsum("bhw,bhi,bwj->bij", values, rows, columns).flatten(1)

        count = per_region(within)
        filled = count / per_region(torch.ones_like(within)).clamp_min(1)
        least = filled.amax(dim=1, keepdim=True).clamp_max(_LEAST_OF_A_REGION)
        unattended = 1 - per_region(attention * within) / count.clamp_min(1)
        left_out = (filled < least) | (count == 0)
        worst = unattended.masked_fill(left_out, -torch.inf).amax(dim=1)
        return torch.where(count.any(dim=1), worst, 1.0) - self.p

    def lowest(self, pixels: int) -> float:
        return -self.p

    def _membership(self, occupied: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n i"]:
        """Return which rows (or columns) belong to which part of the body's extent."""
        n = occupied.shape[1]
        place = torch.arange(n, device=occupied.device)
        first = torch.where(occupied, place, n).amin(dim=1, keepdim=True)
        last = torch.where(occupied, place, -1).amax(dim=1, keepdim=True)
        extent = (last - first + 1).clamp_min(1)
        part = torch.div((place - first) * self.regions, extent, rounding_mode="floor")
        return part[:, :, None] == torch.arange(self.regions, device=occupied.device)


class Evenness(Constraint):
    """Attention spread out: g = share log n - H(softmax of A over the n pixels in scope), in nats.

    MedIA 2022 "AMCons" (arXiv 2203.01671) maximises the entropy H; with share 1, g is
    KL(softmax A || uniform), which is log n - H, so the linear penalty of weight w is w times that
    up to a constant. A is the attention itself: a sigmoid would leave nothing to spread.

    share : of the largest entropy there is, log n, that has to be reached, 0 < share <= 1.
    A slice without a body, or with one pixel of it, has g = 0: there is nothing to spread.
    """

    squashed: ClassVar[bool] = False
    more_slack: ClassVar[str] = "a smaller share"

    def __init__(self, *, share: float = 0.99, scope: Scope = "body") -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}, legal is 0 < share <= 1")
        self.share = share
        self.scope: Scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        within = _within(inside, self.scope).flatten(1)
        # The lowest number rather than -inf, which would make a nan of a slice without a body.
        lowest = torch.finfo(attention.dtype).min
        log_share = torch.where(within, attention.flatten(1), lowest).log_softmax(dim=1)
        entropy = -torch.where(within, log_share.exp() * log_share, 0.0).sum(dim=1)
        most = within.sum(dim=1).clamp_min(1).to(attention.dtype).log()
        return self.share * most - entropy

    def lowest(self, pixels: int) -> float:
        return (self.share - 1) * math.log(max(pixels, 1))


class PixelwiseEquality(Constraint):
    """Every pixel's attention is the target: g = mean |a - target|, never below 0.

    With target 1 it is the mean of 1 - a: the attention expansion loss of CAVGA (Venkataramanan et
    al., ECCV 2020, arXiv 1911.08616). No pixel may pay for another, and none may rest.

    target : attention everywhere, 0 < target <= 1. A slice without a body has g = target.
    """

    more_slack: ClassVar[str] = "another constraint"

    def __init__(self, *, target: float = 1.0, scope: Scope = "image") -> None:
        if not 0 < target <= 1:
            raise ValueError(f"target is {target}, legal is 0 < target <= 1")
        self.target = target
        self.scope: Scope = scope

    def violation(
        self, attention: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, " b"]:
        within = _within(inside, self.scope)
        some = within.flatten(1).any(dim=1)
        return torch.where(some, _mean((attention - self.target).abs(), within), self.target)

    def lowest(self, pixels: int) -> float:
        return 0.0


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}, legal is 0 < {name} < 1")


def _within(inside: Tensor, scope: Scope) -> Tensor:
    """Return the pixels that count, (b, h, w) bool."""
    return inside if scope == "body" else torch.ones_like(inside)


def _mean(values: Tensor, within: Tensor) -> Tensor:
    """Return each slice's mean over the pixels that count, (b,); 0 where none does."""
    return (values * within).sum(dim=(1, 2)) / within.sum(dim=(1, 2)).clamp_min(1)


CONSTRAINTS: Final[dict[str, type[Constraint]]] = {
    "coverage": Coverage,
    "quantile-coverage": QuantileCoverage,
    "regional-coverage": RegionalCoverage,
    "evenness": Evenness,
    "pixelwise-equality": PixelwiseEquality,
}
