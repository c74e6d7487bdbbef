"""A histogram over scores whose bins may be divided while it is being filled.

Axes: b bins, with rising scores.
"""

from __future__ import annotations

import numpy as np

from wholesight.metrics.grid import Batch, Counted, Edges
from wholesight.metrics.rank_error import Bins


class Histogram:
    """Counts of lesion and other pixels by bin, and the lowest and highest score in each."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._counts = np.zeros((3, edges.size))  # lesion, other, region shares
        # Of these (lesion, other), what was counted before its bin was divided ...
        self._stray = np.zeros((2, edges.size))
        # ... and the edge that it lies under.
        self._reach = edges
        self._lowest = np.full(edges.size, np.inf, np.float32)
        self._highest = np.full(edges.size, -np.inf, np.float32)

    @property
    def counted(self) -> Counted:
        """All that was added so far."""
        return Counted(*self._counts)

    def add(self, batch: Batch, counted: Counted) -> None:
        """Add a batch. counted : the batch on this histogram's edges."""
        self._counts += counted
        for rising, counts in zip(batch[:2], counted[:2], strict=True):
            filled = np.flatnonzero(counts)
            end = np.cumsum(counts)[filled]
            first, last = rising[end - counts[filled]], rising[end - 1]
            self._lowest[filled] = np.minimum(self._lowest[filled], first)
            self._highest[filled] = np.maximum(self._highest[filled], last)

    def divide(self, edges: Edges) -> None:
        """Go over to finer edges. What is in a bin that is divided stays in its lowest part."""
        old = np.searchsorted(edges, self._edges)
        divided = np.diff(old, append=edges.size) > 1
        stray = divided & self._counts[:2].any(axis=0)
        upper = np.append(self._edges[1:], np.float32(np.inf))
        reach = np.where(stray, np.maximum(self._reach, upper), self._reach)
        # The lowest score may belong above; the edge is under all that will be in its bin.
        lowest = np.where(stray, self._edges, self._lowest)
        strays = np.where(stray, self._counts[:2], self._stray)

        self._counts = _spread(self._counts, old, np.zeros(edges.size))
        self._stray = _spread(strays, old, np.zeros(edges.size))
        self._reach = _spread(reach, old, edges)
        self._lowest = _spread(lowest, old, np.full_like(edges, np.inf))
        self._highest = _spread(self._highest, old, np.full_like(edges, -np.inf))
        self._edges = edges

    def bins(self) -> Bins:
        """Return every bin, the empty ones too."""
        stray = self._stray.any(axis=0)
        last = np.searchsorted(self._edges, self._reach, side="left") - 1
        return Bins(
            *self._counts,
            *self._stray,
            lowest=self._lowest,
            tied=(self._lowest == self._highest) & ~stray,
            last=np.where(stray, last, np.arange(self._edges.size)),
        )


def _spread(values: np.ndarray, at: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Put the values of old bins (.., b) where they begin among the new ones (empty,)."""
    spread = np.tile(empty, (*values.shape[:-1], 1)) if values.ndim > 1 else empty.copy()
    spread[..., at] = values
    return spread
