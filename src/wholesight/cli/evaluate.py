"""`wholesight evaluate PREDICTIONS DATA --out DIR`: judge maps, beside the intensity floor."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wholesight.cli.options import (
    Alpha,
    Data,
    JudgedSubset,
    Modality,
    Out,
    require_judging,
    the_modality,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from wholesight.benchmark.judge.evaluate import Scored
    from wholesight.benchmark.judge.predictions import Judged
    from wholesight.benchmark.plan.folds import Fold
    from wholesight.benchmark.plan.suite import Suite
    from wholesight.benchmark.results import DataSetResult, Figure, MethodResult
    from wholesight.cohort.run_file import Asked
    from wholesight.datasets import Case
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
    subset: JudgedSubset = None,
    body: Annotated[
        BodyName | None,
        typer.Option(help="Which pixels count; without it as the maps' model did, else nonzero."),
    ] = None,
    alpha: Alpha = 0.05,
    modality: Modality = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Judge as this suite of benchmark does: its split or folds, slices, exclusions "
            "and body.",
        ),
    ] = None,
) -> None:
    """Judge anyone's maps and masks against the data set's truth, beside the intensity floor.

    Files are called as the cases are: x_anomaly.nii.gz is the map of case x (higher = odder),
    x_mask.nii.gz its mask; a plain x.nii.gz is either. alpha is that of the intensity floor's
    threshold, unless PREDICTIONS or the suite says which one.
    """
    require_judging(subset)
    image = the_modality(modality)
    from wholesight.cli.speech import console
    from wholesight.datasets import open_dataset
    from wholesight.io.files import require_new

    _require_folder(predictions)
    require_new(out)
    terms = _terms(suite, subset)
    found = open_dataset(data, modality=image or (terms.modality if terms else None))
    from wholesight.benchmark.judge.predictions import Judged, floor, floor_recipe
    from wholesight.benchmark.plan.folds import parts_of
    from wholesight.benchmark.report.write import write_report
    from wholesight.benchmark.results import Results, summarise
    from wholesight.cohort.run_file import read_run

    facts = read_run(predictions) or {}
    parts = parts_of(found, terms, subset=subset or (terms.subset if terms else None))
    rule = terms.body if terms else facts.get("body")
    recipe = floor_recipe(body.value if body else rule or "nonzero")
    least = terms.exclude.min_lesion_share if terms else 0.0
    judged = Judged(parts.judged, recipe.prep.body, min_lesion_share=least)
    asked = _asked(terms, facts, alpha)
    floors = [floor(_normals(fold.calibration), asked.terms, recipe=recipe) for fold in parts.folds]
    unlike = _unlike(judged.cases, predictions)
    methods = [_theirs(judged, predictions, facts), _beside(judged, parts.folds, floors)]
    summary = summarise(
        data.resolve().name,
        methods,
        subset=parts.subset,
        reference=methods[1].name,
        exclusions=judged.excluded,
        unlike=unlike,
        facts=_told(facts, data, parts.subset, recipe.resolved["prep"]["body"]["kind"], terms),
    )
    doubts = [*_of_the_run(methods[0].name, facts, unlike), *_of_the_floor(floors, asked.why)]
    said = [*_said(summary, judged, facts, floors), *doubts]
    name = methods[0].name
    results = Results(f"{name} on {summary.name}, {parts.subset}", "", [summary], said)
    report = write_report(results, out)
    console().print(_table(summary.methods))
    for note in [*_notes(summary), *doubts]:
        console().print(f"note: {note}", soft_wrap=True)
    console().print(f"Report: {report}", soft_wrap=True)


def _terms(name: str | None, subset: str | None) -> Suite | None:
    """Return the suite whose terms hold, None where none was named."""
    if name is None:
        return None
    from wholesight.benchmark.plan.suite import load_suite

    suite = load_suite(name)
    suite.require_subset(subset)
    return suite


def _asked(suite: Suite | None, facts: dict[str, Any], alpha: float) -> Asked:
    """Return what the floor's threshold is set on: as the suite says, else as the maps' own was."""
    from wholesight.calibration import Terms
    from wholesight.cohort.run_file import Asked, asked_alike

    if suite:
        return Asked(Terms(rule=suite.rule, alpha=suite.alpha), "")
    return asked_alike(facts, alpha=alpha)


def _unlike(cases: Sequence[Case], predictions: Path) -> list[str]:
    """Return the ids of cases whose scan `segment` found unlike those of the training."""
    from wholesight.cohort.ledger import verdicts
    from wholesight.io.formats import stem

    told = verdicts(predictions)
    # As maps are found: by the case's id, or else by its image's name.
    names = {case.id: case.id if case.id in told else stem(case.image) for case in cases}
    return [case.id for case in cases if told.get(names[case.id]) == "fail"]


def _of_the_run(name: str, facts: dict[str, Any], unlike: Sequence[str]) -> list[str]:
    """Say what speaks against the maps' figures, and against what their threshold promises."""
    from wholesight.cohort.run_file import doubts_of
    from wholesight.datasets.finding import some

    odd = f"qc: fail for {some(unlike)}, unlike the scans that the model was trained on; counted."
    return [f"{name}: {each}" for each in [*doubts_of(facts), *[odd] * bool(unlike)]]


def _of_the_floor(floors: Sequence[Detector], why: str) -> list[str]:
    """Say why the floor's threshold is not by the rule of the maps, and what speaks against it."""
    found = [floor.threshold for floor in floors if floor.threshold]
    if not found:
        return []
    doubts = dict.fromkeys(doubt for threshold in found for doubt in threshold.doubts)
    whys = [f"{why}: the percentile stands in."] * bool(why) + list(doubts)
    return [f"{_FLOOR}: {each}" for each in whys]


def _theirs(judged: Judged, predictions: Path, facts: dict[str, Any]) -> MethodResult:
    """Judge the maps as they came."""
    from wholesight.benchmark.judge.evaluate import evaluate as judge
    from wholesight.benchmark.results import MethodResult

    name = facts.get("recipe") or predictions.resolve().name
    if name == _FLOOR:
        name = f"{name}, maps"
    return MethodResult(
        name=name,
        summary=f"maps in {predictions.resolve().name}",
        citation="",
        trained=_is_trained(facts.get("recipe")),
        seeds=[0],
        evaluations=[judge(name, judged.score_files(predictions), threshold_note=_note(facts))],
    )


def _is_trained(recipe: str | None) -> bool:
    """Whether a network was trained for it; of other tools and recipes we suppose so."""
    from wholesight.recipe import Recipe
    from wholesight.recipe_file import shipped

    return recipe not in shipped() or Recipe.load(recipe).method.trainable


def _beside(judged: Judged, folds: Sequence[Fold], floors: Sequence[Detector]) -> MethodResult:
    """Judge the intensity floor, mapped now, in the same body; in each fold with its threshold."""
    from wholesight.benchmark.judge.evaluate import evaluate as judge
    from wholesight.benchmark.judge.predictions import threshold_note
    from wholesight.benchmark.results import MethodResult

    def scored() -> Iterator[Scored]:
        for fold, floor in zip(folds, floors, strict=True):
            yield from judged.score_detector(floor, fold.judged)

    note = threshold_note(floors, without="none: the data set has no calibration subjects")
    found = judge(_FLOOR, scored(), threshold_note=note)
    recipe = floors[0].recipe
    return MethodResult(
        name=_FLOOR,
        summary=recipe.summary,
        citation=recipe.reference,
        trained=False,
        seeds=[0],
        evaluations=[found],
    )


def _require_folder(predictions: Path) -> None:
    from wholesight.errors import InputError

    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder of maps.", code="E_NOT_FOUND")


def _normals(cases: Sequence[Case]) -> Any:
    """Return (subject, scan) of calibration cases, None without one."""
    from wholesight.datasets.scans import Scans

    return zip((case.subject for case in cases), Scans(cases), strict=True) if cases else None


def _note(facts: dict[str, Any]) -> str:
    from wholesight.cohort.run_file import statement_of

    return statement_of(facts) or "as these masks came; how is not recorded"


def _notes(summary: DataSetResult) -> list[str]:
    """Say what a figure that is missing in the table wants."""
    theirs, floor = (method.evaluations[0] for method in summary.methods)
    notes = []
    if not theirs.pr.x.size and theirs.counts["lesion_voxels_inside"]:
        notes.append(f"{theirs.name}: masks alone (0 and 1), so nothing is ranked.")
    if theirs.operating_point is None:
        notes.append(f"{theirs.name}: maps alone, so there is no mask to judge.")
    if floor.operating_point is None:
        notes.append("no calibration subjects in this data set, so the floor has no threshold.")
    return notes


def _told(
    facts: dict[str, Any], data: Path, subset: str, body: str, suite: Suite | None
) -> dict[str, str]:
    told = {
        "data": data.resolve().name,
        "subset": subset,
        "body": f"the case's own mask where it has one, else by the rule {body}",
    }
    if suite:
        told["terms"] = f"those of suite {suite.name}: {suite.summary}"
        if suite.slices:
            told["slices"] = f"{suite.slices[0]} to {suite.slices[1]}, counted from 0"
    for name in ("recipe", "model", "wholesight", "started"):
        if name in facts:
            told[name] = str(facts[name])
    from wholesight.cohort.run_file import facts_of

    return told | facts_of(facts)


def _said(
    summary: DataSetResult, judged: Judged, facts: dict[str, Any], floors: Sequence[Detector]
) -> list[str]:
    """Say what was judged, in which body, and where thresholds came from."""
    from wholesight.datasets.finding import count

    name, subjects = summary.methods[0].name, {case.subject for case in judged.cases}
    made = "wholesight segment wrote them" if facts else "who made them is not recorded"
    first = floors[0].threshold
    a_fold = " of each fold's own" if len(floors) > 1 else ""
    calibrated = first and f"{count(first.subjects, 'calibration subject')}{a_fold}"
    return [
        f"{name}: maps, masks or both from files, judged as they are on "
        f"{count(len(judged.cases), 'case')} of {count(len(subjects), 'subject')} "
        f"({summary.subset}); {made}.",
        f"{_FLOOR}: mapped now, on the same cases, "
        + (f"with a threshold from {calibrated}." if calibrated else "without a threshold."),
        f"Both are judged in one body: {summary.facts['body']}.",
        f"Which subjects trained {name} is not looked at here; no map may be by a model that has "
        "seen its subject.",
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
