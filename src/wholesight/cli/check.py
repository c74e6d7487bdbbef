"""`wholesight check DATA`: what is in a data set and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholesight.cli.options import Modalities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from wholesight.datasets.finding import Finding
    from wholesight.datasets.report import Report

_MOST_OF_A_CODE = 10


def check(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A data set's folder, or its cases.tsv."),
    ],
    modality: Modalities = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report as JSON too; - prints only the JSON."),
    ] = None,
) -> None:
    """Read every file of a data set and say what is in it and what is wrong with it.

    Exit code: 0 all well, 3 no case can be used, 4 something must be mended.
    """
    from rich.console import Console

    from wholesight.io.files import write_json

    report = _run(data, modality or ())
    if json == "-":
        typer.echo(_as_text(report))
    else:
        _show(report, Console(highlight=False))
        if json is not None:
            write_json(Path(json), report.as_dict())
    raise typer.Exit(_exit_code(report))


def _run(data: Path, modalities: Sequence[str]) -> Report:
    """Check, with a progress line on a terminal's error stream."""
    from rich.console import Console
    from rich.progress import Progress

    from wholesight.datasets.check import check as check_dataset

    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        return check_dataset(
            data, modalities, on_case=lambda n, of: progress.update(task, completed=n, total=of)
        )


def _exit_code(report: Report) -> int:
    if not report.usable:
        return 3
    return 4 if report.errors else 0


def _as_text(report: Report) -> str:
    from json import dumps

    return dumps(report.as_dict(), indent=1, allow_nan=False)


def _show(report: Report, console: Console) -> None:
    from rich.text import Text

    console.print(Text(f"\n{report.root}", "bold"), Text(f"layout: {report.layout}\n", "dim"))
    if report.usable:
        console.print(_table_of_splits(report), "")
        console.print(_table_of_grids(report), "")
    _show_findings(report.findings, console)
    console.print(_last_line(report), soft_wrap=True)


def _table_of_splits(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("split")
    for name in ("cases", "subjects", "slices", "normal", "abnormal", "no mask", "lesion ml"):
        table.add_column(name, justify="right")
    for split, counts in report.splits.items():
        figures = (
            counts.cases,
            counts.subjects,
            counts.slices,
            counts.normal_slices,
            counts.abnormal_slices,
            counts.unmarked_slices,
        )
        lesion_ml = f"{counts.lesion_ml:,.1f}" if counts.abnormal_slices else "-"
        table.add_row(Text(split), *(f"{n:,}" if n else "-" for n in figures), lesion_ml)
    return table


def _table_of_grids(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("voxels", _ranges(report.shapes))
    table.add_row("spacing", f"{_ranges(report.spacings_mm)} mm")
    orientations = sorted(report.orientations.items(), key=lambda item: -item[1])
    table.add_row("orientation", ", ".join(f"{name} ({n})" for name, n in orientations))
    if report.sites:
        sites = ", ".join(f"{name} ({n})" for name, n in report.sites.items())
        # A site is called whatever the user calls it: no markup.
        table.add_row("sites", Text(sites))
    return table


def _ranges(counted: dict[tuple[int, ...], int] | dict[tuple[float, ...], int]) -> str:
    """Write the smallest and the largest along each axis.

    >>> _ranges({(256, 256, 9): 1, (256, 256, 40): 2})
    '256 x 256 x 9 to 40'
    """
    spans = [(min(axis), max(axis)) for axis in zip(*counted, strict=True)]
    return " x ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in spans)


def _show_findings(findings: tuple[Finding, ...], console: Console) -> None:
    """Print one paragraph a finding, and of a code that repeats only the first few."""
    from collections import Counter

    from rich.text import Text

    from wholesight.cli.speech import say_indented

    shown: Counter[str] = Counter()
    of_code = Counter(finding.code for finding in findings)
    for level, code, _, text in findings:
        shown[code] += 1
        if shown[code] > _MOST_OF_A_CODE:
            continue
        console.print(Text(f"{level} {code}", "bold red" if level == "error" else "bold yellow"))
        say_indented(text, console)
        if shown[code] == _MOST_OF_A_CODE < of_code[code]:
            say_indented(
                f"... and {of_code[code] - _MOST_OF_A_CODE} more of {code}; --json FILE lists all.",
                console,
            )
    if findings:
        console.print()


def _last_line(report: Report) -> str:
    from wholesight.datasets.finding import count

    notes = len(report.findings) - len(report.errors)
    found = [count(len(report.errors), "error")] if report.errors else []
    found += [count(notes, "note")] if notes else []
    of = f" of {report.usable + report.unusable}" if report.unusable else ""
    line = f"{count(report.usable, 'case')}{of} can be used; {' and '.join(found) or 'no fault'}."
    style = "green" if not report.errors else "red"
    return f"[bold {style}]{line}[/]"
