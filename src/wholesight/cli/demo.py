"""`wholesight demo`: the whole way on made-up heads, with the commands that one would type."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wholesight.cli.speech import command, console
from wholesight.errors import UsageError


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")] = Path(
        "out/demo"
    ),
) -> None:
    """Make heads, train, set the threshold, segment, evaluate: a few minutes on two cores."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        another = f"{out}-2"
        raise UsageError(
            f"{out}: is there already. Remove it first:\n  {shlex.join(['rm', '-r', str(out)])}\n"
            f"or make another one:\n  {command('demo', '--out', another)}"
        )
    data, model, maps, report = out / "heads", out / "model", out / "maps", out / "report"
    for words in (
        ["phantom", str(data), "--normal", "24", "--lesion", "8"],
        ["check", str(data)],
        ["fit", str(data), "--recipe", "quick", "--out", str(model)],
        ["calibrate", str(model), str(data), "--rule", "percentile", "--alpha", "0.05"],
        ["segment", str(model), str(data), "--subset", "test", "--out", str(maps)],
        ["evaluate", str(maps), str(data), "--subset", "test", "--out", str(report)],
    ):
        _run(words)
        if words[0] == "calibrate":
            _tell_what_else_to_do(data)
    _tell_what_to_open(data, maps, report)


def _run(words: list[str]) -> None:
    """Run one command of the command line in this process, after showing it."""
    from rich.text import Text

    from wholesight.cli.main import app

    console().print(Text(f"\n$ {command(*words)}", "bold"), soft_wrap=True)
    code = app(words, standalone_mode=False)
    if code:
        raise typer.Exit(code)


def _tell_what_else_to_do(data: Path) -> None:
    """Say why the demo takes a rule without a promise, and that nobody else should."""
    from wholesight.calibration.conformal import subjects_needed
    from wholesight.datasets import open_dataset

    heads = len(open_dataset(data).subset("calibration"))
    needed = subjects_needed(0.05)
    console().print(
        f"The demo makes only {heads} heads for calibration, so it takes a rule that promises "
        f"nothing. With {needed} or more normal scans of your own, leave out --rule percentile: "
        "the threshold then comes with a promise."
    )


def _tell_what_to_open(data: Path, maps: Path, report: Path) -> None:
    import csv

    with (maps / "results.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    # Where most is flagged there is most to see.
    scan = max(rows, key=lambda row: float(row["flagged_ml"]))["case"]
    image = next(data.glob(f"*/{scan}.nii.gz"))
    typer.echo(f"\nReport:  {report / 'report.html'}")
    typer.echo("Open these three together in any NIfTI viewer:")
    for path in (image, maps / f"{scan}_anomaly.nii.gz", maps / f"{scan}_mask.nii.gz"):
        typer.echo(f"  {path}")
