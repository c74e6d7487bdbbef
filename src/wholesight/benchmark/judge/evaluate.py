"""Judge one method over many cases: labels enter here and only here.

Cases stream through: of each only counts and one small slice to look at are kept.
Axes: i j k as in the file; p points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wholesight.benchmark.judge.strata import strata_of
from wholesight.benchmark.judge.tallying import Tallying
from wholesight.benchmark.judge.thumbnail import Thumbnail, thumbnail
from wholesight.errors import InputError
from wholesight.metrics.lesion_table import contrast_of, lesion_table
from wholesight.metrics.ranking import Curve, precision_recall_curve_of, roc_curve_of
from wholesight.metrics.registry import METRICS, metric_key, set_figures
from wholesight.metrics.seen import Seen
from wholesight.metrics.tally import Sums, Tally

Row = dict[str, Any]


class Scored(NamedTuple):
    """One case under one method; all arrays on the image's own grid (i, j, k).

    case, subject, site : names; several cases may share a subject. image : the scan. body : which
    voxels are body. inside : those that are judged, the body eroded (`metrics.eroded`). truth :
    lesion. map : higher = odder, or None for a method that gives masks alone. mask : flagged, or
    None for a method without a threshold. axis : the axis across axial slices. affine : voxel ->
    world in mm.
    """

    case: str
    subject: str
    image: Float[np.ndarray, "i j k"]
    body: Bool[np.ndarray, "i j k"]
    inside: Bool[np.ndarray, "i j k"]
    truth: Bool[np.ndarray, "i j k"]
    map: Float[np.ndarray, "i j k"] | None
    mask: Bool[np.ndarray, "i j k"] | None
    axis: int
    affine: Float[np.ndarray, "4 4"]
    site: str | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxels along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


class FrocCurve(NamedTuple):
    """Lesion sensitivity against false lesions per scan, the strictest threshold first."""

    false_per_scan: Float[np.ndarray, " p"]
    sensitivity: Float[np.ndarray, " p"]
    threshold: Float[np.ndarray, " p"]


class OperatingPoint(NamedTuple):
    """Where the deployed masks stand, over the set; None where a coordinate is undefined."""

    recall: float | None
    precision: float | None
    false_positive_rate: float | None
    false_per_scan: float | None
    lesion_sensitivity: float | None


@dataclass(frozen=True)
class Evaluation:
    """What one method is worth on one set of cases. What is undefined is None, never NaN.

    Attributes
    ----------
    name, threshold_note : the method, and how its threshold was set.
    deployable, oracle : {"set": {metric: figure}, "per_case": {metric: summary}, "all_pixels":
        {metric: figure}}. The set pools the cases' counts inside the body; a summary has mean,
        median, defined and undefined (numbers of cases); all_pixels counts the whole grid as
        published tables do. The oracle's "threshold" is the one that its set's Dice was best at.
    rows : one per case; the key of an oracle figure ends in `_oracle`.
    lesions : one per lesion: case, volume_ml, contrast, flagged_share, found.
    counts : cases, subjects, pixels, lesion voxels, empty cases.
    prevalence : share of lesion among the pixels: the AUPRC of chance.
    pr, roc, froc : curves over the set; empty where a method has no map.
    operating_point : where the masks are on them; None without a mask.
    strata : {"lesion size" | "contrast" | "site": {stratum: {"cases": n, "figures": {...}}}}.
    tally : the counts themselves, for intervals.
    ranking_error : {"exact": bool, "auroc": bound, "average_precision": bound}; see `metrics.pool`.
    map_range : the common colour scale of the pictures.
    thumbnails : one per case, in the order of `rows`.
    """

    name: str
    threshold_note: str
    deployable: dict[str, Any]
    oracle: dict[str, Any]
    rows: tuple[Row, ...]
    lesions: tuple[Row, ...]
    counts: dict[str, int]
    prevalence: float | None
    pr: Curve
    roc: Curve
    froc: FrocCurve
    operating_point: OperatingPoint | None
    strata: dict[str, dict[str, Any]]
    tally: Tally
    ranking_error: dict[str, Any]
    map_range: tuple[float, float]
    thumbnails: tuple[Thumbnail, ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure, as strict JSON holds it."""
        return {
            "method": self.name,
            "threshold": self.threshold_note,
            "deployable": self.deployable,
            "oracle": self.oracle,
            "strata": self.strata,
            "counts": self.counts,
            "prevalence": self.prevalence,
            "ranking_error": self.ranking_error,
            "cases": list(self.rows),
            "lesions": list(self.lesions),
        }


def evaluate(name: str, cases: Iterable[Scored], *, threshold_note: str) -> Evaluation:
    """Judge a method on cases, each alone and all together.

    A case without lesion has no AUROC, AUPRC and sensitivity; its Dice is undefined when nothing
    is flagged and 0 otherwise. What is undefined is left out of a mean and counted.

    Raises InputError without a case; ValueError when the arrays of a case differ in shape, a map
    is not finite in the body, or some cases have a mask (or a map) and others none.
    """
    tallying = Tallying()
    rows: list[Row] = []
    lesions: list[Row] = []
    thumbnails: list[Thumbnail] = []
    for scored in cases:
        inside = _seen(scored)
        everywhere = _seen_everywhere(scored, inside)
        row = _row(scored, inside, everywhere)
        tallying.add(scored.subject, inside, everywhere, row)
        rows.append(row)
        lesions += _lesion_rows(scored)
        thumbnails.append(_thumbnail(scored))
    if not rows:
        raise InputError(
            f"{name}: no case to evaluate. Check that predictions and truth share case names.",
            code="E_NO_CASES",
        )
    counted = tallying.close()
    of_set = _known(counted.inside, METRICS)
    of_all = _known(counted.everywhere, [m for m, each in METRICS.items() if each.pixelwise])
    return Evaluation(
        name=name,
        threshold_note=threshold_note,
        deployable=_section(of_set, of_all, rows, oracle=False),
        oracle=_section(of_set, of_all, rows, oracle=True)
        | {"threshold": or_none(counted.best_threshold)},
        rows=tuple(rows),
        lesions=tuple(lesions),
        counts=_counts(rows),
        prevalence=_prevalence(rows),
        pr=precision_recall_curve_of(counted.thresholds, counted.steps),
        roc=roc_curve_of(counted.thresholds, counted.steps),
        froc=_froc(counted.inside),
        operating_point=_operating_point(counted.inside, of_set),
        strata=strata_of(counted.inside.tally, rows),
        tally=counted.inside.tally,
        ranking_error=counted.ranking_error,
        map_range=counted.map_range,
        thumbnails=tuple(thumbnails),
    )


def or_none(figure: float) -> float | None:
    """JSON has neither NaN nor infinity: null says that there is no such figure."""
    return float(figure) if math.isfinite(figure) else None


def _seen(scored: Scored) -> Seen:
    return Seen(
        scores=scored.map,
        truth=scored.truth,
        inside=scored.inside,
        mask=scored.mask,
        spacing_mm=scored.spacing_mm,
    )


def _seen_everywhere(scored: Scored, inside: Seen) -> Seen:
    """See the whole grid: where nothing is said outside the body, no pixel can be odder.

    Outside the body a map of exactly 0 says nothing. Such pixels count, as in tables that judge
    the background too, and rank below all others whatever the map's values in the body are.
    """
    spoken = scored.body | scored.inside
    if scored.map is not None:
        spoken = spoken | (scored.map != 0)
    if scored.mask is not None:
        spoken = spoken | scored.mask
    air = int((scored.truth & ~spoken).sum()), int((~scored.truth & ~spoken).sum())
    return replace(inside, inside=spoken, below=air)


def _row(scored: Scored, inside: Seen, everywhere: Seen) -> Row:
    lesion = int(scored.truth.sum())
    facts: Row = {
        "case": scored.case,
        "subject": scored.subject,
        "site": scored.site,
        "lesion_ml": lesion * float(np.prod(scored.spacing_mm)) / 1000,
        "lesion_contrast": contrast_of(scored.image, scored.truth, scored.inside),
        "lesions": inside.regions[1],
        "lesion_voxels": lesion,
        "lesion_voxels_inside": int(inside.pixels.truth.sum()),
        "body_voxels": inside.pixels.truth.size,
        "flagged_voxels": None if inside.flagged is None else int(inside.flagged.sum()),
        "scan_score": or_none(inside.score),
    }
    judged = {metric_key(m): or_none(METRICS[m].of(inside)) for m in _of_cases()}
    beside = {
        f"{metric_key(m)}_all_pixels": or_none(metric.of(everywhere))
        for m, metric in METRICS.items()
        if metric.pixelwise
    }
    return facts | judged | beside


def _lesion_rows(scored: Scored) -> list[Row]:
    found = lesion_table(
        scored.image,
        scored.truth,
        scored.inside,
        voxel_mm3=float(np.prod(scored.spacing_mm)),
        mask=scored.mask,
    )
    return [{"case": scored.case} | lesion._asdict() for lesion in found]


def _of_cases() -> list[str]:
    return [name for name, metric in METRICS.items() if metric.of_case is not None]


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


def _known(sums: Sums, metrics: Iterable[str]) -> dict[str, float | None]:
    """Return figures of the one set that the sums are of."""
    return {name: or_none(figure[0]) for name, figure in set_figures(sums, metrics).items()}


def _section(
    of_set: Mapping[str, float | None],
    of_all: Mapping[str, float | None],
    rows: Sequence[Row],
    *,
    oracle: bool,
) -> dict[str, Any]:
    """One top-level part of metrics.json; ranking figures belong to what is deployable."""
    names = [name for name, metric in METRICS.items() if (metric.kind == "oracle") == oracle]
    per_case = [name for name in names if METRICS[name].of_case is not None]
    return {
        "set": {name: of_set[name] for name in names},
        "per_case": {name: _summary([row[metric_key(name)] for row in rows]) for name in per_case},
        "all_pixels": {name: of_all[name] for name in names if name in of_all},
    }


def _summary(figures: Sequence[Any]) -> dict[str, int | float | None]:
    defined = [figure for figure in figures if figure is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "median": float(np.median(defined)) if defined else None,
        "defined": len(defined),
        "undefined": len(figures) - len(defined),
    }


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    without_lesion = [row for row in rows if not row["lesion_voxels_inside"]]
    return {
        "cases": len(rows),
        "subjects": len({row["subject"] for row in rows}),
        "lesions": sum(row["lesions"] for row in rows),
        "body_voxels": sum(row["body_voxels"] for row in rows),
        "lesion_voxels": sum(row["lesion_voxels"] for row in rows),
        "lesion_voxels_inside": sum(row["lesion_voxels_inside"] for row in rows),
        "cases_without_body": sum(not row["body_voxels"] for row in rows),
        "cases_without_lesion": len(without_lesion),
        "cases_without_lesion_and_flag": sum(row["flagged_voxels"] == 0 for row in without_lesion),
    }


def _prevalence(rows: Sequence[Row]) -> float | None:
    body = sum(row["body_voxels"] for row in rows)
    return sum(row["lesion_voxels_inside"] for row in rows) / body if body else None


def _froc(sums: Sums) -> FrocCurve:
    if sums.froc is None or not sums.lesion_number[0]:
        nothing = np.empty(0)
        return FrocCurve(nothing, nothing, nothing)
    found, false = sums.froc
    thresholds = sums.tally.froc_threshold
    assert thresholds is not None
    return FrocCurve(false[0] / sums.scans[0], found[0] / sums.lesion_number[0], thresholds)


def _operating_point(sums: Sums, figures: Mapping[str, float | None]) -> OperatingPoint | None:
    if sums.overlap is None:
        return None
    return OperatingPoint(
        recall=figures["sensitivity"],
        # Without a single flag there is no precision to draw.
        precision=figures["precision"] if sums.overlap[0, :2].any() else None,
        false_positive_rate=figures["flagged_share"],
        false_per_scan=figures["false_lesions"],
        lesion_sensitivity=figures["lesion_sensitivity"],
    )
