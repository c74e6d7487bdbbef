"""Bins of scores that are learnt, and divided where that turns out to be too coarse.

Bins are half open, [edge, next edge), the last one closed; edges are float32 and the first is
-inf, so every score but NaN has a bin.

Axes: l lesion pixels, o other pixels, b bins; all with rising scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Edges = Float[np.ndarray, " b"]

# Of all bins an eighth covers every float there is, half are learnt from the first pixels, and the
# rest waits for pixels that lie elsewhere.
_GENERIC, _LEARNT = 1 / 8, 1 / 2
# A bin is too coarse when its risk (see `_risk`) is this many times 1 / bins^2. On a grid that fits
# its pixels a bin has some tens.
_TOO_MUCH_RISK = 600.0
# More pixels like those of a new batch are expected, until they are this share of all.
_EXPECTED_SHARE = 1 / 4


class Batch(NamedTuple):
    """Pixels by kind. lesion, other : rising scores. shares : (l,) region shares, or None."""

    lesion: Float[np.ndarray, " l"]
    other: Float[np.ndarray, " o"]
    shares: Float[np.ndarray, " l"] | None

    @classmethod
    def of(
        cls,
        scores: Float[np.ndarray, " n"],
        truth: Bool[np.ndarray, " n"],
        shares: Float[np.ndarray, " l"] | None,
    ) -> Batch:
        """Sort pixels. shares : in the order of scores[truth]."""
        lesion = scores[truth]
        order = np.argsort(lesion)
        shares = None if shares is None else shares[order].astype(np.float32)
        return cls(lesion[order], np.sort(scores[~truth]), shares)


def joined(batches: Sequence[Batch]) -> tuple[Float[np.ndarray, " l"], Float[np.ndarray, " o"]]:
    """Return the rising scores of all lesion and of all other pixels."""
    if len(batches) == 1:
        return batches[0].lesion, batches[0].other
    nothing = Batch(np.empty(0, np.float32), np.empty(0, np.float32), None)
    lesions, others, _ = zip(nothing, *batches, strict=True)
    return np.sort(np.concatenate(lesions)), np.sort(np.concatenate(others))


class Counted(NamedTuple):
    """What a batch puts into each bin. regions : sums of region shares."""

    lesion: Int[np.ndarray, " b"]
    other: Int[np.ndarray, " b"]
    regions: Float[np.ndarray, " b"]

    def merged(self, edges: Edges, coarse: Edges) -> Counted:
        """Add bins up to coarser ones, whose edges are among the finer `edges`."""
        first = np.searchsorted(edges, coarse)
        return Counted(*(np.add.reduceat(kind, first) for kind in self))

    def divided(self, edges: Edges, finer: Edges) -> Counted:
        """Go over to finer edges; what is in a bin that is divided stays in its lowest part."""
        if edges.size == finer.size:
            return self
        at = np.searchsorted(finer, edges)
        parts = [np.zeros(finer.size, kind.dtype) for kind in self]
        for part, kind in zip(parts, self, strict=True):
            part[at] = kind
        return Counted(*parts)

    def compact(self) -> Counted:
        """Use half the memory; a bin of one case never holds 2^31 pixels."""
        return Counted(
            self.lesion.astype(np.int32),
            self.other.astype(np.int32),
            self.regions.astype(np.float32),
        )


def count(batch: Batch, edges: Edges) -> Counted:
    """Count a batch by bin. Pixels are sorted, so only the edges are looked up."""
    cuts = np.append(np.searchsorted(batch.lesion, edges), batch.lesion.size)
    regions = np.zeros(edges.size)
    if batch.shares is not None:
        reached = np.concatenate([[0.0], np.cumsum(batch.shares, dtype=float)])
        regions = np.diff(reached[cuts])
    others = np.diff(np.searchsorted(batch.other, edges), append=batch.other.size)
    return Counted(np.diff(cuts), others, regions)


class Grid:
    """Bin edges that put resolution where the pixels are.

    batches : the pixels to learn from. bins : how many bins there may ever be. within : take only
    edges that are among these.
    """

    def __init__(self, batches: Sequence[Batch], *, bins: int, within: Edges | None = None) -> None:
        self._bins = bins
        learnt = learnt_edges(batches, int(bins * _LEARNT))
        edges = np.union1d(_generic_edges(int(bins * _GENERIC)), learnt)
        self.edges: Edges = _snapped(edges, within)

    def refine(
        self, batch: Batch, counted: Counted, before: Counted, within: Edges | None = None
    ) -> bool:
        """Divide the bins that are too coarse for a batch; says whether there were any.

        counted, before : the batch, and all that came before it, on this grid. Half of the spare
        bins at most are spent, so that some always remain.
        """
        spare = (self._bins - self.edges.size) // 2
        coarse = self._too_coarse(counted, before)
        if not coarse.any() or not spare:
            return False
        candidates = _snapped(learnt_edges([batch], spare), within)
        home = np.searchsorted(self.edges, candidates, side="right") - 1
        was = self.edges.size
        self.edges = np.union1d(self.edges, candidates[coarse[home]])
        return self.edges.size > was

    def _too_coarse(self, counted: Counted, before: Counted) -> Bool[np.ndarray, " b"]:
        new, old = counted.lesion + counted.other, before.lesion + before.other
        weight = max(1.0, _EXPECTED_SHARE * old.sum() / max(new.sum(), 1))
        risk = _risk(before.lesion + weight * counted.lesion, before.other + weight * counted.other)
        # A bin that is full already is better left: what is in it cannot be divided any more. A bin
        # of a single float is a tie.
        divisible = weight * new >= old
        divisible &= _next_float(self.edges) < np.append(self.edges[1:], 0)
        return divisible & (risk > _TOO_MUCH_RISK / self._bins**2)


def _risk(lesion: Float[np.ndarray, " b"], other: Float[np.ndarray, " b"]) -> np.ndarray:
    """Say how much average precision may depend on the order within each bin.

    Share of the lesion in the bin x what share the bin has of all pixels from it upwards, by which
    precision may move. AUROC depends on it less. Other pixels take the part of lesion ones where
    they are the larger share: a lesion may be yet to come.
    """
    pixels = lesion + other
    reached = np.cumsum(pixels[::-1])[::-1]
    share = np.maximum(lesion / max(lesion.sum(), 1), other / max(other.sum(), 1))
    return share * pixels / np.maximum(reached, 1)


def learnt_edges(batches: Sequence[Batch], number: int) -> Edges:
    """Choose at most `number` edges, so that bins are small where the pixels are.

    A bin of its own for every distinct score if there are few; else quantiles of both kinds.
    """
    kinds = joined(batches)
    distinct = np.unique(np.concatenate([_distinct(rising) for rising in kinds]))
    if 2 * distinct.size <= number:
        return np.union1d(distinct, _next_float(distinct))
    chosen = np.concatenate([_upper_quantiles(rising, number // 2) for rising in kinds])
    values, picks = np.unique(chosen, return_counts=True)
    # A score that many pixels share gets a bin of its own, one float wide.
    return np.union1d(values, _next_float(values[picks > 1]))


def _upper_quantiles(rising: Float[np.ndarray, " n"], number: int) -> Float[np.ndarray, " q"]:
    """Take quantiles that get denser towards the highest scores: even in the root of the rank.

    Precision is a matter of the few highest scores: an error of k pixels among the r highest moves
    it by about k / r. With bins that grow as the root of r, these errors add up to the least.
    """
    if not rising.size:
        return rising
    rank = (np.linspace(0, 1, number) ** 2 * (rising.size - 1)).astype(np.int64)
    return rising[rising.size - 1 - rank]


def _generic_edges(number: int) -> Edges:
    """Divide all floats into about `number` bins of equal numbers of floats: a share of an octave.

    The bits of a positive float, read as a whole number, rise with it.
    """
    infinity = int(np.float32(np.inf).view(np.int32))
    step = 1 << int(np.ceil(np.log2(2 * infinity / max(number - 4, 2))))
    bits = np.append(np.arange(0, infinity, step), infinity).astype(np.int32)
    positive = bits.view(np.float32)
    lowest_finite = np.finfo(np.float32).min
    return np.unique(np.concatenate([-positive, [lowest_finite], positive]).astype(np.float32))


def _next_float(values: Edges) -> Edges:
    with np.errstate(over="ignore"):  # what comes after the largest float is infinity
        return np.nextafter(values, np.float32(np.inf))


def _distinct(rising: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    return rising[np.append(rising[1:] != rising[:-1], True)] if rising.size else rising


def _snapped(edges: Edges, within: Edges | None) -> Edges:
    if within is None:
        return edges
    return np.unique(within[np.searchsorted(within, edges).clip(max=within.size - 1)])
