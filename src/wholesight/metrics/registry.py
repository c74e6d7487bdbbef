"""Every figure of merit, by what it may know.

    ranking     read labels, choose no threshold: they judge the map
    deployable  judge the mask, at the threshold that normal scans alone have set
    oracle      choose a threshold by the labels: a bound, never a result of the method

In `metrics.json` the ranking figures stand under "deployable": no label chooses anything in them,
so a user of the map has what they say. Only what a label has chosen stands under "oracle".

Axes: r sets of cases, see `tally.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float

from wholesight.metrics import overlap
from wholesight.metrics.froc import sensitivity_at
from wholesight.metrics.lesion import lesion_f1, lesion_precision, lesion_sensitivity
from wholesight.metrics.oracle import best_dice_of
from wholesight.metrics.pro import aupro_of
from wholesight.metrics.ranking import Steps, auroc_of, average_precision_of, trapezoid_of
from wholesight.metrics.seen import Seen
from wholesight.metrics.surface import hd95_mm, surface_dice
from wholesight.metrics.tally import Sums

Kind = Literal["ranking", "deployable", "oracle"]
_NAN = float("nan")
Counts = TypeVar("Counts")

# What two careful readers of a border may differ by.
SURFACE_TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    title : what a table calls it.
    kind : what it may know, see above. A deployable metric reads the mask, the others the scores.
    of_case : one case alone -> a number, NaN = undefined here; None for what only a set has.
    of_set : sums over cases -> (r,); None = the mean over the cases where it is defined.
    unit : of the number; "" for shares.
    best : which end is better; "zero" for a signed error.
    pixelwise : it needs pixels alone, so it can be had over all pixels of the grid too.
    perfect, worst : its value when the lesion, and nothing else, is the oddest; and when it is the
        least odd, as far as that does not depend on the case (None).
    without_lesion : its value when nothing is there, and (nothing, something) is flagged; None
        where that depends on the case.
    """

    title: str
    kind: Kind
    of_case: Callable[[Seen], float] | None
    of_set: Callable[[Sums], Float[np.ndarray, " r"]] | None = None
    unit: str = ""
    best: Literal["highest", "lowest", "zero"] = "highest"
    pixelwise: bool = False
    perfect: float = 1.0
    worst: float | None = 0.0
    without_lesion: tuple[float, float | None] = (_NAN, _NAN)

    def of(self, seen: Seen) -> float:
        """Judge one case; NaN where the method lacks what is judged."""
        judged = seen.mask if self.kind == "deployable" else seen.scores
        if self.of_case is None or judged is None or not seen.pixels.truth.size:
            return _NAN
        return float(self.of_case(seen))


def _by(
    read: Callable[[Seen | Sums], Counts | None], figure: Callable[[Counts], np.ndarray]
) -> tuple[Callable[[Seen], float], Callable[[Sums], np.ndarray]]:
    """Give a figure of counts its two forms, of a case and of a set; undefined without counts."""

    def of_case(seen: Seen) -> float:
        counts = read(seen)
        return _NAN if counts is None else float(figure(counts))

    def of_set(sums: Sums) -> np.ndarray:
        counts = read(sums)
        return _undefined(sums) if counts is None else figure(counts)

    return of_case, of_set


def _steps(counted: Seen | Sums) -> Steps | None:
    return counted.steps


def _overlap(counted: Seen | Sums) -> np.ndarray | None:
    return counted.overlap


def _lesions(counted: Seen | Sums) -> np.ndarray | None:
    return None if counted.lesions is None else np.asarray(counted.lesions)


def _by_regions(
    limit: float,
) -> tuple[Callable[[Seen], float], Callable[[Sums], np.ndarray]]:
    """AUPRO up to a false-positive rate; regions weigh alike over the set, not over the cases."""

    def of_case(seen: Seen) -> float:
        if seen.steps is None or seen.region_steps is None:
            return _NAN
        return float(aupro_of(np.cumsum(seen.region_steps), seen.steps.false_flags, limit=limit))

    def of_set(sums: Sums) -> np.ndarray:
        if sums.steps is None or sums.regions is None:
            return _undefined(sums)
        return aupro_of(sums.regions, sums.steps.false_flags, limit=limit)

    return of_case, of_set


def _undefined(sums: Sums) -> Float[np.ndarray, " r"]:
    return np.full(len(sums.weights), _NAN)


def _normal_scan_flagged(seen: Seen) -> float:
    """Share of a scan without lesion that is flagged; NaN for scans with one."""
    if seen.overlap is None or seen.pixels.truth.any():
        return _NAN
    return float(overlap.flagged_share_of(seen.overlap))


def _false_lesions(counts: np.ndarray) -> np.ndarray:
    return (counts[..., 2] - counts[..., 3]).astype(float)


def _false_lesions_of_set(sums: Sums) -> Float[np.ndarray, " r"]:
    if sums.lesions is None:
        return _undefined(sums)
    return _false_lesions(sums.lesions) / sums.scans


def _hd95(seen: Seen) -> float:
    assert seen.flagged is not None
    return hd95_mm(seen.flagged, seen.lesion, spacing_mm=seen.spacing_mm, inside=seen.inside)


def _surface_dice(seen: Seen) -> float:
    assert seen.flagged is not None
    return surface_dice(
        seen.flagged, seen.lesion, spacing_mm=seen.spacing_mm, tolerance_mm=SURFACE_TOLERANCE_MM
    )


def _volume_error(seen: Seen) -> float:
    assert seen.flagged is not None
    voxel_mm3 = float(np.prod(seen.spacing_mm))
    return overlap.volume_error_ml(seen.flagged, seen.lesion, voxel_mm3=voxel_mm3)


def _sensitivity_at_1(seen: Seen) -> float:
    curve = seen.froc
    if curve is None:
        return _NAN
    return float(sensitivity_at(curve.found, curve.false, np.array(curve.lesions), np.array(1.0)))


def _sensitivity_at_1_of_set(sums: Sums) -> Float[np.ndarray, " r"]:
    if sums.froc is None:
        return _undefined(sums)
    return sensitivity_at(*sums.froc, sums.lesion_number, sums.scans)


def _case_auroc(sums: Sums) -> Float[np.ndarray, " r"]:
    return auroc_of(sums.scan_steps)


METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", "ranking", *_by(_steps, auroc_of), pixelwise=True),
    # A map that is wrong everywhere still flags the lesion at its lowest threshold.
    "average_precision": Metric(
        "AUPRC", "ranking", *_by(_steps, average_precision_of), pixelwise=True, worst=None
    ),
    "pr_trapezoid": Metric(
        "AUPRC, trapezoid", "ranking", *_by(_steps, trapezoid_of), pixelwise=True, worst=None
    ),
    "aupro_30": Metric("AUPRO, 30 %", "ranking", *_by_regions(0.3)),
    "aupro_5": Metric("AUPRO, 5 %", "ranking", *_by_regions(0.05)),
    "case_auroc": Metric("AUROC of scans", "ranking", None, _case_auroc),
    "dice": Metric(
        "Dice",
        "deployable",
        *_by(_overlap, overlap.dice_of),
        pixelwise=True,
        without_lesion=(_NAN, 0.0),
    ),
    "iou": Metric(
        "IoU",
        "deployable",
        *_by(_overlap, overlap.iou_of),
        pixelwise=True,
        without_lesion=(_NAN, 0.0),
    ),
    "sensitivity": Metric(
        "Sensitivity", "deployable", *_by(_overlap, overlap.sensitivity_of), pixelwise=True
    ),
    "precision": Metric(
        "Precision",
        "deployable",
        *_by(_overlap, overlap.precision_of),
        pixelwise=True,
        without_lesion=(_NAN, 0.0),
    ),
    "flagged_share": Metric(
        "Normal tissue flagged",
        "deployable",
        *_by(_overlap, overlap.flagged_share_of),
        best="lowest",
        pixelwise=True,
        perfect=0.0,
        worst=1.0,
        without_lesion=(0.0, 1.0),
    ),
    "normal_scan_flagged": Metric(
        "Flagged in normal scans",
        "deployable",
        _normal_scan_flagged,
        best="lowest",
        perfect=_NAN,
        worst=_NAN,
        without_lesion=(0.0, 1.0),
    ),
    "lesion_sensitivity": Metric(
        "Lesion sensitivity", "deployable", *_by(_lesions, lesion_sensitivity)
    ),
    "lesion_precision": Metric(
        "Lesion precision",
        "deployable",
        *_by(_lesions, lesion_precision),
        without_lesion=(_NAN, 0.0),
    ),
    "lesion_f1": Metric(
        "Lesion F1", "deployable", *_by(_lesions, lesion_f1), without_lesion=(_NAN, 0.0)
    ),
    "false_lesions": Metric(
        "False lesions",
        "deployable",
        _by(_lesions, _false_lesions)[0],
        _false_lesions_of_set,
        unit="per scan",
        best="lowest",
        perfect=0.0,
        worst=1.0,
        without_lesion=(0.0, 1.0),
    ),
    "hd95_mm": Metric(
        "HD95",
        "deployable",
        _hd95,
        unit="mm",
        best="lowest",
        perfect=0.0,
        worst=None,
        without_lesion=(_NAN, None),
    ),
    "surface_dice": Metric(
        f"Surface Dice, {SURFACE_TOLERANCE_MM:g} mm",
        "deployable",
        _surface_dice,
        worst=None,
        without_lesion=(_NAN, 0.0),
    ),
    "volume_error_ml": Metric(
        "Volume error",
        "deployable",
        _volume_error,
        unit="ml",
        best="zero",
        perfect=0.0,
        worst=None,
        without_lesion=(0.0, None),
    ),
    "best_dice": Metric(
        "Best Dice", "oracle", *_by(_steps, best_dice_of), pixelwise=True, worst=None
    ),
    "lesion_sensitivity_at_1": Metric(
        "Lesion sensitivity at 1 false lesion per scan",
        "oracle",
        _sensitivity_at_1,
        _sensitivity_at_1_of_set,
    ),
}


def set_figures(sums: Sums, metrics: Iterable[str] = METRICS) -> dict[str, Float[np.ndarray, " r"]]:
    """Return the named metrics, all by default, of each of the r sets; NaN where undefined."""
    return {name: _of_set(METRICS[name], name, sums) for name in metrics}


def _of_set(metric: Metric, name: str, sums: Sums) -> Float[np.ndarray, " r"]:
    return sums.mean(name) if metric.of_set is None else metric.of_set(sums)


def metric_key(name: str) -> str:
    """Return what a row calls a metric: an oracle's figure is never to be seen without its name.

    >>> metric_key("dice"), metric_key("best_dice")
    ('dice', 'best_dice_oracle')
    """
    return f"{name}_oracle" if METRICS[name].kind == "oracle" else name
