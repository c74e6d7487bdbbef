"""Rank the pixels of a whole set, one case at a time, in constant memory.

Up to some number of pixels everything is kept and all figures are exact. Beyond it the pixels go
into a histogram whose bins are learnt from those that were kept, and the figures come with a bound
on their error that holds for every order of the pixels within a bin.

Memory does not grow with the number of pixels; it grows by about 50 kB a case, for resampling.

Axes: n pixels, l lesion pixels of one case; m thresholds from the strictest down; b coarse bins,
from the strictest down; c cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from wholesight.metrics.grid import Batch, Counted, Edges, Grid, count, joined, learnt_edges
from wholesight.metrics.histogram import Histogram
from wholesight.metrics.pro import region_steps
from wholesight.metrics.rank_error import Bins, auroc_error, average_precision_error
from wholesight.metrics.ranking import Steps, steps_of_sorted


class Pooled(NamedTuple):
    """All pixels of a set by score.

    thresholds : (m,) falling, flagged = score >= threshold; -inf for pixels known to rank last.
    steps : what each newly flags. regions : (m,) region shares newly flagged, 0 where none were
    given. exact : whether every pixel was kept. error : bounds on |AUROC error| and |average
    precision error| of `steps`; other figures of steps have no bound. case_thresholds, case_lesion,
    case_other, case_regions : (b,), (c, b) the same of every case, on coarse bins that all share;
    without bins that are empty in all cases.
    """

    thresholds: Float[np.ndarray, " m"]
    steps: Steps
    regions: Float[np.ndarray, " m"]
    exact: bool
    error: tuple[float, float]
    case_thresholds: Float[np.ndarray, " b"]
    case_lesion: Int[np.ndarray, "c b"]
    case_other: Int[np.ndarray, "c b"]
    case_regions: Float[np.ndarray, "c b"]


class Pool:
    """Takes one case at a time.

    exact_up_to : pixels that are kept, at 4 bytes each. bins : of the histogram beyond. coarse :
    bins of the cases' own histograms.
    """

    def __init__(self, *, exact_up_to: int = 2**24, bins: int = 2**16, coarse: int = 2**12) -> None:
        if not 64 <= coarse <= bins:
            raise ValueError(f"{coarse} coarse bins of {bins}: at least 64, at most all of them")
        self._exact_up_to, self._bins, self._coarse = exact_up_to, bins, coarse
        self._kept: list[Batch] = []
        self._kept_pixels = 0
        self._streaming: _Streaming | None = None
        self._below: list[tuple[int, int]] = []

    def add(
        self,
        scores: Float[np.ndarray, " n"],
        truth: Bool[np.ndarray, " n"],
        *,
        region_share: Float[np.ndarray, " l"] | None = None,
        below: tuple[int, int] = (0, 0),
    ) -> None:
        """Count one case.

        scores : higher = odder, held as float32. region_share : 1 / size of the region of each
        lesion pixel, in the order of scores[truth]. below : (lesion, other) pixels that rank under
        every pixel with a score, as air outside the body does; they have no region.

        Raises ValueError when shapes differ or a score is NaN, which has no rank.
        """
        if scores.shape != truth.shape:
            raise ValueError(f"scores {scores.shape} for truth {truth.shape}")
        if np.isnan(scores).any():
            raise ValueError("scores hold NaN, which has no rank")
        truth = truth.astype(bool)
        if region_share is not None and region_share.shape != (int(truth.sum()),):
            raise ValueError(f"region shares {region_share.shape} for {truth.sum()} lesion pixels")
        self._below.append(below)
        batch = Batch.of(scores.astype(np.float32, copy=False), truth, region_share)
        if self._streaming is not None:
            self._streaming.add(batch)
            return
        self._kept.append(batch)
        self._kept_pixels += scores.size
        if self._kept_pixels > self._exact_up_to:
            self._streaming = _Streaming(self._kept, bins=self._bins, coarse=self._coarse)
            self._kept = []

    def close(self) -> Pooled:
        """Sum up. The pool cannot be used afterwards."""
        below = np.array(self._below, dtype=np.int64).reshape(-1, 2)
        streaming = self._streaming
        if streaming is None:
            bins = _exact_bins(self._kept)
            edges = np.union1d(
                np.array([-np.inf], np.float32), learnt_edges(self._kept, self._coarse - 1)
            )
            cases = [count(batch, edges).compact() for batch in self._kept]
        else:
            bins, (edges, cases) = streaming.histogram.bins(), streaming.cases()
        bins = bins.above(*below.sum(axis=0)) if below.any() else bins
        filled = (bins.lesion + bins.other > 0)[::-1]
        return Pooled(
            bins.lowest[::-1][filled],
            Steps(*(kind[filled] for kind in bins.steps())),
            bins.regions[::-1][filled],
            streaming is None,
            (auroc_error(bins), average_precision_error(bins)) if streaming else (0.0, 0.0),
            *_of_cases(cases, edges, below),
        )


class _Streaming:
    """The pool beyond what it can keep: a fine histogram of all, a coarse one of every case."""

    def __init__(self, kept: list[Batch], *, bins: int, coarse: int) -> None:
        self._fine = Grid(kept, bins=bins)
        self._coarse = Grid(kept, bins=coarse, within=self._fine.edges)
        self.histogram = Histogram(self._fine.edges)
        self._cases: list[tuple[Edges, Counted]] = []
        for batch in kept:
            self.add(batch)

    def add(self, batch: Batch) -> None:
        """Count one case, on bins that are divided first where it needs it."""
        before, counted = self.histogram.counted, count(batch, self._fine.edges)
        if self._fine.refine(batch, counted, before):
            self.histogram.divide(self._fine.edges)
            before, counted = self.histogram.counted, count(batch, self._fine.edges)
        self._cases.append(self._coarsely(batch, counted, before))
        self.histogram.add(batch, counted)

    def _coarsely(self, batch: Batch, counted: Counted, before: Counted) -> tuple[Edges, Counted]:
        fine, coarse = self._fine.edges, self._coarse.edges
        merged = counted.merged(fine, coarse)
        if self._coarse.refine(batch, merged, before.merged(fine, coarse), within=fine):
            merged = counted.merged(fine, self._coarse.edges)
        return self._coarse.edges, merged.compact()

    def cases(self) -> tuple[Edges, list[Counted]]:
        """Bring all cases onto the final coarse edges."""
        edges = self._coarse.edges
        return edges, [counted.divided(before, edges) for before, counted in self._cases]


def _exact_bins(kept: Sequence[Batch]) -> Bins:
    """Give every step a bin of its own."""
    lesion, other = joined(kept)
    thresholds, steps = steps_of_sorted(lesion=lesion, other=other)
    regions = np.zeros(thresholds.size)
    for batch in kept:
        if batch.shares is not None:
            regions += region_steps(thresholds, batch.lesion, batch.shares)
    none = np.zeros(thresholds.size)
    rising = (part[::-1] for part in (*steps, regions, none, none, thresholds))
    return Bins(*rising, tied=none == 0, last=np.arange(none.size))


def _of_cases(
    cases: Sequence[Counted], edges: Edges, below: Int[np.ndarray, "c 2"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stack the cases' histograms, the strictest bin first, without bins that all leave empty."""
    nothing = Counted(*(np.zeros((0, edges.size), kind) for kind in (int, int, float)))
    kinds = [np.stack(kind) for kind in zip(*cases, strict=True)] if cases else nothing
    air = *below.T, np.zeros(len(below))
    lesion, other, regions = (
        np.column_stack([kind[:, ::-1], last]) for kind, last in zip(kinds, air, strict=True)
    )
    filled = lesion.any(axis=0) | other.any(axis=0)
    thresholds = np.append(edges[::-1], -np.inf)
    return thresholds[filled], lesion[:, filled], other[:, filled], regions[:, filled]
