"""From finished cells on disk to what the report shows: nothing is taken from memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wholesight.benchmark.cells.cell import Cell, model_folder
from wholesight.benchmark.cells.statements import span, statements
from wholesight.benchmark.cells.workers import Failed
from wholesight.benchmark.judge import stored
from wholesight.benchmark.plan.contenders import Contender
from wholesight.benchmark.plan.material import Material
from wholesight.benchmark.plan.place import FACTS
from wholesight.benchmark.plan.protocol import RESAMPLES, Protocol
from wholesight.benchmark.report.lineup import middle_place
from wholesight.benchmark.results import (
    DataSetResult,
    Failure,
    MethodResult,
    Results,
    summarise,
)
from wholesight.datasets import Case
from wholesight.errors import InputError

_HISTORY = Path("training", "history.csv")


def collect(protocol: Protocol, cells: Sequence[Cell], failures: Mapping[str, Failed]) -> Results:
    """Read every finished cell and summarise each data set. Raises InputError for a damaged one."""
    return Results(
        title=f"Benchmark {protocol.suite.name}",
        question=protocol.suite.question,
        datasets=[_dataset(protocol, each, cells, failures) for each in protocol.materials],
        statements=statements(protocol),
        facts=_facts(protocol, cells, failures),
    )


def _dataset(
    protocol: Protocol, material: Material, cells: Sequence[Cell], failures: Mapping[str, Failed]
) -> DataSetResult:
    own = [cell for cell in cells if cell.material is material]
    return summarise(
        material.name,
        [
            _method(each, [cell for cell in own if cell.contender is each], failures)
            for each in protocol.contenders
        ],
        subset=material.subset,
        reference=protocol.suite.reference,
        folds=len(material.folds),
        exclusions=material.excluded,
        design=material.design,
        facts=_counts(material),
        resamples=RESAMPLES,
    )


def _method(
    contender: Contender, cells: Sequence[Cell], failures: Mapping[str, Failed]
) -> MethodResult:
    done = [cell for cell in cells if cell.name not in failures]
    facts = [json.loads((cell.folder / FACTS).read_bytes()) for cell in done]
    seconds = [each["seconds"] for each in facts]
    notes = [" ".join(note.split()) for each in facts for note in each["notes"]]
    failed = [(cell.seed, failures[cell.name]) for cell in cells if cell.name in failures]
    method = MethodResult(
        name=contender.name,
        summary=contender.summary,
        citation=contender.citation,
        trained=contender.trained,
        seeds=[cell.seed for cell in done],
        evaluations=[stored.load(cell.folder) for cell in done],
        histories=[_first_history(cell) for cell in done],
        training_s=[each["training"] for each in seconds],
        case_s=[each["case"] for each in seconds],
        clocks=list(dict.fromkeys(each["of"] for each in seconds)),
        notes=list(dict.fromkeys(notes)),
        failures=[Failure(seed, each.code, each.reason) for seed, each in failed],
    )
    return _with_shown_pictures(method)


def _with_shown_pictures(method: MethodResult) -> MethodResult:
    """Keep the pictures of the one seed that is shown; they are most of what a cell holds."""
    if not method.evaluations:
        return method
    shown = middle_place(method)
    kept = [
        each if place == shown else replace(each, thumbnails=())
        for place, each in enumerate(method.evaluations)
    ]
    return replace(method, evaluations=kept)


def _first_history(cell: Cell) -> list[dict[str, float]]:
    """Return the history of the first fold's model: one curve a seed, as without folds."""
    model = model_folder(cell.folder, cell.material.folds[0])
    return history(model / _HISTORY, cell=cell.folder)


def history(path: Path, *, cell: Path) -> list[dict[str, float]]:
    """Return the rows of a history.csv; none where nothing was trained.

    cell : the folder without which it would be trained again. Raises InputError.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            # A term that starts later has no figure before.
            rows = [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
        if not all("epoch" in row for row in rows):
            raise ValueError("a row without its epoch")
    except (OSError, ValueError, TypeError, csv.Error) as fault:
        raise InputError(
            f"{path}: cannot be read ({fault}). Remove the folder {cell} and run the "
            "same command with --resume: it is trained again.",
            code="E_EVALUATION",
        ) from fault
    return rows


def _counts(material: Material) -> dict[str, str]:
    folds, each = material.folds, " in each fold" * (len(material.folds) > 1)
    return {
        "subset": material.subset,
        "trained on": _counted([fold.train for fold in folds]) + each,
        "thresholds from": _counted([fold.calibration for fold in folds]) + each,
        "judged": _counted([material.judged]),
        "layout": material.layout,
    }


def _counted(folds: Sequence[Sequence[Case]]) -> str:
    subjects = span([len({case.subject for case in cases}) for cases in folds])
    return f"{subjects} subjects, {span([len(cases) for cases in folds])} scans"


def _facts(
    protocol: Protocol, cells: Sequence[Cell], failures: Mapping[str, Failed]
) -> dict[str, str]:
    done = [cell for cell in cells if cell.name not in failures]
    records = [json.loads((cell.folder / FACTS).read_bytes()) for cell in done]
    commits = sorted({_commit(record) for record in records} - {""})
    told = {
        "suite": f"{protocol.suite.name}: {protocol.suite.summary}",
        "data": ", ".join(material.name for material in protocol.materials),
        "threshold": f"{protocol.suite.rule}, alpha {protocol.suite.alpha:g}",
        "cells": f"{len(done)} of {len(cells)} finished",
        "wholesight": ", ".join(sorted({each["versions"]["wholesight"] for each in records})),
        "device": ", ".join(sorted({each["device"] for each in records})),
    }
    return told | ({"commit": ", ".join(commits)} if commits else {})


def _commit(record: Mapping[str, Any]) -> str:
    git = record["git"]
    if not git:
        return ""
    return git["commit"] + (" with changes" if git["changed"] else "")
