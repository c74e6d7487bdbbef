"""`wholesight evaluate PREDICTIONS DATA --out DIR`: judge maps, beside the intensity floor."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wholesight.cli.options import Alpha, Data, Modality, Out

if TYPE_CHECKING:
    from rich.table import Table

    from wholesight.benchmark.evaluate import Evaluation
    from wholesight.datasets import DataSet


_JUDGING = ("validation", "test")


class BodyName(StrEnum):
    """How the body is found when a case brings no body mask of its own."""

    nonzero = "nonzero"
    skull_strip = "skull-strip"
    given = "given"
    whole = "whole"


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Folder of maps, from segment or others.")
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
    """Judge maps (x_anomaly.nii.gz) and masks (x_mask.nii.gz) against the data set's truth.

    alpha is that of the intensity floor's threshold, unless PREDICTIONS says which one it used.
    """
    _require_unseen(subset)
    from wholesight.cli.speech import console
    from wholesight.datasets import open_dataset

    found = open_dataset(data, modality=modality)
    cases = found.subset(subset)
    _require_folder(predictions)
    from wholesight.benchmark.evaluate import evaluate as judge
    from wholesight.benchmark.predictions import Judged, floor, floor_recipe
    from wholesight.benchmark.report import write_report
    from wholesight.cohort.ledger import read_run

    facts = read_run(predictions) or {}
    recipe = floor_recipe(body.value if body else facts.get("body") or "nonzero")
    judged = Judged(cases, recipe.prep.body)
    used = facts.get("threshold") or {"rule": "percentile", "alpha": alpha}
    name = facts.get("recipe") or predictions.resolve().name
    mine = judge(name, judged.score_files(predictions), threshold_note=_note(facts))
    floor_detector = floor(_normals(found), rule=used["rule"], alpha=used["alpha"], recipe=recipe)
    beside = judge(
        "intensity floor",
        judged.score_detector(floor_detector),
        threshold_note=floor_detector.threshold.statement
        if floor_detector.threshold
        else "none: the data set has no calibration subjects",
    )
    report = write_report(
        [mine, beside],
        out,
        title=f"{name} on {data.resolve().name}, {subset}",
        facts=_told(facts, data, subset, recipe.resolved["prep"]["body"]["kind"]),
    )
    console().print(_table([mine, beside]))
    console().print(f"Report: {report}", soft_wrap=True)


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
        "intensity floor": "intensity over its histogram mode, smoothed inside the body (recipe "
        "floor); nothing is learned",
    }
    for name in ("recipe", "model", "wholesight", "started"):
        if name in facts:
            told[name] = str(facts[name])
    if facts.get("threshold"):
        told |= {name: str(facts["threshold"][name]) for name in ("rule", "alpha", "subjects")}
    return told


def _table(evaluations: list[Evaluation]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("method")
    for title in ("AUROC", "AUPRC", "Dice", "normal flagged", "best Dice (oracle)"):
        table.add_column(title, justify="right")
    for evaluation in evaluations:
        own, oracle = evaluation.deployable["set"], evaluation.oracle["set"]
        figures = [own[name] for name in ("auroc", "average_precision", "dice", "flagged_share")]
        cells = [_figure(value) for value in (*figures, oracle["best_dice"])]
        table.add_row(evaluation.name, *cells)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
