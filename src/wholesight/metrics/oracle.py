"""What only somebody who knows the answers can reach: a threshold chosen by the labels.

Papers print such figures; no user can have them. They stay here and under the name oracle.
Axes: n pixels; m thresholds from the strictest down; r sets judged at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wholesight.metrics.ranking import Steps, steps_of


class BestDice(NamedTuple):
    """The highest Dice over all thresholds, and where it is: flagged = score >= threshold."""

    dice: float
    threshold: float


def dice_of_steps(steps: Steps) -> Float[np.ndarray, "*r m"]:
    """Dice at every threshold, 2 true / (flagged + lesion); NaN without lesion."""
    lesion = np.where(steps.lesions > 0, steps.lesions, np.nan)[..., None]
    dice = steps.true_flags / (steps.flagged + lesion)
    dice *= 2
    return dice


def best_dice_of(steps: Steps) -> Float[np.ndarray, "*r"]:
    """Highest Dice over all thresholds. 1 perfect; NaN without lesion."""
    best = dice_of_steps(steps).max(axis=-1, initial=0.0)
    return np.where(steps.lesions > 0, best, np.nan)


def best_dice(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> BestDice:
    """Find the best Dice exactly, over every threshold; of equals the highest threshold.

    NaN and a threshold of +inf without lesion, where nothing should be flagged.

    >>> best_dice(np.array([0.1, 0.4, 0.6, 0.8]), np.array([False, True, False, True]))
    BestDice(dice=0.8, threshold=0.4)
    """
    thresholds, steps = steps_of(scores, truth)
    if not steps.lesion.any():
        return BestDice(float("nan"), float("inf"))
    dice = dice_of_steps(steps)
    best = int(np.argmax(dice))
    return BestDice(float(dice[best]), float(thresholds[best]))
