"""`wholesight evaluate PREDICTIONS DATA --out DIR`: judge maps, beside the intensity floor."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wholesight.cli.options import Alpha, Data, Modality, Out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from wholesight.benchmark.judge.predictions import Judged
    from wholesight.benchmark.results import DataSetResult, Figure, MethodResult
    from wholesight.datasets import DataSet
    from wholesight.detector import Detector

_FLOOR = "intensity floor"
# What the terminal shows; everything is in the report.
_PRINTED = {
    "auroc": "AUROC",
    "average_precision": "AUPRC",
    "dice": "Dice",
    "flagged_share": "normal flagged",
    "best_dice": "best Dice (oracle)",
}
_JUDGING = ("validation", "test")


class BodyName(StrEnum):
    """How the body is found when a case brings no body mask of its own."""

    nonzero = "nonzero"
    skull_strip = "skull-strip"
    given = "given"
    whole = "whole"


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Folder of maps, masks or both, from segment or any tool."
        ),
    ],
    data: Data,
    out: Out,
    subset: Annotated[str, typer.Option(help="Split to judge on: validation or test.")] = "test",
    body: Annotated[
        BodyName | None,
        typer.Option(help="Which pixels count; without it as the maps' model did, else nonzero."),
    ] = None,
    alpha: Alpha = 0.05,
    modality: Modality = None,
) -> None:
    """Judge anyone's maps and masks against the data set's truth, beside the intensity floor.

    Files are called as the cases are: x_anomaly.nii.gz is the map of case x (higher = odder),
    x_mask.nii.gz its mask; a plain x.nii.gz is either. alpha is that of the intensity floor's
    threshold, unless PREDICTIONS says which one it used.
    """
    _require_unseen(subset)
    from wholesight.cli.speech import console
    from wholesight.datasets import open_dataset

    found = open_dataset(data, modality=modality)
    cases = found.subset(subset)
    _require_folder(predictions)
    from wholesight.benchmark.judge.predictions import Judged, floor, floor_recipe
    from wholesight.benchmark.report.write import write_report
    from wholesight.benchmark.results import Results, summarise
    from wholesight.cohort.ledger import read_run

    facts = read_run(predictions) or {}
    recipe = floor_recipe(body.value if body else facts.get("body") or "nonzero")
    judged = Judged(cases, recipe.prep.body)
    name = facts.get("recipe") or predictions.resolve().name
    if name == _FLOOR:
        name = f"{name}, maps"
    used = facts.get("threshold") or {"rule": "percentile", "alpha": alpha}
    detector = floor(_normals(found), rule=used["rule"], alpha=used["alpha"], recipe=recipe)
    methods = [_theirs(name, judged, predictions, facts), _beside(judged, detector)]
    summary = summarise(
        data.resolve().name,
        methods,
        subset=subset,
        reference=methods[1].name,
        facts=_told(facts, data, subset, recipe.resolved["prep"]["body"]["kind"]),
    )
    said = _said(summary, judged, facts, detector)
    results = Results(f"{name} on {summary.name}, {subset}", "", [summary], said)
    report = write_report(results, out)
    console().print(_table(summary.methods))
    console().print(f"Report: {report}", soft_wrap=True)


def _theirs(name: str, judged: Judged, predictions: Path, facts: dict[str, Any]) -> MethodResult:
    """Judge the maps as they came; where a recipe made them, its own words say what they are."""
    from wholesight.benchmark.judge.evaluate import evaluate as judge
    from wholesight.benchmark.results import MethodResult

    found = judge(name, judged.score_files(predictions), threshold_note=_note(facts))
    return MethodResult(
        name=name,
        summary=f"maps in {predictions.resolve().name}",
        citation="",
        trained="recipe" in facts,
        seeds=[0],
        evaluations=[found],
    )


def _beside(judged: Judged, detector: Detector) -> MethodResult:
    """Judge the intensity floor, mapped now, in the same body."""
    from wholesight.benchmark.judge.evaluate import evaluate as judge
    from wholesight.benchmark.results import MethodResult

    note = (
        detector.threshold.statement
        if detector.threshold
        else "none: the data set has no calibration subjects"
    )
    found = judge(_FLOOR, judged.score_detector(detector), threshold_note=note)
    return MethodResult(
        name=_FLOOR,
        summary=detector.recipe.summary,
        citation=detector.recipe.reference,
        trained=False,
        seeds=[0],
        evaluations=[found],
    )


def _require_unseen(subset: str) -> None:
    """Refuse to judge on subjects that the model or its threshold has seen."""
    from wholesight.errors import UsageError, nearest

    if subset not in _JUDGING:
        raise UsageError(
            f"--subset {subset}: maps are judged on subjects that served neither the training nor "
            f"the threshold. {nearest(subset, _JUDGING)}"
        )


def _require_folder(predictions: Path) -> None:
    from wholesight.errors import InputError

    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder of maps.", code="E_NOT_FOUND")


def _normals(found: DataSet) -> Any:
    """Return (subject, scan) of the calibration split, None without one."""
    from wholesight.datasets.scans import Scans

    cases = [case for case in found.cases if case.split == "calibration"]
    return zip((case.subject for case in cases), Scans(cases), strict=True) if cases else None


def _note(facts: dict[str, Any]) -> str:
    threshold = facts.get("threshold")
    return threshold["statement"] if threshold else "as these masks came; how is not recorded"


def _told(facts: dict[str, Any], data: Path, subset: str, body: str) -> dict[str, str]:
    told = {
        "data": data.resolve().name,
        "subset": subset,
        "body": f"the case's own mask where it has one, else by the rule {body}",
    }
    for name in ("recipe", "model", "wholesight", "started"):
        if name in facts:
            told[name] = str(facts[name])
    if facts.get("threshold"):
        told |= {name: str(facts["threshold"][name]) for name in ("rule", "alpha", "subjects")}
    return told


def _said(
    summary: DataSetResult, judged: Judged, facts: dict[str, Any], detector: Detector
) -> list[str]:
    """Say what was judged, in which body, and where thresholds came from."""
    from wholesight.datasets.finding import count

    name, subjects = summary.methods[0].name, {case.subject for case in judged.cases}
    made = "wholesight segment wrote them" if facts else "who made them is not recorded"
    calibrated = detector.threshold and count(detector.threshold.subjects, "calibration subject")
    return [
        f"{name}: maps, masks or both from files, judged as they are on "
        f"{count(len(judged.cases), 'case')} of {count(len(subjects), 'subject')} "
        f"({summary.subset}); {made}.",
        f"{_FLOOR}: mapped now, on the same cases, "
        + (f"with a threshold from {calibrated}." if calibrated else "without a threshold."),
        f"Both are judged in one body: {summary.facts['body']}.",
        f"Which subjects trained {name} is not looked at here; they must not be among these.",
    ]


def _table(methods: Sequence[MethodResult]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("method")
    for title in _PRINTED.values():
        table.add_column(title, justify="right")
    for method in methods:
        table.add_row(method.name, *(_cell(method.figures[name]) for name in _PRINTED))
    return table


def _cell(figure: Figure) -> str:
    return "-" if figure.mean is None else f"{figure.mean:.3f}"
