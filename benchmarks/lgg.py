"""The real data set of the benchmarks, and one way to train and to judge on it."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wholesight.benchmark.judge.evaluate import Evaluation, evaluate
from wholesight.benchmark.judge.predictions import Judged, floor
from wholesight.calibration import Terms
from wholesight.datasets import DataSet, open_dataset
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.prep.body import BODIES
from wholesight.volume import Scan

ROOT = Path(__file__).resolve().parents[1]


class Figures(NamedTuple):
    """AUPRC, Dice at the detector's threshold (deployable), best Dice (oracle) over the set."""

    auprc: float
    dice: float
    best_dice_oracle: float


def lgg_folder() -> Path:
    """Return lgg-flair in WHOLESIGHT_DATA, else ../shared/data; exit 3, and say so, without it."""
    data = Path(os.environ.get("WHOLESIGHT_DATA", ROOT.parent / "shared" / "data")) / "lgg-flair"
    if not (data / "split.json").is_file():
        print(f"{data}: not here. WHOLESIGHT_DATA names the folder that holds it.", file=sys.stderr)
        sys.exit(3)
    return data


def open_lgg() -> DataSet:
    """Open the data set; exit as `lgg_folder` does without it."""
    return open_dataset(lgg_folder())


def normals(data: DataSet) -> Iterable[tuple[str, Scan]]:
    """Yield (subject, scan) of the calibration split."""
    cases = data.subset("calibration")
    return zip((case.subject for case in cases), Scans(cases), strict=True)


def judge(name: str, detector: Detector, data: DataSet, subset: str = "validation") -> Evaluation:
    """Judge a detector in the eroded body of a split's cases."""
    judged = Judged(data.subset(subset), BODIES["nonzero"]())
    note = detector.threshold.statement if detector.threshold else "none"
    return evaluate(name, judged.score_detector(detector), threshold_note=note)


def judge_floor(data: DataSet) -> Evaluation:
    """Judge the intensity floor, its threshold set like everybody's."""
    return judge("floor", floor(normals(data), Terms(rule="percentile")), data)


def figures(evaluation: Evaluation) -> Figures:
    """Return the three headline figures."""
    own = evaluation.deployable["set"]
    best = evaluation.oracle["set"]["best_dice"]
    return Figures(own["average_precision"], own["dice"], best)


def spread(values: Sequence[float]) -> str:
    """Write a mean and, over several seeds, the smallest and largest value."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"
