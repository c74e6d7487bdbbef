"""What share of many bodies lies above each level, all of them together.

Axes: k kept levels of all curves together, or those of them near the one looked for; g groups of
curves (a subject's scans).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

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
        # S is worked out anew at each level tried: sums at all of 10,000 bodies' 13 million levels
        # would take longer, and a hundred bytes each.
        within = bisect_right(
            self._rising, budget + _ROUNDING, key=lambda negated: self.sum_above(-float(negated))
        )
        return -float(self._rising[within - 1])

    def levels_without_each(self, budgets: Float[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
        """Return, for each group, the lowest level with S without that group <= its budget.

        It is a level that one of the other groups keeps, unless their lowest one leaves the budget,
        too: between two of theirs, S without the group does not change.
        """
        own = [sum(weight for _, weight in pairs) for pairs in self.groups]
        top = self.level_leaving(float(budgets.min()))
        bottom = self.level_leaving(float((budgets + own).max()))
        near = _Near.of(self._all, top, bottom)
        each = zip(self.groups, budgets.tolist(), strict=True)
        return np.array([near.level_without(pairs, budget) for pairs, budget in each])

    @cached_property
    def _rising(self) -> Float32[np.ndarray, " k"]:
        """All kept levels negated, so that they rise, as searching expects."""
        rising = -np.concatenate([curve.levels for curve, _ in self._all])
        rising.sort()
        return rising


class _Near(NamedTuple):
    """What all curves keep in some range: (k,) falling levels, no two alike, and S above each."""

    levels: Float[np.ndarray, " k"]
    above: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, pairs: Sequence[Weighted], top: float, bottom: float) -> _Near:
        """Gather what the curves keep from top down to bottom, both included."""
        parts = [_part(curve, weight, top, bottom) for curve, weight in pairs]
        rising, steps = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(rising)
        higher = np.concatenate([[0.0], np.cumsum(steps[order])[:-1]])
        unique, first = np.unique(rising[order], return_index=True)
        return cls(-unique, _sum_above(pairs, top) + higher[first])

    def level_without(self, pairs: Sequence[Weighted], budget: float) -> float:
        """Return the lowest level with S without these pairs <= budget."""
        within = bisect_right(
            range(self.levels.size),
            budget + _ROUNDING,
            key=lambda at: self.above[at] - _sum_above(pairs, self.levels[at]),
        )
        return float(self.levels[within - 1])


def _part(
    curve: Curve, weight: float, top: float, bottom: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return a curve's levels in a range, negated, and by how much S rises below each."""
    rising = -curve.levels.astype(np.float64)
    start, stop = rising.searchsorted(-top, "left"), rising.searchsorted(-bottom, "right")
    counts = counts_above(curve.voxels)[start : stop + 1]
    return rising[start:stop], np.diff(counts) * (weight / curve.voxels)


def _sum_above(pairs: Iterable[Weighted], level: float) -> float:
    return math.fsum(weight * curve.share_above(level) for curve, weight in pairs)
