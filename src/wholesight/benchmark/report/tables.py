"""The headline table for other documents: table.md and table.tex."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from wholesight.benchmark.report import wording
from wholesight.benchmark.report.answer import by_headline
from wholesight.benchmark.report.lineup import HEADLINE_METRIC, failed, judged
from wholesight.benchmark.report.spread import no_intervals
from wholesight.benchmark.results import DataSetResult, MethodResult, Results
from wholesight.datasets.finding import count
from wholesight.metrics.body import EROSION_PX
from wholesight.metrics.registry import METRICS

# How figures are grouped: a title, and what it says of the threshold.
KINDS: Final = {
    "ranking": ("Ranking", "no threshold"),
    "deployable": ("Deployable", "at the method's own threshold"),
    "oracle": ("Oracle", "threshold chosen on the labels"),
}
# The columns of the headline table, those of a kind together.
HEADLINE: Final = (
    "average_precision",
    "auroc",
    "dice",
    "flagged_share",
    "lesion_f1",
    "false_lesions",
    "best_dice",
    "lesion_sensitivity_at_1",
)
SHORT: Final = {
    "flagged_share": "Normal flagged",
    "false_lesions": "False lesions per scan",
    "lesion_sensitivity_at_1": "Lesion sens. at 1 false/scan",
}


class Cell(NamedTuple):
    """A figure, and how sure it is; empty where nothing says so."""

    figure: str
    sure: str = ""


def table_md(results: Results) -> str:
    """Write the headline table in Markdown, a table a data set."""
    parts = [f"# {_md(results.title)}", ""]
    for dataset in results.datasets:
        titles = [f"{_title(name)}{_oracle(name)}" for name in HEADLINE]
        titles += [f"Gain over {dataset.reference}", "p (Holm)", "rank-biserial", *_seeds(dataset)]
        parts += [f"## {_md(dataset.name)}, {_md(dataset.subset)}", ""]
        parts.append("| " + " | ".join(_md(cell) for cell in ["Method", *titles]) + " |")
        parts.append("|---|" + "---:|" * len(titles))
        for name, cells in _rows(dataset):
            written = [
                f"{cell.figure} [{cell.sure}]" if cell.sure else cell.figure for cell in cells
            ]
            parts.append("| " + " | ".join(_md(cell) for cell in [name, *written]) + " |")
        parts += ["", *(_md(line) for line in _notes(dataset, "In brackets")), ""]
    return "\n".join(parts)


def table_tex(results: Results) -> str:
    """Write the headline table in LaTeX (packages booktabs and graphicx), a table a data set."""
    return "\n".join(_tex_table(dataset) for dataset in results.datasets)


def _tex_table(dataset: DataSetResult) -> str:
    titles = [*(_title(name) for name in HEADLINE), "Gain", "p (Holm)", "r", *_seeds(dataset)]
    caption = " ".join([f"{dataset.name}, {dataset.subset}.", *_notes(dataset, "In small print")])
    label = re.sub(r"[^a-z0-9]+", "-", f"{dataset.name}-{dataset.subset}".lower()).strip("-")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(caption)}}}",
            rf"\label{{tab:{label}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * len(titles)}}}",
            r"\toprule",
            *_tex_groups(dataset),
            " & ".join(["", *(_stacked(title, "r", 12) for title in titles)]) + r" \\",
            r"\midrule",
            *(line for name, cells in _rows(dataset) for line in _tex_lines(name, cells)),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _tex_groups(dataset: DataSetResult) -> list[str]:
    """Head the columns of a kind together, and rule them off."""
    kinds = [(kind, len(list(own))) for kind, own in groupby(METRICS[n].kind for n in HEADLINE)]
    groups = [(*KINDS[kind], width) for kind, width in kinds]
    groups.append(("AUPRC", f"against {dataset.reference}", 3))
    cells, rules, first = [""], "", 2
    for title, note, width in groups:
        stack = _stacked(note, "c", 8 * width, above=title)
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{stack}}}")
        rules += rf"\cmidrule(lr){{{first}-{first + width - 1}}}"
        first += width
    cells += [""] * len(_seeds(dataset))
    return [" & ".join(cells) + r" \\", rules]


def _stacked(text: str, side: str, width: int, above: str = "") -> str:
    """Break a heading into short lines."""
    lines = [*([above] if above else []), *textwrap.wrap(text, width, break_long_words=False)]
    stack = r"\\".join(tex(line) for line in lines)
    return rf"\shortstack[{side}]{{{stack}}}"


def _tex_lines(name: str, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a method's figures, and below them in small print how sure they are."""
    yield " & ".join([tex(name), *(tex(cell.figure) for cell in cells)]) + r" \\"
    if any(cell.sure for cell in cells):
        small = [rf"{{\scriptsize {tex(cell.sure)}}}" if cell.sure else "" for cell in cells]
        yield " & ".join(["", *small]) + r" \\"


_TEX_ESCAPES: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\N{EN DASH}": "--",
        "\N{MINUS SIGN}": "$-$",
        "\N{NARROW NO-BREAK SPACE}": r"\,",
        "\n": " ",
    }
)


def tex(text: str) -> str:
    r"""Escape text for LaTeX.

    >>> tex("50 % & a_b")
    '50 \\% \\& a\\_b'
    """
    return text.translate(_TEX_ESCAPES)


def _md(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _title(name: str) -> str:
    return SHORT.get(name, METRICS[name].title)


def _oracle(name: str) -> str:
    return " (oracle)" if METRICS[name].kind == "oracle" else ""


def _seeds(dataset: DataSetResult) -> list[str]:
    """Head the column of seeds, where a method has several."""
    return ["Seeds, AUPRC"] if any(len(m.evaluations) > 1 for m in dataset.methods) else []


def _rows(dataset: DataSetResult) -> Iterator[tuple[str, list[Cell]]]:
    """Yield every method's name and cells, the highest AUPRC first, those that failed last."""
    seeds = bool(_seeds(dataset))
    for method in judged(dataset):
        cells = [_cell(method, name) for name in HEADLINE] + _against(dataset, method)
        yield _named(method, dataset), cells + ([_over_seeds(method)] if seeds else [])
    for method in failed(dataset):
        yield f"{method.name} (failed)", [Cell(wording.UNDEFINED)] * (len(HEADLINE) + 3 + seeds)


def _named(method: MethodResult, dataset: DataSetResult) -> str:
    marks = ["reference"] * (method.name == dataset.reference)
    marks += ["untrained"] * (not method.trained)
    return method.name + (f" ({', '.join(marks)})" if marks else "")


def _cell(method: MethodResult, name: str) -> Cell:
    figure = method.figures[name]
    if figure.mean is None:
        return Cell(wording.UNDEFINED)
    return Cell(wording.value(name, figure.mean), wording.interval(name, figure.interval))


def _against(dataset: DataSetResult, method: MethodResult) -> list[Cell]:
    compared = by_headline(dataset, method.name)
    if compared is None:
        return [Cell(wording.UNDEFINED)] * 3
    return [
        Cell(wording.signed(compared.set_difference), wording.signed_interval(compared.gain)),
        Cell(wording.p_value(compared.holm_p)),
        Cell(wording.signed(compared.test.rank_biserial, 2)),
    ]


def _over_seeds(method: MethodResult) -> Cell:
    figure = method.figures[HEADLINE_METRIC]
    number = str(len(method.evaluations))
    if len(method.evaluations) == 1 or figure.lowest is None or figure.highest is None:
        return Cell(number)
    return Cell(number, wording.interval(HEADLINE_METRIC, (figure.lowest, figure.highest)))


def _notes(dataset: DataSetResult, intervals: str) -> list[str]:
    """Say what a table needs to be read on its own. intervals : where they stand."""
    methods = judged(dataset)
    if not methods:
        return ["No method gave figures."]
    first = methods[0].evaluations[0]
    missing = no_intervals(methods, HEADLINE)
    notes = [
        f"{count(first.counts['cases'], 'case')} of "
        f"{count(first.counts['subjects'], 'subject')}, "
        f"{first.counts['cases_without_lesion'] or 'none'} of them without a lesion.",
        "Pixels of all cases together, inside the body eroded by "
        f"{EROSION_PX} x {EROSION_PX} pixels{'; means over seeds' if _seeds(dataset) else ''}.",
        f"No intervals: {missing}."
        if missing
        else f"{intervals}: 95 % intervals, subjects resampled.",
        "Oracle figures: threshold chosen on the labels; they cannot be had in use.",
        "Normal flagged: share of the normal tissue that is flagged.",
    ]
    if first.prevalence is not None:
        notes.append(f"Chance is an AUPRC of {wording.figure(first.prevalence)}.")
    if dataset.comparisons:
        others = count(len(dataset.comparisons), "comparison")
        notes.append(
            f"Gain: AUPRC less that of {dataset.reference}; p: Wilcoxon's signed-rank test over "
            f"subjects, adjusted by Holm over {others}; r: rank-biserial correlation."
        )
    if _seeds(dataset):
        notes.append("Seeds: their number, and the lowest and highest AUPRC among them.")
    if not all(method.trained for method in methods):
        notes.append("Untrained: no network is trained; what is trained must beat it.")
    return notes
