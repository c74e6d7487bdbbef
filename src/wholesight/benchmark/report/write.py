"""A report that a reader can open anywhere: one HTML file, and its figures as JSON, CSV, tables.

The HTML holds everything it shows and asks the network for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from wholesight.benchmark.report import (
    answer,
    export,
    figures,
    lineup,
    roster,
    spread,
    strips,
    tables,
    wording,
)
from wholesight.benchmark.report.learning import learning_curves
from wholesight.benchmark.report.mosaic import colour_stops, mosaic
from wholesight.benchmark.results import DataSetResult, Results
from wholesight.io.files import make_folder, write_json, write_text
from wholesight.metrics.body import EROSION_PX
from wholesight.metrics.registry import METRICS, metric_key

# What a table of strata shows of each stratum.
_STRATA_METRICS: Final = ("average_precision", "dice", "lesion_sensitivity", "flagged_share")


def write_report(results: Results, out: Path) -> Path:
    """Write the report's files into a folder; return the path of the HTML.

    report.html, metrics.json (deployable and oracle figures apart), table.csv (a line a data set,
    method and metric), cases.csv (a line a case), table.md and table.tex (the headline).

    Raises ValueError when there is no data set, when names are not unique, or when the methods of
    a data set were not judged on the same cases; OutputError when the folder cannot be written.
    """
    _require_comparable(results)
    make_folder(out)
    write_json(out / "metrics.json", export.finite(export.metrics_json(results)))
    write_text(out / "table.csv", export.table_csv(results))
    write_text(out / "cases.csv", export.cases_csv(results))
    write_text(out / "table.md", tables.table_md(results))
    write_text(out / "table.tex", tables.table_tex(results))
    write_text(out / "report.html", to_html(results))
    return out / "report.html"


def to_html(results: Results) -> str:
    """Render the report. The same results give the same text."""
    pages = Environment(
        loader=PackageLoader("wholesight", "benchmark/report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "figure": wording.figure,
        "percent": wording.percent,
        "count": wording.count,
        "signed": wording.signed,
        "signed_interval": wording.signed_interval,
        "p_value": wording.p_value,
        "listed": wording.listed,
    }
    looks = lineup.looks(results)
    return pages.get_template("report.html.j2").render(
        results=results,
        looks=looks,
        parts=[_part(each, looks, number) for number, each in enumerate(results.datasets, start=1)],
        roster=roster.roster(results),
        overview=_overview(results) if len(results.datasets) > 1 else [],
        no_overview_intervals=_no_overview_intervals(results),
        headline=tables.HEADLINE,
        no_intervals=spread.no_intervals,
        several_seeds=_several_seeds(results),
        groups=_groups(tables.HEADLINE),
        all_groups=_groups(tuple(METRICS)),
        strata_metrics=_STRATA_METRICS,
        metrics=METRICS,
        short=tables.SHORT,
        value=wording.value,
        interval=wording.interval,
        direction=wording.direction,
        metric_key=metric_key,
        case_means=lineup.case_means,
        middle=lineup.middle,
        gradient=colour_stops(),
        erosion_px=EROSION_PX,
        version=metadata.version("wholesight"),
    )


def _part(dataset: DataSetResult, looks: Mapping[str, int], number: int) -> dict[str, Any]:
    """Everything that the report shows of one data set."""
    methods = lineup.judged(dataset)
    return {
        "id": f"set-{number}",
        "dataset": dataset,
        "methods": methods,
        "failed": lineup.failed(dataset),
        "seed_numbers": spread.seed_numbers(methods),
        "lead": lineup.lead(dataset),
        "rival": lineup.rival(dataset),
        "answer": answer.answer(dataset),
        "support": answer.support(dataset),
        "verdicts": answer.verdicts(dataset),
        "counts": methods[0].evaluations[0].counts if methods else {},
        "grey": [method.name for method in methods if method.name not in looks],
        "curves": figures.curve_plots(dataset, looks) if methods else [],
        "by_case": figures.case_plot(dataset, looks),
        "normals": strips.normals_strip(dataset, looks),
        "sizes": figures.size_plots(dataset, looks),
        "found": strips.found_strip(dataset, looks),
        "strata": _strata(dataset),
        "stress": figures.stress_figures(dataset, looks),
        "learning": learning_curves(dataset, looks),
        "mosaic": mosaic(dataset, f"slice-{number}"),
        "case_order": _case_order(dataset),
        "thresholds": roster.thresholds(dataset),
    }


def _case_order(dataset: DataSetResult) -> list[int]:
    """Best first for the leading method, then the cases that cannot be ranked."""
    leading = lineup.lead(dataset)
    if leading is None:
        return []
    known = lineup.case_means(leading, lineup.HEADLINE_METRIC)
    order = figures.ranked(known)
    return order + [i for i in range(len(known)) if i not in set(order)]


def _strata(dataset: DataSetResult) -> list[dict[str, Any]]:
    """Return per kind of stratum its names with numbers of cases, and each method's figures."""
    methods = lineup.judged(dataset)
    kinds = methods[0].evaluations[0].strata if methods else {}
    found = []
    for kind, strata in kinds.items():
        rows = [
            {"method": method, "cells": [_stratum(method, kind, name) for name in strata]}
            for method in methods
        ]
        columns = [(name, stratum["cases"]) for name, stratum in strata.items()]
        found.append({"kind": kind, "columns": columns, "rows": rows})
    return found


def _stratum(method: Any, kind: str, name: str) -> dict[str, float | None]:
    """Return the mean over seeds of a stratum's figures."""
    seeds = [each.strata[kind][name]["figures"] for each in method.evaluations]
    return {
        metric: lineup.mean_known([figures.get(metric) for figures in seeds])
        for metric in _STRATA_METRICS
    }


def _overview(results: Results) -> list[dict[str, Any]]:
    """Return a row a method, with its AUPRC on every data set; the best mean first.

    A mean over some of the data sets would compare with nothing, so there is none.
    """
    methods = {m.name: m for dataset in results.datasets for m in dataset.methods}
    rows = []
    for name, method in methods.items():
        cells = [_overview_cell(dataset, name) for dataset in results.datasets]
        known = [cell["mean"] for cell in cells if cell["mean"] is not None]
        whole = len(known) == len(cells)
        row = {"name": name, "cells": cells, "mean": lineup.mean_known(known) if whole else None}
        rows.append(row | {"untrained": not method.trained, "known": len(known)})
    return sorted(rows, key=lambda row: (-row["known"], -(row["mean"] or 0.0)))


def _overview_cell(dataset: DataSetResult, name: str) -> dict[str, Any]:
    method = next((each for each in dataset.methods if each.name == name), None)
    figure = None if method is None else method.figures.get(lineup.HEADLINE_METRIC)
    return {
        "mean": None if figure is None else figure.mean,
        "interval": None if figure is None else figure.interval,
        "reference": name == dataset.reference,
        "verdict": answer.verdicts(dataset).get(name, ""),
        "failed": method is not None and not method.evaluations,
    }


def _no_overview_intervals(results: Results) -> str:
    """Say why no data set has an interval of the AUPRC; empty where one has."""
    whys = [
        spread.no_intervals(lineup.judged(dataset), [lineup.HEADLINE_METRIC])
        for dataset in results.datasets
    ]
    return "" if "" in whys else " or ".join(dict.fromkeys(whys))


def _groups(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Columns of a table of figures, those of a kind together."""
    groups = []
    for kind, (title, note) in tables.KINDS.items():
        own = [name for name in names if METRICS[name].kind == kind]
        groups.append({"kind": kind, "title": title, "note": note, "metrics": own})
    return groups


def _several_seeds(results: Results) -> int:
    """Return how many seeds a method has at most."""
    return max((len(m.evaluations) for d in results.datasets for m in d.methods), default=0)


def _require_comparable(results: Results) -> None:
    if not results.datasets:
        raise ValueError("a report needs at least one data set")
    for dataset in results.datasets:
        names = [method.name for method in dataset.methods]
        if not names:
            raise ValueError(f"{dataset.name}: a report needs at least one method")
        if len(set(names)) < len(names):
            raise ValueError(f"{dataset.name}: methods share a name: {names}")
        cases = {tuple(r["case"] for r in e.rows) for m in dataset.methods for e in m.evaluations}
        if len(cases) > 1:
            raise ValueError(f"{dataset.name}: methods were judged on different cases")
    named = [dataset.name for dataset in results.datasets]
    if len(set(named)) < len(named):
        raise ValueError(f"data sets share a name: {named}")
