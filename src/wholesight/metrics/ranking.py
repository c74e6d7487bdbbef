"""How well scores rank lesion pixels above the others, over all thresholds at once.

These figures read labels but choose no threshold by them. Every one is a function of `Steps`: what
each fall of the threshold newly flags. Exact counts, histograms and resampled cases all are steps,
so all of them run through the same few functions, any number of sets at a time.

Axes: n pixels; m thresholds from the strictest down; r sets judged at once (none, or any number of
leading axes); p points of a plotted curve.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int

from wholesight.metrics.overlap import share

Counts = Float[np.ndarray, "*r m"] | Int[np.ndarray, "*r m"]


class _Newly(NamedTuple):
    lesion: Counts
    other: Counts


@final
class Steps(_Newly):
    """What each fall of the threshold newly flags, from the strictest threshold down.

    lesion, other : (*r, m) lesion and other pixels; whole numbers, or weighted ones. Pixels of one
    step are tied. A step may be empty.

    What is flagged at each threshold is summed up once, for all figures: under thousands of
    resamples these sums take longer than the figures. So the counts must not change afterwards.
    """

    @cached_property
    def true_flags(self) -> Float[np.ndarray, "*r m"]:
        """Lesion pixels flagged at each threshold."""
        return np.cumsum(self.lesion, axis=-1, dtype=float)

    @cached_property
    def false_flags(self) -> Float[np.ndarray, "*r m"]:
        """Other pixels flagged at each threshold."""
        return np.cumsum(self.other, axis=-1, dtype=float)

    @cached_property
    def flagged(self) -> Float[np.ndarray, "*r m"]:
        """Pixels flagged at each threshold."""
        return self.true_flags + self.false_flags

    @cached_property
    def precision(self) -> Float[np.ndarray, "*r m"]:
        """Share of lesion among all that is flagged; 1 before anything is, where curves begin."""
        with np.errstate(invalid="ignore"):
            precision = self.true_flags / self.flagged
        precision[np.isnan(precision)] = 1.0
        return precision

    @cached_property
    def lesions(self) -> Float[np.ndarray, "*r"]:
        """Lesion pixels altogether."""
        return self.lesion.sum(axis=-1, dtype=float)

    @cached_property
    def others(self) -> Float[np.ndarray, "*r"]:
        """Other pixels altogether."""
        return self.other.sum(axis=-1, dtype=float)

    def weighted(self, weights: Float[np.ndarray, "r c"]) -> Steps:
        """Add up c sets, (c, m), each as often as `weights` says: (r, m).

        Running sums are what is added up, for that is cheaper than to take them of every resample.
        """
        true_flags, false_flags = weights @ self.true_flags, weights @ self.false_flags
        added = Steps(_newly(true_flags), _newly(false_flags))
        vars(added).update(true_flags=true_flags, false_flags=false_flags)
        return added


class Curve(NamedTuple):
    """A curve over falling thresholds. x, y, threshold : (p,), flagged = score >= threshold."""

    x: Float[np.ndarray, " p"]
    y: Float[np.ndarray, " p"]
    threshold: Float[np.ndarray, " p"]


def steps_of(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Steps]:
    """Count exactly, ties together. Returns the thresholds (m,), falling, and the steps.

    Raises ValueError when the shapes differ or a score is NaN, which has no rank.

    >>> thresholds, steps = steps_of(np.array([1.0, 2, 2, 3, 4]), np.arange(5) == 2)
    >>> thresholds.tolist(), steps.lesion.tolist(), steps.other.tolist()
    ([3.0, 2.0, 1.0], [0, 1, 0], [2, 1, 1])
    """
    if scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} for truth {truth.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN, which has no rank")
    truth = truth.astype(bool)
    return steps_of_sorted(lesion=scores[truth], other=np.sort(scores[~truth], axis=None))


def steps_of_sorted(
    *, lesion: Float[np.ndarray, " l"], other: Float[np.ndarray, " o"]
) -> tuple[Float[np.ndarray, " m"], Steps]:
    """Count exactly. lesion : scores in any order; other : rising scores. See `steps_of`.

    Between two scores of lesion pixels a falling threshold adds false alarms alone, and no figure
    depends on their order. So they are one step, and the many normal pixels are never ranked among
    themselves: m <= 2 x distinct lesion scores + 1.
    """
    rising, repeats = np.unique(lesion, return_counts=True)
    tied_from = np.searchsorted(other, rising, side="left")
    tied_to = np.searchsorted(other, rising, side="right")
    cuts = np.concatenate([[0], np.stack([tied_from, tied_to], axis=1).ravel(), [other.size]])
    lesions = np.zeros(cuts.size - 1, dtype=np.int64)
    lesions[1::2] = repeats
    others = np.diff(cuts)
    thresholds = np.empty(cuts.size - 1, dtype=other.dtype)
    thresholds[1::2] = rising
    if other.size:
        thresholds[::2] = other[cuts[:-1:2].clip(max=other.size - 1)]
    there = np.flatnonzero(lesions + others)[::-1]
    return thresholds[there], Steps(lesions[there], others[there])


def auroc_of(steps: Steps) -> Float[np.ndarray, "*r"]:
    """Probability that a lesion pixel scores above another pixel; a tie counts half.

    Equal to the area under the ROC curve (Hanley and McNeil 1982; Mann-Whitney). 1 perfect, 0.5
    chance, 0 worst. NaN when either kind of pixel is missing.
    """
    # A lesion pixel loses to what was flagged before its step, and half to what is tied with it.
    lesion, flagged = steps.lesion, steps.false_flags
    lost = np.vecdot(lesion, flagged) + np.vecdot(lesion[..., 1:], flagged[..., :-1])
    return 1 - share(lost, 2 * steps.lesions * steps.others)


def average_precision_of(steps: Steps) -> Float[np.ndarray, "*r"]:
    """Area under the precision-recall curve as a sum of steps, without interpolation.

    AP = sum_t (recall_t - recall_t-1) precision_t. 1 perfect; chance is the share of lesion among
    the pixels, and a constant score gives exactly that. NaN without lesion.
    """
    gained = (steps.lesion * steps.precision).sum(axis=-1)
    return share(gained, steps.lesions)


def trapezoid_of(steps: Steps) -> Float[np.ndarray, "*r"]:
    """Area under the precision-recall curve by straight lines, from recall 0 at precision 1.

    What `auc(recall, precision)` of scikit-learn gives and many papers print as AUPRC. It is
    optimistic: between two thresholds precision does not fall on a straight line but below it
    (Davis and Goadrich 2006), and the line from the made-up first point (0, 1) rewards ties: a
    constant score gets (1 + prevalence) / 2. `average_precision_of` is the headline. NaN without
    lesion.
    """
    between = steps.precision.copy()
    between[..., 1:] += steps.precision[..., :-1]
    between[..., :1] += 1
    gained = (steps.lesion * between).sum(axis=-1)
    return share(gained, 2 * steps.lesions)


def precision_recall_curve_of(
    thresholds: Float[np.ndarray, " m"], steps: Steps, *, points: int = 512
) -> Curve:
    """Trace precision (y) against recall (x), thinned to at most `points` points of even recall.

    Both ends stay: the strictest threshold and full recall. Empty without lesion.
    """
    gains = np.flatnonzero(steps.lesion)
    if not gains.size:
        return _no_curve()
    recall = (np.cumsum(steps.lesion) / steps.lesion.sum())[gains]
    kept = _evenly(recall, points)
    at = gains[kept]
    return Curve(recall[kept], steps.precision[at], thresholds[at].astype(float))


def roc_curve_of(thresholds: Float[np.ndarray, " m"], steps: Steps, *, points: int = 512) -> Curve:
    """Trace sensitivity (y) against the false-positive rate (x), at most `points` points.

    The points are even along both axes together, so that neither a steep rise nor a flat end is
    lost. Both ends stay: nothing flagged, at a threshold of +inf, and everything. Empty when either
    kind of pixel is missing.
    """
    if not steps.lesion.any() or not steps.other.any():
        return _no_curve()
    rates = [np.cumsum(kind) / kind.sum() for kind in (steps.other, steps.lesion)]
    x, y = (np.concatenate([[0.0], rate]) for rate in rates)
    kept = _evenly(x + y, points)
    threshold = np.concatenate([[np.inf], thresholds.astype(float)])
    return Curve(x[kept], y[kept], threshold[kept])


def auroc(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Rank the pixels of one map, see `auroc_of`.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    return float(auroc_of(steps_of(scores, truth)[1]))


def average_precision(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Rank the pixels of one map, see `average_precision_of`.

    >>> average_precision(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.8333333333333333
    """
    return float(average_precision_of(steps_of(scores, truth)[1]))


def pr_trapezoid(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Rank the pixels of one map, see `trapezoid_of`.

    >>> pr_trapezoid(np.full(4, 0.5), np.array([False, False, True, True]))
    0.75
    """
    return float(trapezoid_of(steps_of(scores, truth)[1]))


def precision_recall_curve(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], *, points: int = 512
) -> Curve:
    """Trace the curve of one map, see `precision_recall_curve_of`."""
    return precision_recall_curve_of(*steps_of(scores, truth), points=points)


def _newly(flagged: Float[np.ndarray, "*r m"]) -> Float[np.ndarray, "*r m"]:
    newly = flagged.copy()
    newly[..., 1:] -= flagged[..., :-1]
    return newly


def _evenly(rising: Float[np.ndarray, " m"], points: int) -> Int[np.ndarray, " p"]:
    """Choose at most `points` indices at even distance along a rising quantity, both ends too."""
    wanted = np.linspace(rising[0], rising[-1], points)
    return np.unique(np.searchsorted(rising, wanted).clip(max=rising.size - 1))


def _no_curve() -> Curve:
    nothing = np.empty(0)
    return Curve(nothing, nothing, nothing)
