"""Judge one method over many cases: labels enter here and only here.

Cases stream through: of each only its in-body pixels and one small slice to look at are kept.
Axes: i j k as in the file; n in-body pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wholesight.benchmark.thumbnail import Thumbnail, thumbnail
from wholesight.errors import InputError
from wholesight.metrics import (
    METRICS,
    Pixels,
    best_dice,
    pixels_inside,
    pooled,
    precision_recall_curve,
)
from wholesight.metrics.ranking import Curve

Row = dict[str, str | int | float | None]

# Where a picture's colours begin and end, in per cent of all in-body pixels of all cases.
_COLOUR_PERCENTILES = (1.0, 99.5)


class Scored(NamedTuple):
    """One case under one method; all arrays on the image's own grid (i, j, k).

    case, subject : names; several cases may share a subject. image : the scan. inside : the body,
    already eroded (`metrics.eroded`). truth : lesion. map : higher = odder. mask : flagged, or
    None for a method without a threshold. axis : the axis across axial slices. affine : voxel ->
    world in mm; without it there are no lesion volumes and slices are shown as stored.
    """

    case: str
    subject: str
    image: Float[np.ndarray, "i j k"]
    inside: Bool[np.ndarray, "i j k"]
    truth: Bool[np.ndarray, "i j k"]
    map: Float[np.ndarray, "i j k"]
    mask: Bool[np.ndarray, "i j k"] | None
    axis: int
    affine: Float[np.ndarray, "4 4"] | None = None


class OperatingPoint(NamedTuple):
    """Where the deployed masks stand on the precision-recall plane, over the set."""

    recall: float
    precision: float


@dataclass(frozen=True)
class Evaluation:
    """What one method is worth on one set of cases. What is undefined is None, never NaN.

    Attributes
    ----------
    name, threshold_note : the method, and how its threshold was set.
    deployable, oracle : {"set": {metric: figure}, "per_case": {metric: summary}}. The set is all
        in-body pixels of all cases pooled; a summary has mean, median, defined and undefined
        (numbers of cases). The oracle's "threshold" is the one that its set's Dice was best at.
    rows : one per case; the key of an oracle figure ends in `_oracle`.
    counts : cases, subjects, pixels, lesion voxels, empty cases.
    prevalence : share of lesion among the pixels: the AUPRC of chance.
    curve, operating_point : precision against recall over the set, and where the masks are.
    map_range : the common colour scale of the pictures.
    thumbnails : one per case, in the order of `rows`.
    """

    name: str
    threshold_note: str
    deployable: dict[str, Any]
    oracle: dict[str, Any]
    rows: tuple[Row, ...]
    counts: dict[str, int]
    prevalence: float | None
    curve: Curve
    operating_point: OperatingPoint | None
    map_range: tuple[float, float]
    thumbnails: tuple[Thumbnail, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as strict JSON holds it."""
        return {
            "method": self.name,
            "threshold": self.threshold_note,
            "deployable": self.deployable,
            "oracle": self.oracle,
            "counts": self.counts,
            "prevalence": self.prevalence,
            "cases": list(self.rows),
        }


def evaluate(name: str, cases: Iterable[Scored], *, threshold_note: str) -> Evaluation:
    """Judge a method on cases, each alone and all together.

    A case without lesion has no AUROC, AUPRC and sensitivity; its Dice is undefined when nothing
    is flagged and 0 otherwise. What is undefined is left out of a mean and counted.

    Raises InputError without a case; ValueError when the arrays of a case differ in shape, a map
    is not finite in the body, or some cases have a mask and others none.
    """
    pixels: list[Pixels] = []
    rows: list[Row] = []
    thumbnails: list[Thumbnail] = []
    for scored in cases:
        taken = pixels_inside(
            scored.inside, scores=scored.map, truth=scored.truth, mask=scored.mask
        )
        pixels.append(taken)
        rows.append(_row(scored, taken))
        thumbnails.append(_thumbnail(scored))
    _require_one_kind(name, pixels)
    every = pooled(pixels)
    threshold = _or_none(best_dice(every.scores, every.truth).threshold)
    return Evaluation(
        name=name,
        threshold_note=threshold_note,
        deployable=_section(every, rows, oracle=False),
        oracle=_section(every, rows, oracle=True) | {"threshold": threshold},
        rows=tuple(rows),
        counts=_counts(every, rows),
        prevalence=float(every.truth.mean()) if every.truth.size else None,
        curve=precision_recall_curve(every.scores, every.truth),
        operating_point=_operating_point(every),
        map_range=_map_range(every.scores),
        thumbnails=tuple(thumbnails),
    )


def metric_key(name: str) -> str:
    """Return what a row calls a metric: an oracle's figure is never to be seen without its name.

    >>> metric_key("dice"), metric_key("best_dice")
    ('dice', 'best_dice_oracle')
    """
    return f"{name}_oracle" if METRICS[name].kind == "oracle" else name


def _row(scored: Scored, pixels: Pixels) -> Row:
    lesion = int(scored.truth.sum())
    voxel_mm3 = None if scored.affine is None else abs(np.linalg.det(scored.affine[:3, :3]))
    facts: Row = {
        "case": scored.case,
        "subject": scored.subject,
        "lesion_ml": None if voxel_mm3 is None else float(lesion * voxel_mm3 / 1000),
        "lesion_voxels": lesion,
        "lesion_voxels_inside": int(pixels.truth.sum()),
        "body_voxels": pixels.truth.size,
        "flagged_voxels": None if pixels.mask is None else int(pixels.mask.sum()),
    }
    return facts | {metric_key(name): _or_none(METRICS[name].of(pixels)) for name in METRICS}


def _thumbnail(scored: Scored) -> Thumbnail:
    return thumbnail(
        image=scored.image,
        inside=scored.inside,
        truth=scored.truth,
        map=scored.map,
        mask=scored.mask,
        axis=scored.axis,
        affine=scored.affine,
    )


def _section(every: Pixels, rows: Sequence[Row], *, oracle: bool) -> dict[str, Any]:
    """One top-level part of metrics.json; ranking figures belong to what is deployable."""
    names = [name for name, metric in METRICS.items() if (metric.kind == "oracle") == oracle]
    return {
        "set": {name: _or_none(METRICS[name].of(every)) for name in names},
        "per_case": {name: _summary([row[metric_key(name)] for row in rows]) for name in names},
    }


def _summary(figures: Sequence[Any]) -> dict[str, int | float | None]:
    defined = [figure for figure in figures if figure is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "median": float(np.median(defined)) if defined else None,
        "defined": len(defined),
        "undefined": len(figures) - len(defined),
    }


def _counts(every: Pixels, rows: Sequence[Row]) -> dict[str, int]:
    without_lesion = [row for row in rows if not row["lesion_voxels_inside"]]
    return {
        "cases": len(rows),
        "subjects": len({row["subject"] for row in rows}),
        "body_voxels": every.truth.size,
        "lesion_voxels": sum(int(row["lesion_voxels"] or 0) for row in rows),
        "lesion_voxels_inside": int(every.truth.sum()),
        "cases_without_body": sum(not row["body_voxels"] for row in rows),
        "cases_without_lesion": len(without_lesion),
        "cases_without_lesion_and_flag": sum(row["flagged_voxels"] == 0 for row in without_lesion),
    }


def _operating_point(every: Pixels) -> OperatingPoint | None:
    """None without a mask, and where no lesion or no flag leaves a coordinate undefined."""
    if every.mask is None or not every.truth.any() or not every.mask.any():
        return None
    return OperatingPoint(METRICS["sensitivity"].of(every), METRICS["precision"].of(every))


def _map_range(scores: np.ndarray) -> tuple[float, float]:
    if not scores.size:
        return 0.0, 1.0
    low, high = np.percentile(scores, _COLOUR_PERCENTILES)
    return float(low), float(high)


def _require_one_kind(name: str, pixels: Sequence[Pixels]) -> None:
    if not pixels:
        raise InputError(
            f"{name}: no case to evaluate. Check that predictions and truth share case names.",
            code="E_NO_CASES",
        )
    unmasked = sum(part.mask is None for part in pixels)
    if unmasked not in (0, len(pixels)):
        raise ValueError(f"{name}: {unmasked} of {len(pixels)} cases have no mask")


def _or_none(figure: float) -> float | None:
    """JSON has neither NaN nor infinity: null says that there is no such figure."""
    return float(figure) if math.isfinite(figure) else None
