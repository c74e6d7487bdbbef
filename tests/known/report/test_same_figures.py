"""What a reader sees is what the files hold: every figure of the page and of both tables."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from wholesight.benchmark.report import figures, tables
from wholesight.benchmark.results import Results

BOTH = pytest.mark.parametrize("which", ["pair", "many"])
NUMBER = re.compile(r"[+\N{MINUS SIGN}-]?\d+(?:\.\d+)?")

# The mean and the ends of the interval, as far as there are any.
Shown = list[float]
Truth = dict[tuple[str, str, str], Shown]


def numbers(text: str) -> list[str]:
    """Find the numbers of a text, as they are written."""
    plain = text.replace("$-$", "-").replace("--", "\N{EN DASH}")
    return [found.replace("\N{MINUS SIGN}", "-") for found in NUMBER.findall(plain)]


def agree(text: str, truth: Shown, *, percent: bool = False) -> None:
    """Each number is the true one rounded to the digits that are shown; none is missing."""
    shown = numbers(text)
    assert len(shown) == len(truth), text
    for written, exact in zip(shown, truth, strict=True):
        digits = len(written.partition(".")[2])
        assert abs(float(written) - exact * (100 if percent else 1)) <= 0.501 * 10**-digits, text


def truth_of(folder: Path) -> Truth:
    """The headline's figures in table.csv."""
    found: Truth = {}
    for line in csv.DictReader((folder / "table.csv").read_text().splitlines()):
        if (line["pixels"], line["over"]) == ("inside", "set"):
            known = [line[key] for key in ("mean", "interval_low", "interval_high")]
            found[line["dataset"], line["method"], line["metric"]] = [float(x) for x in known if x]
    return found


def page_rows(path: Path, results: Results) -> Iterator[tuple[str, str, list[str]]]:
    """Yield data set, method and cells of the page's headline tables."""
    parts = re.findall(r'<table class="headline">.*?</table>', path.read_text(), re.DOTALL)
    for dataset, table in zip(results.datasets, parts, strict=True):
        body = table.partition("<tbody>")[2]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
            head, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            name = re.split(r"<(?:span|small)", head.partition("&#8288;")[2])[0]
            yield (
                dataset.name,
                unescape(name).strip(),
                [re.sub(r"<[^>]*>", " ", cell) for cell in cells],
            )


@BOTH
def test_the_page_shows_what_the_files_hold(
    written: dict[str, Path], which: str, request: pytest.FixtureRequest
) -> None:
    results: Results = request.getfixturevalue(which)
    folder = written[which].parent
    truth, seen = truth_of(folder), set[tuple[str, str]]()
    for dataset, method, cells in page_rows(written[which], results):
        if "failed" in cells[0] or len(cells) < len(tables.HEADLINE):
            continue
        seen.add((dataset, method))
        for name, cell in zip(tables.HEADLINE, cells[: len(tables.HEADLINE)], strict=True):
            text = cell.partition("seeds")[0].rsplit(" ", 2)[0] if "seeds" in cell else cell
            agree(text, truth[dataset, method, name], percent=name == "flagged_share")
        _, several, seeds = cells[0].partition("seeds")
        own = next(
            m for d in results.datasets if d.name == dataset for m in d.methods if m.name == method
        )
        figure = own.figures["average_precision"]
        assert bool(several) == (len(own.seeds) > 1)
        agree(seeds, [x for x in (figure.lowest, figure.highest) if x is not None and several])
    assert seen == {(dataset, method) for dataset, method, _ in truth}


@BOTH
def test_the_page_shows_the_gains_of_the_file(
    written: dict[str, Path], which: str, request: pytest.FixtureRequest
) -> None:
    results: Results = request.getfixturevalue(which)
    told = json.loads((written[which].parent / "metrics.json").read_text())["comparisons"]
    compared = told if len(results.datasets) > 1 else {results.datasets[0].name: told}
    checked = 0
    for dataset, method, cells in page_rows(written[which], results):
        facts = compared[dataset].get(method)
        if facts is None:
            continue
        gain = facts["average_precision"]
        ends = [gain["gain"][end] for end in (0, 1)] if gain["gain"] else []
        difference = [] if gain["set_difference"] is None else [gain["set_difference"]]
        shown, _, tests = cells[-1].partition(" p ")
        agree(shown, difference + ends)
        effect = gain["test"]["rank_biserial"]
        agree(tests.partition("r")[2], [] if effect is None else [effect])
        if gain["holm_p"] is not None and "<" not in tests and "&lt;" not in tests:
            agree(tests.partition(",")[0], [gain["holm_p"]])
        checked += 1
    assert checked == sum(len(each) for each in compared.values())


def markdown_rows(folder: Path) -> Iterator[list[str]]:
    for line in (folder / "table.md").read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] not in {"Method", "---"} and "(failed)" not in cells[0]:
            yield cells


def latex_rows(folder: Path) -> Iterator[list[str]]:
    """Join a method's figures with the small print below them."""
    for table in (folder / "table.tex").read_text().split(r"\midrule")[1:]:
        rows: list[list[str]] = []
        for line in table.partition(r"\bottomrule")[0].strip().splitlines():
            cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
            if cells[0].strip():
                rows.append(cells)
            else:
                rows[-1] = [f"{a} {b}" for a, b in zip(rows[-1], cells, strict=True)]
        yield from (cells for cells in rows if "(failed)" not in cells[0])


@BOTH
@pytest.mark.parametrize("rows", [markdown_rows, latex_rows])
def test_both_tables_hold_what_the_csv_holds(
    written: dict[str, Path],
    which: str,
    rows: Callable[[Path], Iterator[list[str]]],
    request: pytest.FixtureRequest,
) -> None:
    results: Results = request.getfixturevalue(which)
    folder = written[which].parent
    truth = truth_of(folder)
    ranked = [
        (dataset.name, method.name)
        for dataset in results.datasets
        for method in figures.judged(dataset)
    ]
    for (dataset, method), cells in zip(ranked, rows(folder), strict=True):
        for name, cell in zip(tables.HEADLINE, cells[1:], strict=False):
            agree(cell, truth[dataset, method, name], percent=name == "flagged_share")


def test_the_json_holds_what_the_csv_holds(written: dict[str, Path]) -> None:
    folder = written["pair"].parent
    told: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    for (_, method, metric), shown in truth_of(folder).items():
        figure = told["figures"][method][metric]
        known = [] if figure["mean"] is None else [figure["mean"], *(figure["interval"] or [])]
        assert known == shown
