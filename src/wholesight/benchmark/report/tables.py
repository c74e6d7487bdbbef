"""The headline table for other documents: table.md and table.tex."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wholesight.benchmark.report import wording
from wholesight.benchmark.report.answer import by_headline
from wholesight.benchmark.report.lineup import judged
from wholesight.benchmark.results import DataSetResult, MethodResult, Results
from wholesight.metrics.registry import METRICS

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


def table_md(results: Results) -> str:
    """Write the headline table in Markdown, a table a data set."""
    parts = [f"# {_md(results.title)}", ""]
    for dataset in results.datasets:
        head = ["Method", *(f"{_title(name)}{_oracle(name)}" for name in HEADLINE)]
        head += [f"Gain over {dataset.reference}", "p (Holm)", "rank-biserial"]
        parts += [f"## {_md(dataset.name)}, {_md(dataset.subset)}", ""]
        parts.append("| " + " | ".join(_md(cell) for cell in head) + " |")
        parts.append("|" + "---|" + "---:|" * (len(head) - 1))
        for cells in _headline_rows(dataset):
            parts.append("| " + " | ".join(_md(cell) for cell in cells) + " |")
        parts += ["", *(_md(line) for line in _notes(dataset)), ""]
    return "\n".join(parts)


def table_tex(results: Results) -> str:
    """Write the headline table in LaTeX (packages booktabs and graphicx), a table a data set."""
    return "\n".join(_tex_table(dataset) for dataset in results.datasets)


def _tex_table(dataset: DataSetResult) -> str:
    deployable = sum(METRICS[name].kind != "oracle" for name in HEADLINE)
    oracle, first = len(HEADLINE) - deployable, deployable + 2
    head = ["", *(_title(name) for name in HEADLINE), "Gain", "$p$ (Holm)", "$r$"]
    groups = (
        rf" & \multicolumn{{{deployable}}}{{c}}{{Deployable}}"
        rf" & \multicolumn{{{oracle}}}{{c}}{{Oracle: threshold chosen on the labels}}"
        rf" & \multicolumn{{3}}{{c}}{{Against {tex(dataset.reference)}, AUPRC}} \\"
    )
    rules = "".join(
        rf"\cmidrule(lr){{{low}-{high}}}"
        for low, high in (
            (2, first - 1),
            (first, first + oracle - 1),
            (first + oracle, first + oracle + 2),
        )
    )
    caption = " ".join([f"{dataset.name}, {dataset.subset}.", *_notes(dataset)])
    titles = [name if name.startswith("$") else tex(name) for name in head]
    rows = [" & ".join(tex(cell) for cell in cells) + r" \\" for cells in _headline_rows(dataset)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(caption)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            groups,
            rules,
            " & ".join(titles) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


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


def _headline_rows(dataset: DataSetResult) -> Iterator[list[str]]:
    """Yield the cells of the headline table as text, the highest AUPRC first."""
    for method in judged(dataset):
        cells = [_cell(method, name) for name in HEADLINE]
        yield [_named(method, dataset), *cells, *_against(dataset, method)]
    for method in dataset.methods:
        if not method.evaluations:
            yield [f"{method.name} (failed)"] + [wording.UNDEFINED] * (len(HEADLINE) + 3)


def _named(method: MethodResult, dataset: DataSetResult) -> str:
    marks = ["reference"] * (method.name == dataset.reference) + ["floor"] * (not method.trained)
    return method.name + (f" ({', '.join(marks)})" if marks else "")


def _cell(method: MethodResult, name: str) -> str:
    figure = method.figures.get(name)
    if figure is None or figure.mean is None:
        return wording.UNDEFINED
    ends = wording.interval(name, figure.interval)
    return wording.value(name, figure.mean) + (f" [{ends}]" if ends else "")


def _against(dataset: DataSetResult, method: MethodResult) -> list[str]:
    compared = by_headline(dataset, method.name)
    if compared is None:
        return [wording.UNDEFINED] * 3
    ends = wording.signed_interval(compared.gain)
    gain = wording.signed(compared.set_difference) + (f" [{ends}]" if ends else "")
    effect = wording.signed(compared.test.rank_biserial, 2)
    return [gain, wording.p_value(compared.holm_p), effect]


def _notes(dataset: DataSetResult) -> list[str]:
    able = judged(dataset)
    if not able:
        return ["No method gave figures."]
    counts = able[0].evaluations[0].counts
    seeds = max(len(method.seeds) for method in able)
    return [
        f"{counts['cases']} cases of {counts['subjects']} subjects; "
        f"{counts['cases_without_lesion']} of the cases have no lesion.",
        *(["Means over up to " + f"{seeds} seeds."] if seeds > 1 else []),
        "In brackets: 95 % intervals, subjects resampled.",
        "Oracle figures choose their threshold on the labels and cannot be had in use.",
    ]
