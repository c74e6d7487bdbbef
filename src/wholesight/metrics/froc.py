"""Lesions found against false alarms, over thresholds: free-response ROC (Bunch et al., 1977).

Axes: i j k as in the file; t levels of one case and p thresholds common to all, both from the
strictest down; c cases; r whatever stands before p: resamples, nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from wholesight.metrics.box import bounding_box
from wholesight.metrics.lesion import lesions_of, matched
from wholesight.metrics.overlap import share

# Of the body, what the strictest and the last level flag. Beyond half of it there are few
# components, which say nothing about where a lesion is.
_STRICTEST: Final = 1e-4
_LAST: Final = 0.5


class Froc(NamedTuple):
    """One case at levels of its own; flagged = score >= threshold.

    thresholds : (t,) falling. found, false : (t,) lesions found and components that are no lesion.
    lesions : there are.
    """

    thresholds: Float[np.ndarray, " t"]
    found: Int[np.ndarray, " t"]
    false: Int[np.ndarray, " t"]
    lesions: int


class CommonFroc(NamedTuple):
    """Several cases at the same thresholds: (p,) falling, (c, p) and (c, p)."""

    thresholds: Float[np.ndarray, " p"]
    found: Int[np.ndarray, "c p"]
    false: Int[np.ndarray, "c p"]


def froc(
    scores: Float[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
    *,
    levels: int = 48,
) -> Froc:
    """Count the lesions found and the false components of one case, within its body.

    The levels are scores of the body: those that flag 0.01 % to half of it, evenly on a
    logarithmic scale, at most `levels`. A level whose ties would flag more than half is left out,
    so a constant map has none. Neither count need rise as the threshold falls: components grow
    together, and one that has grown far beyond a lesion no longer finds it.

    Raises ValueError when a score in the body is NaN.
    """
    box = bounding_box(inside)
    # The longest axis last: labelling runs along it, for two thirds of the time.
    order = np.argsort(inside[box].shape, kind="stable")
    body = np.ascontiguousarray(inside[box].transpose(order))
    within = np.where(body, scores[box].transpose(order), -np.inf)
    lesions = lesions_of(truth[box].transpose(order) & body, body)
    thresholds = _levels(within[body], levels)
    found, false = np.zeros((2, thresholds.size), np.int64)
    for t, threshold in enumerate(thresholds):
        true, hit = matched(within >= threshold, lesions)
        found[t], false[t] = hit.sum(), true.size - true.sum()
    return Froc(thresholds.astype(np.float64), found, false, lesions.sizes.size)


def on_common(frocs: Sequence[Froc], *, points: int = 200) -> CommonFroc:
    """Read the cases at common thresholds, so that one threshold serves them all.

    The thresholds are those of all cases, thinned to at most `points` by rank, both ends kept; a
    best over fewer thresholds can only be lower.
    Between two levels of a case the stricter stands; above its strictest nothing is flagged yet,
    and below its last the last stands.
    """
    every = np.unique(np.concatenate([one.thresholds for one in frocs]))[::-1]
    kept = np.linspace(0, every.size - 1, min(points, every.size)).round().astype(int)
    common = every[kept]
    at = [np.searchsorted(-one.thresholds, -common, side="right") for one in frocs]
    return CommonFroc(
        common,
        np.stack([_with_nothing(one.found)[level] for one, level in zip(frocs, at, strict=True)]),
        np.stack([_with_nothing(one.false)[level] for one, level in zip(frocs, at, strict=True)]),
    )


def sensitivity_at(
    found: Num[np.ndarray, "*r p"],
    false: Num[np.ndarray, "*r p"],
    lesions: Num[np.ndarray, "*r"],
    scans: Num[np.ndarray, "*r"],
    *,
    false_per_scan: float = 1.0,
) -> Float[np.ndarray, "*r"]:
    """Highest share of lesions found with at most so many false components per scan. Oracle.

    found, false : sums over the scans at each threshold. 1 perfect, 0 when no threshold is quiet
    enough (a threshold above every score is, and finds nothing); NaN without lesion.

    Telling false components from true ones takes labels, so no user can choose this threshold:
    the figure is a bound, not a result. The curve need not be monotone, so every threshold is
    looked at and not only the last one that is quiet enough.

    >>> false = np.array([0, 3, 2, 9])
    >>> sensitivity_at(np.array([1, 2, 3, 4]), false, np.array(4), np.array(2))
    array(0.75)
    """
    lesions, scans = np.asarray(lesions), np.asarray(scans)
    quiet = share(false, scans[..., None]) <= false_per_scan
    best = np.where(quiet, found, 0).max(axis=-1, initial=0)
    return share(best, lesions)


def _levels(scores: Float[np.ndarray, " n"], levels: int) -> Float[np.ndarray, " t"]:
    """Return the scores that flag the wanted shares of the body, falling."""
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN, which has no rank")
    rising = np.sort(scores)
    wanted = (np.geomspace(_STRICTEST, _LAST, levels) * rising.size).astype(int).clip(min=1)
    thresholds = np.unique(rising[rising.size - wanted]) if rising.size else rising
    flagged = rising.size - np.searchsorted(rising, thresholds, side="left")
    return thresholds[flagged <= _LAST * rising.size][::-1]


def _with_nothing(counts: Int[np.ndarray, " t"]) -> Int[np.ndarray, " t+1"]:
    """Set a 0 before the counts: what stands above the strictest level."""
    return np.concatenate([[0], counts])
