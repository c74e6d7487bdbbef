"""How far a histogram's AUROC and average precision can be from the exact ones: proven bounds.

A histogram does not know how the pixels of one bin are ordered. Its figures take them as tied. Here
every order that the counts allow is considered, ties included, and the worst one gives the bound.

Some pixels were counted before their bin was divided (`Grid.refine`). They stand in its lowest part
and may belong into any part: they are called stray, and may lie anywhere up to their `last` bin.

Axes: b bins, with rising scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from wholesight.metrics.ranking import Steps, average_precision_of


class Bins(NamedTuple):
    """A histogram over rising scores.

    lesion, other : pixels. regions : sums of region shares. stray_lesion, stray_other : those of
    the pixels that may belong into later bins, up to and with bin `last`, which is the bin itself
    without such pixels. lowest : a score at or under every score of the bin. tied : all its pixels
    have one score; never so with stray pixels.
    """

    lesion: Float[np.ndarray, " b"]
    other: Float[np.ndarray, " b"]
    regions: Float[np.ndarray, " b"]
    stray_lesion: Float[np.ndarray, " b"]
    stray_other: Float[np.ndarray, " b"]
    lowest: Float[np.ndarray, " b"]
    tied: Bool[np.ndarray, " b"]
    last: Int[np.ndarray, " b"]

    def steps(self) -> Steps:
        """Read the bins from the strictest down, each as a tie."""
        return Steps(self.lesion[::-1], self.other[::-1])

    def above(self, lesion: int, other: int) -> Bins:
        """Put (lesion, other) pixels under all others, tied at -inf."""
        lowest = Bins(*(np.array([entry]) for entry in (lesion, other, 0, 0, 0, -np.inf, True, -1)))
        every = Bins(*(np.concatenate(pair) for pair in zip(lowest, self, strict=True)))
        return every._replace(last=every.last + 1)


def auroc_error(bins: Bins) -> float:
    """Bound |AUROC of the bins - exact AUROC|.

    Each pair of a lesion and another pixel counts 0, 1/2 or 1. A pair within a bin counts 1/2 here,
    so it is wrong by at most 1/2, and not at all in a tie; a pair of a stray pixel and one that it
    may stand above or below is wrong by at most 1. 0 where AUROC is undefined.
    """
    lesion, other = bins.lesion.astype(float), bins.other.astype(float)
    pairs = lesion.sum() * other.sum()
    wrong = np.where(bins.tied, 0.0, lesion * other / 2).sum()
    wrong += (bins.stray_lesion * _up_to(other, bins.last)).sum()
    wrong += (bins.stray_other * _up_to(lesion, bins.last)).sum()
    return float(min(wrong / pairs, 1.0)) if pairs else 0.0


def average_precision_error(bins: Bins) -> float:
    """Bound |average precision of the bins - exact average precision|. 0 without lesion.

    A lesion pixel's precision is (lesion pixels at or above it) / (all pixels at or above it). With
    T lesion and F other pixels surely above its bin, l lesion and o other pixels in it:

        at most   (T + l) / (T + l + F)          lesion first, and tied
        at least  (T + j) / (T + j + F + o)      others first, then lesion pixels j = 1 .. l singly

    Stray pixels from lower bins add to l above and to o below.
    """
    total = bins.lesion.sum()
    if not total:
        return 0.0
    figure = float(average_precision_of(bins.steps()))
    lowest, highest = precision_sums(bins)
    return float(min(max(highest / total - figure, figure - lowest / total, 0.0), 1.0))


def precision_sums(bins: Bins) -> tuple[float, float]:
    """Sum the lowest and the highest possible precision over all lesion pixels."""
    lesion, other = bins.lesion.astype(float), bins.other.astype(float)
    above, other_above = _above(lesion), _above(other)
    most = above + lesion + _from_below(bins.stray_lesion, bins.last)
    most_other = other_above + other + _from_below(bins.stray_other, bins.last)
    least_other = other_above + np.where(bins.tied, other, 0.0)
    stray = bins.stray_lesion.astype(float)
    settled = lesion - stray

    highest = settled * _ratio(most, most + least_other)
    highest += stray * _ratio(most, most + other_above[bins.last])
    # sum_j (T + j) / (T + j + G) = l - G sum_j 1 / (T + G + j), and 1 / x is convex, so each term
    # is at most the integral from x - 1/2 to x + 1/2.
    singly = settled - most_other * np.log1p(settled / (above + most_other + 0.5))
    together = settled * _ratio(above + lesion, above + lesion + most_other)
    lowest = np.where(bins.tied, together, singly)
    least = above[bins.last] + 1
    lowest += stray * _ratio(least, least + most_other)
    return float(lowest.sum()), float(highest.sum())


def _above(counts: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Count the pixels of all later bins."""
    return counts.sum() - np.cumsum(counts)


def _up_to(counts: Float[np.ndarray, " b"], last: Int[np.ndarray, " b"]) -> np.ndarray:
    """Count the pixels of each bin and those after it, up to and with its `last`."""
    reached = np.cumsum(counts)
    return reached[last] - reached + counts


def _from_below(stray: Int[np.ndarray, " b"], last: Int[np.ndarray, " b"]) -> np.ndarray:
    """Count the stray pixels of earlier bins that may belong into each bin."""
    entering = np.zeros(stray.size + 1)
    entering[1:] += stray
    np.subtract.at(entering, last + 1, stray)
    return np.cumsum(entering)[:-1]


def _ratio(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, " b"]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
