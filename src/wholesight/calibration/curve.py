"""What share of a scan's body lies above each level, in a few kilobytes however large the scan.

Of a scan's values in falling order only some ranks are kept: each of the first 256, then every one
that is 1 % further down. Between two kept ranks the share is taken to be the larger one, so it is
never too low, and at most 1 % of itself too high. Each scan is rounded by itself, whatever the
other scans are; so what is exchangeable between scans stays so, and a promise that holds for the
rounded share holds for the true one.

Axes: n voxels of a body, k kept ranks, c counts, one more than kept ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int64

_ONE_BY_ONE: Final = 256
_STEP: Final = 1.01
# A share is a quotient of whole numbers; this much below the next one is rounding.
_ROUNDING: Final = 1e-9
# The ranks that are kept of any number of voxels, up to a million times a million of them.
_FURTHER: Final = np.arange(1, int(np.log(1e12 / _ONE_BY_ONE) / np.log(_STEP)))
_RANKS: Final = np.concatenate(
    [
        np.arange(1, _ONE_BY_ONE + 1),
        np.floor(_ONE_BY_ONE * _STEP**_FURTHER).astype(np.int64),
    ]
)


def kept_ranks(voxels: int) -> Int64[np.ndarray, " k"]:
    """Return the ranks, counted from 1, whose values are kept of that many: first and last, always.

    >>> kept_ranks(3)
    array([1, 2, 3])
    >>> kept_ranks(10_000_000).size
    1319
    """
    return np.append(_RANKS[: np.searchsorted(_RANKS, voxels)], voxels)


def counts_above(voxels: int) -> Int64[np.ndarray, " c"]:
    """Return how many voxels at most lie above a level, for 0, 1, ... kept values above it."""
    return np.append(kept_ranks(voxels) - 1, voxels)


@dataclass(frozen=True, eq=False)
class Curve:
    """The values at the kept ranks of one body.

    levels : (k,) in falling order, higher = odder. voxels : how many the body has, at least 1.
    """

    levels: Float32[np.ndarray, " k"]
    voxels: int

    @classmethod
    def of(cls, values: Float[np.ndarray, " n"]) -> Curve:
        """Summarise a body's map values, in any order. Raises ValueError for none, or NaN."""
        if not values.size or not np.isfinite(values).all():
            raise ValueError("a body needs at least one value, and every value finite")
        falling = np.sort(np.asarray(values, np.float32))[::-1]
        return cls(falling[kept_ranks(values.size) - 1], values.size)

    @property
    def maximum(self) -> float:
        """The body's highest value."""
        return float(self.levels[0])

    def share_above(self, level: float) -> float:
        """Return the share of the body strictly above a level; at most 1 % of itself too high.

        >>> Curve.of(np.arange(100.0)).share_above(94.5)
        0.05
        """
        above = int((-self.levels).searchsorted(-level, side="left"))
        if above == self.levels.size:
            return 1.0
        # All before the first kept value that is not above; `counts_above` without the others.
        rank = self.voxels if above == self.levels.size - 1 else int(_RANKS[above])
        return (rank - 1) / self.voxels

    def level_leaving(self, share: float) -> float:
        """Return the lowest kept level with at most this share of the body above it.

        0 gives the maximum.

        >>> Curve.of(np.arange(100.0)).level_leaving(0.05)
        94.0
        """
        allowed = share * self.voxels + _ROUNDING
        kept = np.searchsorted(counts_above(self.voxels), allowed, side="right") - 1
        return float(self.levels[min(kept, self.levels.size - 1)])
