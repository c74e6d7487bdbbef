"""A report that a reader can open anywhere: one HTML file, and its figures as JSON and CSV.

The HTML holds everything it shows and asks the network for nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from wholesight.benchmark import figures
from wholesight.benchmark.evaluate import Evaluation, Row, metric_key
from wholesight.io.files import make_folder, write_json, write_text
from wholesight.metrics import METRICS
from wholesight.metrics.body import EROSION_PX

_UNDEFINED = "\N{EN DASH}"

# How many colours the template has for methods; further ones start again.
METHOD_COLOURS = 5

PUBLISHED_BODY = (
    f"The body mask is eroded by {EROSION_PX} x {EROSION_PX} pixels in every axial slice, as in "
    "the published evaluation, so that its rim neither helps nor harms."
)

# What separates the columns of the headline table, in order.
_KINDS = {
    "ranking": ("Ranking", "no threshold"),
    "deployable": ("Deployable", "at the method's own threshold"),
    "oracle": ("Oracle", "threshold chosen on the labels"),
}


def write_report(
    evaluations: Sequence[Evaluation],
    out: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    body_note: str = PUBLISHED_BODY,
) -> Path:
    """Write report.html, metrics.json and table.csv into a folder; return the path of the HTML.

    evaluations : the detector first, then the floors it must beat, all on the same cases in the
    same order. facts : what a reader needs to repeat it (model, rule, alpha, data). body_note :
    which pixels were judged, in a sentence.

    Raises ValueError when the methods were not judged on the same cases, OutputError when the
    folder cannot be written.
    """
    _require_comparable(evaluations)
    make_folder(out)
    write_json(out / "metrics.json", to_json(evaluations, facts))
    write_text(out / "table.csv", to_csv(evaluations))
    write_text(out / "report.html", to_html(evaluations, title, facts, body_note))
    return out / "report.html"


def to_json(evaluations: Sequence[Evaluation], facts: Mapping[str, str]) -> dict[str, Any]:
    """Every figure of every method: what a user can have apart from what only an oracle can."""
    return {
        "deployable": {each.name: each.deployable for each in evaluations},
        "oracle": {each.name: each.oracle for each in evaluations},
        "thresholds": {each.name: each.threshold_note for each in evaluations},
        "counts": evaluations[0].counts,
        "prevalence": evaluations[0].prevalence,
        "facts": dict(facts),
        "cases": [{"method": each.name} | row for each in evaluations for row in each.rows],
    }


def to_csv(evaluations: Sequence[Evaluation]) -> str:
    """One line a method and case; an undefined figure is an empty cell."""
    text = io.StringIO()
    columns = ["method", *evaluations[0].rows[0]]
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({"method": each.name} | row for each in evaluations for row in each.rows)
    return text.getvalue()


def to_html(
    evaluations: Sequence[Evaluation], title: str, facts: Mapping[str, str], body_note: str
) -> str:
    """Render the report. The same evaluations give the same text."""
    pages = Environment(
        loader=PackageLoader("wholesight", "benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"figure": _figure, "percent": _percent, "count": _count}
    return pages.get_template("report.html.j2").render(
        title=title,
        evaluations=evaluations,
        detector=evaluations[0],
        best_floor=_best_floor(evaluations),
        wins=[_wins(evaluations[0], floor) for floor in evaluations[1:]],
        groups=_groups(),
        metric_key=metric_key,
        case_order=_case_order(evaluations[0].rows),
        curve=figures.curve_plot(evaluations),
        by_case=figures.case_plot(evaluations),
        pictures=figures.case_pictures(evaluations),
        gradient=figures.colour_stops(),
        frame=figures,
        colours=METHOD_COLOURS,
        facts=dict(facts),
        body_note=body_note,
        version=metadata.version("wholesight"),
    )


def _require_comparable(evaluations: Sequence[Evaluation]) -> None:
    if not evaluations:
        raise ValueError("a report needs at least one evaluation")
    names = [each.name for each in evaluations]
    if len(set(names)) < len(names):
        raise ValueError(f"methods share a name: {names}")
    cases = [row["case"] for row in evaluations[0].rows]
    for each in evaluations[1:]:
        if [row["case"] for row in each.rows] != cases:
            raise ValueError(f"{each.name} and {names[0]} were judged on different cases")


def _groups() -> list[dict[str, Any]]:
    """Columns of the headline table, those of a kind together."""
    return [
        {
            "kind": kind,
            "title": title,
            "note": note,
            "section": "oracle" if kind == "oracle" else "deployable",
            "metrics": {name: m.title for name, m in METRICS.items() if m.kind == kind},
        }
        for kind, (title, note) in _KINDS.items()
    ]


def _set_average_precision(each: Evaluation) -> float:
    return each.deployable["set"]["average_precision"] or 0.0


def _best_floor(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    return max(evaluations[1:], key=_set_average_precision, default=None)


def _wins(detector: Evaluation, floor: Evaluation) -> dict[str, Any]:
    """In how many cases the detector's AUPRC is the higher one."""
    pairs = [
        (ours["average_precision"], theirs["average_precision"])
        for ours, theirs in zip(detector.rows, floor.rows, strict=True)
    ]
    both = [(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
    return {"floor": floor.name, "won": sum(a > b for a, b in both), "of": len(both)}


def _case_order(rows: Sequence[Row]) -> list[int]:
    """Best first for the detector, then the cases that cannot be ranked."""
    order = figures.ranked(rows)
    return order + [i for i in range(len(rows)) if i not in set(order)]


def _figure(number: float | None, digits: int = 3) -> str:
    return _UNDEFINED if number is None else f"{number:.{digits}f}"


def _percent(share: float | None, digits: int = 1) -> str:
    return _UNDEFINED if share is None else f"{100 * share:.{digits}f} %"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
