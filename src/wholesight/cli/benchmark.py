"""`wholesight benchmark SUITE --out DIR`: data sets x methods x seeds, and one report of all."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholesight.cli.options import (
    Device,
    DeviceName,
    JudgedSubset,
    Modality,
    require_judging,
    the_modality,
)

if TYPE_CHECKING:
    from rich.console import Console

    from wholesight.benchmark.cells.run import Outcome
    from wholesight.benchmark.plan.suite import Stress, Suite

_MOST_JOBS = 4


def benchmark(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A shipped suite, or a .yaml of your own.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the models and the report.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DATA", help="A data set. May be repeated."),
    ] = None,
    subset: JudgedSubset = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of every method; else as the suite says.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish what is missing in DIR.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at a time, one thread each; else a core each, at most 4."),
    ] = None,
    device: Device = DeviceName.auto,
    modality: Modality = None,
) -> None:
    """Train every method of a suite on every data set, judge all alike, write one report."""
    from wholesight.benchmark.plan.place import require_room
    from wholesight.benchmark.plan.suite import load_suite
    from wholesight.cli.speech import console

    chosen = _as_asked(
        load_suite(suite), subset=subset, seeds=seeds, modality=the_modality(modality)
    )
    require_room(out, resume=resume, again=["  " + _again()])
    screen = console()
    paths = _data(chosen, data or [], out, screen)
    screen.print(f"{chosen.name}: {chosen.question.strip()}", soft_wrap=True)
    ended = _run(
        chosen,
        paths,
        out,
        jobs=jobs or min(os.cpu_count() or 1, _MOST_JOBS),
        device=device,
        screen=screen,
    )
    screen.print(f"{ended.line}. Results in {out}", soft_wrap=True)
    if ended.report:
        screen.print(f"Report: {ended.report}", soft_wrap=True)
    raise typer.Exit(ended.exit_code)


def _run(
    suite: Suite, data: list[Path], out: Path, *, jobs: int, device: DeviceName, screen: Console
) -> Outcome:
    from wholesight.benchmark.cells.run import run_benchmark
    from wholesight.benchmark.plan.protocol import draw_up

    screen.print("Every file of the data is read once before anything is trained")
    protocol = draw_up(suite, data, device=device.value)
    cells = sum(len(each.seeds) for each in protocol.contenders) * len(protocol.materials)
    screen.print(f"{len(protocol.contenders)} methods, {cells} cells, {jobs} at a time")
    return run_benchmark(protocol, out, jobs=jobs, console=screen)


def _as_asked(
    suite: Suite, *, subset: str | None, seeds: int | None, modality: str | None
) -> Suite:
    """Return the suite with what the command line says otherwise, so that the protocol has it."""
    asked = {"subset": _subset(suite, subset), "seeds": seeds, "modality": modality}
    return suite.model_copy(update={key: value for key, value in asked.items() if value})


def _subset(suite: Suite, asked: str | None) -> str | None:
    require_judging(asked)
    suite.require_subset(asked)
    return asked


def _data(suite: Suite, given: list[Path], out: Path, screen: Console) -> list[Path]:
    """Return the data sets; what is plainly wrong with them is said before torch is loaded."""
    from wholesight.datasets import open_dataset
    from wholesight.errors import UsageError

    if suite.data:
        if given:
            raise UsageError(
                f"--data {given[0]}: suite {suite.name} makes its own data. Leave out --data."
            )
        return [_made(suite.name, suite.data, out, screen)]
    if not given:
        needs = f" {suite.needs.strip()}" if suite.needs else ""
        raise UsageError(f"suite {suite.name} needs data: --data FOLDER.{needs}")
    for path in given:
        open_dataset(path, modality=suite.modality)
    return given


def _made(name: str, asked: Stress, out: Path, screen: Console) -> Path:
    from wholesight.benchmark.plan.own_data import own_data

    lesions = len(asked.volumes_ml) * len(asked.contrasts) * asked.repeats
    screen.print(
        f"{name}: {asked.normal} made-up heads, and {lesions} with a lesion", soft_wrap=True
    )
    return own_data(name, asked, out)


def _again() -> str:
    """Write the command that was typed, with --resume."""
    return shlex.join(["wholesight", *sys.argv[1:], "--resume"])
