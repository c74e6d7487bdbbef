"""Figures of merit, by what they may know.

    ranking     read labels, choose no threshold: they judge the map
    deployable  judge the mask, at the threshold that normal scans alone have set
    oracle      choose a threshold by the labels: a bound, never a result of the method

In `metrics.json` the ranking figures stand under "deployable": no label chooses anything in them,
so a user of the map has what they say. Only what a label has chosen stands under "oracle".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wholesight.metrics.body import Pixels, eroded, pixels_inside, pooled
from wholesight.metrics.oracle import BestDice, best_dice
from wholesight.metrics.overlap import dice, flagged_share, precision, sensitivity
from wholesight.metrics.ranking import auroc, average_precision, precision_recall_curve

__all__ = [
    "METRICS",
    "BestDice",
    "Metric",
    "Pixels",
    "auroc",
    "average_precision",
    "best_dice",
    "dice",
    "eroded",
    "flagged_share",
    "pixels_inside",
    "pooled",
    "precision",
    "precision_recall_curve",
    "sensitivity",
]


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    title : what a table calls it.
    kind : what it may know, see above. A deployable metric reads the mask, the others the scores.
    compute : (scores or mask (n,), truth (n,)) -> a number, NaN = undefined here.
    perfect : its value when every lesion pixel is told apart from every other.
    worst : its value when two lesion pixels score 0 and two others 1.
    without_lesion : its value when nothing is there, and (nothing, something) is flagged.
    """

    title: str
    kind: Literal["ranking", "deployable", "oracle"]
    compute: Callable[[np.ndarray, np.ndarray], float]
    perfect: float = 1.0
    worst: float = 0.0
    without_lesion: tuple[float, float] = (float("nan"), float("nan"))

    def of(self, pixels: Pixels) -> float:
        """Judge in-body pixels; NaN also where the method has no threshold and one is needed."""
        judged = pixels.mask if self.kind == "deployable" else pixels.scores
        return float("nan") if judged is None else self.compute(judged, pixels.truth)


def _best_dice(scores: np.ndarray, truth: np.ndarray) -> float:
    return best_dice(scores, truth).dice


_NAN = float("nan")

METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", "ranking", auroc),
    # A map that is wrong everywhere still flags the lesion at its lowest threshold.
    "average_precision": Metric("AUPRC", "ranking", average_precision, worst=1 / 2),
    "dice": Metric("Dice", "deployable", dice, without_lesion=(_NAN, 0.0)),
    "sensitivity": Metric("Sensitivity", "deployable", sensitivity),
    "precision": Metric("Precision", "deployable", precision, without_lesion=(_NAN, 0.0)),
    "flagged_share": Metric(
        "Normal tissue flagged", "deployable", flagged_share, 0.0, 1.0, without_lesion=(0.0, 1.0)
    ),
    "best_dice": Metric("Best Dice", "oracle", _best_dice, worst=2 / 3),
}
