"""How well scores rank lesion pixels above the others, over all thresholds at once.

These figures read labels but choose no threshold by them. All are exact and count ties.
Axes: n pixels, m distinct scores of lesion pixels, p points of a plotted curve.

Only scores that a lesion pixel has can matter: between two of them a falling threshold adds false
alarms alone. So the many normal pixels are sorted once and never ranked among themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Sweep(NamedTuple):
    """What is flagged at each threshold that equals a lesion pixel's score.

    threshold : (m,) falling. true_flags, false_flags : (m,) lesion and other pixels with a score
    >= threshold. false_above : (m,) other pixels with a score > threshold. lesion, other : how
    many pixels there are of either kind.
    """

    threshold: Float[np.ndarray, " m"]
    true_flags: Int[np.ndarray, " m"]
    false_flags: Int[np.ndarray, " m"]
    false_above: Int[np.ndarray, " m"]
    lesion: int
    other: int


class Curve(NamedTuple):
    """A precision-recall curve, recall rising.

    recall, precision, threshold : (p,), flagged = score >= threshold.
    """

    recall: Float[np.ndarray, " p"]
    precision: Float[np.ndarray, " p"]
    threshold: Float[np.ndarray, " p"]


def sweep(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Sweep:
    """Count true and false flags at every threshold that matters.

    Raises ValueError when the shapes differ or a score is NaN, which has no rank.
    """
    if scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} for truth {truth.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN, which has no rank")
    truth = truth.astype(bool)
    other = np.sort(scores[~truth], axis=None)
    rising, repeats = np.unique(scores[truth], return_counts=True)
    return Sweep(
        threshold=rising[::-1],
        true_flags=np.cumsum(repeats[::-1]),
        false_flags=other.size - np.searchsorted(other, rising, side="left")[::-1],
        false_above=other.size - np.searchsorted(other, rising, side="right")[::-1],
        lesion=int(repeats.sum()),
        other=other.size,
    )


def auroc(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Probability that a lesion pixel scores above another pixel; a tie counts half.

    Equal to the area under the ROC curve (Mann-Whitney). 1 perfect, 0.5 chance, 0 worst. NaN when
    either kind of pixel is missing.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    counts = sweep(scores, truth)
    if not counts.lesion or not counts.other:
        return float("nan")
    at_threshold = np.diff(counts.true_flags, prepend=0)
    lost = at_threshold * (counts.false_flags + counts.false_above) / 2
    return float(1 - lost.sum() / counts.lesion / counts.other)


def average_precision(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Area under the precision-recall curve as a sum of steps, without interpolation.

    AP = sum_t (recall_t - recall_t-1) precision_t. 1 perfect; chance is the share of lesion among
    the pixels, and a constant score gives exactly that. NaN without lesion.

    >>> average_precision(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.8333333333333333
    """
    counts = sweep(scores, truth)
    if not counts.lesion:
        return float("nan")
    gained = np.diff(counts.true_flags, prepend=0) / counts.lesion
    return float((gained * _precision(counts)).sum())


def precision_recall_curve(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], *, points: int = 512
) -> Curve:
    """Trace precision against recall, thinned to at most `points` points of even recall.

    Both ends stay: the strictest threshold and full recall. Empty arrays without lesion.
    """
    counts = sweep(scores, truth)
    if not counts.lesion:
        nothing = np.empty(0)
        return Curve(nothing, nothing, nothing)
    recall = counts.true_flags / counts.lesion
    wanted = np.linspace(recall[0], 1.0, points)
    kept = np.unique(np.searchsorted(recall, wanted).clip(max=recall.size - 1))
    return Curve(recall[kept], _precision(counts)[kept], counts.threshold[kept].astype(float))


def _precision(counts: Sweep) -> Float[np.ndarray, " m"]:
    return counts.true_flags / (counts.true_flags + counts.false_flags)
