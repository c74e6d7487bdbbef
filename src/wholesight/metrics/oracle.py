"""What only somebody who knows the answers can reach: a threshold chosen by the labels.

Papers print such figures; no user can have them. They stay here and under the name oracle.
Axes: n pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wholesight.metrics.ranking import sweep


class BestDice(NamedTuple):
    """The highest Dice over all thresholds, and where it is: flagged = score >= threshold."""

    dice: float
    threshold: float


def best_dice(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> BestDice:
    """Find the best Dice exactly, over every threshold; of equals the highest threshold.

    NaN and a threshold of +inf without lesion, where nothing should be flagged.

    >>> best_dice(np.array([0.1, 0.4, 0.6, 0.8]), np.array([False, True, False, True]))
    BestDice(dice=0.8, threshold=0.4)
    """
    counts = sweep(scores, truth)
    if not counts.lesion:
        return BestDice(float("nan"), float("inf"))
    dice = 2 * counts.true_flags / (counts.true_flags + counts.false_flags + counts.lesion)
    best = int(np.argmax(dice))
    return BestDice(float(dice[best]), float(counts.threshold[best]))
