"""How surprising a value would be among normal ones: one scale for maps of any unit.

Axes: n values, k knots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Steps of surprisal between the smallest normal value and the largest.
_KNOTS: Final = 129
# A sample of this many values tells tails apart down to a share of one in a million: 4 MB.
_SAMPLE: Final = 2**20
# So many values tell the scale of their tail to a tenth.
_TAIL: Final = 100


class Surprisal(nn.Module):
    """s(x) = -log(1 - F(x)) in nats, F the empirical distribution of normal values.

    0 at or below the smallest normal value, log 2 at the median, 3 where one normal value in 20
    lies above; on normal values themselves it is exponential with mean 1. Non-decreasing, and
    strictly increasing wherever normal values lie and beyond them.

    F is kept as quantiles at equal steps of s, which is densely in the upper tail, up to s = log n
    of the n values it was taken from; more they cannot tell. Beyond, s goes on as a straight line,
    the tail of an exponential distribution fitted to the hundred largest values, so that what is
    odder than every normal value keeps its rank. Before any value is noted, s is max(x, 0).
    """

    knots: Tensor
    levels: Tensor
    tail_rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        start = torch.linspace(0, math.log(_SAMPLE), _KNOTS)
        self.register_buffer("knots", start.clone())
        self.register_buffer("levels", start)
        self.register_buffer("tail_rate", torch.ones(()))

    def note(self, values: Iterable[Tensor], total: int) -> None:
        """Take the distribution from chunks (n,) of normal values, `total` of them in all.

        At most about a million are kept: every second, third, ... of all, in their order. None at
        all leaves everything as it was.
        """
        stride = max(-(-total // _SAMPLE), 1)
        kept, passed = [], 0
        for chunk in values:
            kept.append(chunk[-passed % stride :: stride])
            passed += len(chunk)
        if not passed:
            return
        ordered = torch.cat(kept).double().sort().values
        n = len(ordered)
        levels = torch.linspace(0, max(math.log(n), 1.0), _KNOTS).to(ordered)
        # The value that a share exp(-s) of the others reaches, between two where it is not one.
        position = ((1 - torch.exp(-levels)) * n).clamp(0, n - 1)
        below = position.floor().long()
        above = (below + 1).clamp_max(n - 1)
        self.knots.copy_(torch.lerp(ordered[below], ordered[above], position - below))
        self.levels.copy_(levels)
        self.tail_rate.copy_(_exponential_rate(ordered))

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the surprisal of values, in nats, 0 or more."""
        knots, levels = self.knots.to(values), self.levels.to(values)
        # right: at a value that many normals share, F counts all of them.
        above = torch.searchsorted(knots, values.contiguous(), right=True)
        above = above.clamp(1, _KNOTS - 1)
        below = above - 1
        step = (knots[above] - knots[below]).clamp_min(torch.finfo(values.dtype).tiny)
        share = ((values - knots[below]) / step).clamp(0, 1)
        share = torch.where(values >= knots[above], torch.ones_like(share), share)
        within = torch.lerp(levels[below], levels[above], share)
        return within + (values - knots[-1]).clamp_min(0) * self.tail_rate.to(values)

    def share_below(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return F(x), the share of normal values at or below, in [0, 1]."""
        return -torch.expm1(-self(values))


def _exponential_rate(ordered: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the rate of an exponential tail, 1 over the mean excess, in nats per unit.

    Of the largest values; where these are all alike, of all; and where all are alike, 1.

    >>> _exponential_rate(torch.tensor([0.0, 1.0, 2.0, 8.0])).item()
    0.25
    """
    n = len(ordered)
    for count in (min(_TAIL, n // 2), n - 1):
        excess = (ordered[n - count :] - ordered[n - count - 1]).mean() if count else ordered[0] * 0
        if excess > 0:
            return 1 / excess
    return torch.ones_like(ordered[0])
