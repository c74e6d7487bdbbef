"""What share of many bodies lies above each level, all of them together.

Only the few levels around the one that is looked for are sorted: of 10,000 bodies all levels
together are 13 million.

Axes: k kept levels of all curves together, near the one looked for; g groups of curves (a subject's
scans).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from wholesight.calibration.curve import Curve, counts_above

# Sums of shares are compared with this much room for rounding.
_ROUNDING: Final = 1e-9

Weighted = tuple[Curve, float]


class Pooled:
    """The weighted sum of shares S(level) = sum_i w_i r_i(level), r_i of `Curve.share_above`.

    groups : the curves of each group; weights : one for each curve, in the same shape.
    """

    def __init__(
        self, groups: Sequence[Sequence[Curve]], weights: Sequence[Sequence[float]]
    ) -> None:
        self.groups = [
            list(zip(curves, shares, strict=True))
            for curves, shares in zip(groups, weights, strict=True)
        ]
        self._all = [pair for pairs in self.groups for pair in pairs]

    def sum_above(self, level: float) -> float:
        """Return S(level)."""
        return _sum_above(self._all, level)

    def level_leaving(self, budget: float) -> float:
        """Return the lowest level that some curve keeps with S(level) <= budget, budget >= 0."""
        near = self._near(budget, budget)
        return near.level(near.last_within(budget))

    def levels_without_each(self, budgets: Float[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
        """Return, for each group, the lowest level with S without that group <= its budget.

        It is a level that one of the other groups keeps, unless their lowest one leaves the budget,
        too: between two of theirs, S without the group does not change.
        """
        own = [sum(weight for _, weight in pairs) for pairs in self.groups]
        near = self._near(float(budgets.min()), float((budgets + own).max()))
        each = zip(self.groups, budgets.tolist(), own, strict=True)
        return np.array([_without(pairs, near, budget, most) for pairs, budget, most in each])

    def _near(self, least: float, most: float) -> _Near:
        """Return the levels with S from the last that is at most `least` to one above `most`."""
        total = sum(weight for _, weight in self._all)
        # Each body's own answer. The highest of them leaves the budget, and nearly all are close.
        falling = sorted(
            {curve.level_leaving(sum_ / total) for curve, _ in self._all for sum_ in {least, most}},
            reverse=True,
        )
        above = bisect_right(falling, least + _ROUNDING, key=self.sum_above)
        # Each look at all curves takes a while, and a threshold has one budget.
        below = (
            above
            if most == least
            else bisect_right(falling, most + _ROUNDING, lo=above, key=self.sum_above)
        )
        top = falling[above - 1] if above else math.inf
        bottom = falling[below] if below < len(falling) else -math.inf
        return _Near.of(self._all, top, bottom)


class _Near(NamedTuple):
    """The kept levels of all curves in some range.

    rising : (k,) the levels negated, so that they rise and numpy can search in them. above : (k,) S
    just above each; of equal levels, that of the last counts the others.
    """

    rising: Float[np.ndarray, " k"]
    above: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, pairs: Sequence[Weighted], top: float, bottom: float) -> _Near:
        """Gather what the curves keep from top down to bottom, both included."""
        parts = [_part(curve, weight, top, bottom) for curve, weight in pairs]
        rising, steps = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(rising)
        higher = np.concatenate([[0.0], np.cumsum(steps[order])[:-1]])
        return cls(rising[order], _sum_above(pairs, top) + higher)

    def level(self, at: int) -> float:
        """Return a level by its place."""
        return float(-self.rising[at])

    def last_within(self, budget: float) -> int:
        """Return the place of the lowest level that leaves the budget."""
        return max(0, int(self.above.searchsorted(budget + _ROUNDING, side="right")) - 1)


def _part(
    curve: Curve, weight: float, top: float, bottom: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return a curve's levels in a range, negated, and by how much S rises below each."""
    rising = -curve.levels.astype(np.float64)
    start, stop = rising.searchsorted(-top, "left"), rising.searchsorted(-bottom, "right")
    counts = counts_above(curve.voxels)[start : stop + 1]
    return rising[start:stop], np.diff(counts) * (weight / curve.voxels)


def _without(pairs: Sequence[Weighted], near: _Near, budget: float, own: float) -> float:
    """Return the lowest level near by with S without these pairs <= budget; they weigh `own`."""
    low, high = near.last_within(budget), near.last_within(budget + own)
    while low < high:
        middle = (low + high + 1) // 2
        level = near.level(middle)
        # Of equal levels the first has what lies above all of them.
        first = near.rising.searchsorted(-level, side="left")
        if near.above[first] - _sum_above(pairs, level) <= budget + _ROUNDING:
            low = middle
        else:
            high = middle - 1
    return near.level(low)


def _sum_above(pairs: Iterable[Weighted], level: float) -> float:
    return math.fsum(weight * curve.share_above(level) for curve, weight in pairs)
