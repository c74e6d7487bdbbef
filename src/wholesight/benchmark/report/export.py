"""Every figure of a report for other programs: metrics.json, table.csv and cases.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from wholesight.benchmark.report.lineup import able
from wholesight.benchmark.results import DataSetResult, Figure, MethodResult, Results
from wholesight.metrics.registry import METRICS

_COLUMNS: Final = (
    "dataset",
    "method",
    "metric",
    "kind",
    "unit",
    "best",
    "pixels",
    "over",
    "mean",
    "lowest",
    "highest",
    "interval_low",
    "interval_high",
    "seeds",
    "subjects",
)


def metrics_json(results: Results) -> dict[str, Any]:
    """Every figure of every method: what a user can have apart from what only an oracle can.

    Of one data set the parts stand at the top, {"deployable": {method: ...}}; of several there is
    the data set's name in between, {"deployable": {data set: {method: ...}}}.
    """
    told = {dataset.name: _dataset_json(dataset) for dataset in results.datasets}
    facts = {"title": results.title, "statements": list(results.statements)}
    if len(told) == 1:
        only = next(iter(told.values()))
        return only | {"facts": {**results.facts, **only["facts"]}} | facts
    parts: dict[str, Any] = {
        part: {name: content[part] for name, content in told.items()}
        for part in next(iter(told.values()), {})
        if part != "facts"
    }
    own = {name: content["facts"] for name, content in told.items()}
    return parts | {"facts": dict(results.facts), "facts_of": own} | facts


def table_csv(results: Results) -> str:
    """One line a data set, method and metric, over the set and as the mean over cases."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for dataset in results.datasets:
        for method in able(dataset):
            table.writerows(_figure_lines(dataset, method))
    return text.getvalue()


def cases_csv(results: Results) -> str:
    """One line a data set, method, seed and case; an undefined figure is an empty cell."""
    lines = [line for dataset in results.datasets for line in _case_lines(dataset)]
    columns = dict.fromkeys(name for line in lines for name in line)
    text = io.StringIO()
    names = list(columns) or ["dataset", "method", "seed", "case"]
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def _figure_lines(dataset: DataSetResult, method: MethodResult) -> Iterator[list[Any]]:
    tables: tuple[tuple[str, str, Mapping[str, Figure]], ...] = (
        ("inside", "set", method.figures),
        ("all", "set", method.all_pixels),
        ("inside", "cases", method.per_case),
    )
    subjects = method.evaluations[0].counts["subjects"]
    for pixels, over, figures in tables:
        for name, figure in figures.items():
            metric = METRICS[name]
            low, high = figure.interval or (None, None)
            yield [
                *(dataset.name, method.name, name, metric.kind, metric.unit, metric.best),
                *(pixels, over, figure.mean, figure.lowest, figure.highest, low, high),
                *(len(method.seeds) - figure.undefined, subjects),
            ]


def _case_lines(dataset: DataSetResult) -> Iterator[dict[str, Any]]:
    for method in able(dataset):
        for seed, each in zip(method.seeds, method.evaluations, strict=True):
            who = {"dataset": dataset.name, "method": method.name, "seed": seed}
            yield from (who | row for row in each.rows)


def _dataset_json(dataset: DataSetResult) -> dict[str, Any]:
    methods = [method for method in dataset.methods if method.evaluations]
    first = methods[0].evaluations[0] if methods else None
    return {
        "deployable": {m.name: _section(m, "deployable") for m in methods},
        "oracle": {m.name: _section(m, "oracle") for m in methods},
        "figures": {m.name: {n: asdict(f) for n, f in m.figures.items()} for m in methods},
        "methods": {m.name: _about(m) for m in dataset.methods},
        "reference": dataset.reference,
        "comparisons": {
            name: {metric: asdict(compared) for metric, compared in found.items()}
            for name, found in dataset.comparisons.items()
        },
        "thresholds": {m.name: _thresholds(m) for m in methods},
        "strata": {m.name: _by_seed(m, [e.strata for e in m.evaluations]) for m in methods},
        "ranking_error": {
            m.name: _by_seed(m, [e.ranking_error for e in m.evaluations]) for m in methods
        },
        "counts": first.counts if first else {},
        "prevalence": first.prevalence if first else None,
        "failures": [
            {"method": m.name, **asdict(failure)} for m in dataset.methods for failure in m.failures
        ],
        "exclusions": [{"case": case, "reason": why} for case, why in dataset.exclusions],
        "facts": dict(dataset.facts),
        "cases": [
            {k: v for k, v in line.items() if k != "dataset"} for line in _case_lines(dataset)
        ],
    }


def _about(method: MethodResult) -> dict[str, Any]:
    return {
        "summary": method.summary,
        "citation": method.citation,
        "trained": method.trained,
        "seeds": list(method.seeds),
    }


def _section(method: MethodResult, part: str) -> dict[str, Any]:
    """Return one seed's section as it is; of several the means, and every seed's beside them."""
    sections: Sequence[dict[str, Any]] = [getattr(each, part) for each in method.evaluations]
    if len(sections) == 1:
        return sections[0]
    names = sections[0]["set"]
    tables = {"set": method.figures, "all_pixels": method.all_pixels}
    means: dict[str, Any] = {
        place: {name: table[name].mean for name in names if name in table}
        for place, table in tables.items()
    }
    cases = {
        name: {"mean": method.per_case[name].mean} for name in names if name in method.per_case
    }
    return means | {"per_case": cases, "seeds": _by_seed(method, sections)}


def _thresholds(method: MethodResult) -> Any:
    notes = [each.threshold_note for each in method.evaluations]
    return notes[0] if len(set(notes)) == 1 else _by_seed(method, notes)


def _by_seed(method: MethodResult, contents: Sequence[Any]) -> Any:
    """Return what one seed has as it is; of several {seed: its own}."""
    if len(contents) == 1:
        return contents[0]
    return {str(seed): own for seed, own in zip(method.seeds, contents, strict=True)}


def finite(content: Any) -> Any:
    """Replace what JSON cannot hold, NaN and infinity, by None, at any depth."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
