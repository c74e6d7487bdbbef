"""Figures of merit: what a map or a mask is worth against the truth.

`METRICS` names them all, each as ranking, deployable or oracle (`registry.py`). A case is judged as
`Seen`; the counts of many cases add up in a `Tally`.
"""

from wholesight.metrics.body import Pixels, eroded, pixels_inside
from wholesight.metrics.oracle import BestDice, best_dice
from wholesight.metrics.overlap import dice, flagged_share, precision, sensitivity
from wholesight.metrics.ranking import auroc, average_precision
from wholesight.metrics.registry import METRICS, Metric, metric_key
from wholesight.metrics.seen import Seen
from wholesight.metrics.tally import Tally

__all__ = [
    "METRICS",
    "BestDice",
    "Metric",
    "Pixels",
    "Seen",
    "Tally",
    "auroc",
    "average_precision",
    "best_dice",
    "dice",
    "eroded",
    "flagged_share",
    "metric_key",
    "pixels_inside",
    "precision",
    "sensitivity",
]
