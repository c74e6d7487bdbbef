"""What share of many bodies lies above each level, all of them together, in one sort.

Axes: k kept levels of all curves together, g groups of curves (a subject's scans).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from wholesight.calibration.curve import Curve, counts_above

# Sums of shares are compared with this much room for rounding.
_ROUNDING = 1e-9


class Pooled:
    """The weighted sum of shares S(level) = sum_i w_i r_i(level), r_i of `Curve.share_above`.

    groups : the curves of each group; weights : one for each curve, in the same shape.
    """

    def __init__(
        self, groups: Sequence[Sequence[Curve]], weights: Sequence[Sequence[float]]
    ) -> None:
        self.groups = groups
        self.weights = weights
        pairs = [
            pair
            for curves, shares in zip(groups, weights, strict=True)
            for pair in zip(curves, shares, strict=True)
        ]
        # Negated, so that they rise and numpy can search in them.
        negated = -np.concatenate([curve.levels for curve, _ in pairs])
        steps = np.concatenate(
            [np.diff(counts_above(curve.voxels)) * (w / curve.voxels) for curve, w in pairs]
        )
        order = np.argsort(negated)
        # In double precision, or every search for a double would first convert all of it.
        self._negated = negated[order].astype(np.float64)
        # S just above the k-th level from the top, for k = 0, 1, ...
        self._above = np.zeros(steps.size + 1)
        np.cumsum(steps[order], out=self._above[1:])

    def sum_above(self, level: float) -> float:
        """Return S(level)."""
        return float(self._above[np.searchsorted(self._negated, -level, side="left")])

    def level_leaving(self, budget: float) -> float:
        """Return the lowest level that some curve keeps with S(level) <= budget, budget >= 0."""
        at = np.searchsorted(self._above, budget + _ROUNDING, side="right") - 1
        return float(-self._negated[min(at, self._negated.size - 1)])

    def levels_without_each(self, budgets: Float[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
        """Return, for each group, the lowest level with S without that group <= its budget.

        Only levels that some curve keeps, those of the group itself too, which differ from the
        others' by less than one step of S.
        """
        return np.array([self._without(*each) for each in enumerate(budgets)])

    def _without(self, group: int, budget: float) -> float:
        pairs = list(zip(self.groups[group], self.weights[group], strict=True))
        all_of_it = sum(weight for _, weight in pairs)
        low, high = (
            np.searchsorted(self._above, allowed + _ROUNDING, side="right") - 1
            for allowed in (budget, budget + all_of_it)
        )
        high = min(high, self._negated.size - 1)
        low = min(low, high)
        while low < high:
            middle = (low + high + 1) // 2
            level = float(-self._negated[middle])
            own = sum(weight * curve.share_above(level) for curve, weight in pairs)
            if self.sum_above(level) - own <= budget + _ROUNDING:
                low = middle
            else:
                high = middle - 1
        return float(-self._negated[low])
