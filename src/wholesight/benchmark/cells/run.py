"""Run a benchmark: finish the cells that are missing, list those that fail, write the report."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console

from wholesight.benchmark.cells.cell import Cell, can_go_on, cells_of
from wholesight.benchmark.cells.collect import collect
from wholesight.benchmark.cells.progress import CellProgress
from wholesight.benchmark.cells.workers import Ended, Failed, finish_all
from wholesight.benchmark.plan.place import is_finished, remove_unfinished, unfinished
from wholesight.benchmark.plan.protocol import Protocol, write_protocol
from wholesight.benchmark.report.write import write_report
from wholesight.errors import Interrupted, UsageError
from wholesight.io.files import make_folder, write_text

FAILURES: Final = "failures.tsv"
_TRACES: Final = "failures"
_COLUMNS: Final = ("data", "method", "seed", "code", "reason")


class Outcome(NamedTuple):
    """How a run ends: the last line of the log, the exit code, and the report if there is one."""

    line: str
    exit_code: int
    report: Path | None


def outcome(done: int, failed: int, report: Path | None = None) -> Outcome:
    """Say how a benchmark went. The one place where its exit code comes from.

    >>> outcome(5, 1)[:2]
    ('5 of 6 cells finished, 1 failed: see failures.tsv', 4)
    """
    line = f"{done} of {done + failed} cells finished"
    if not failed:
        return Outcome(line, 0, report)
    return Outcome(f"{line}, {failed} failed: see {FAILURES}", 4 if done else 7, report)


def run_benchmark(
    protocol: Protocol,
    out: Path,
    *,
    jobs: int,
    console: Console | None = None,
) -> Outcome:
    """Finish every cell that is not there yet, `jobs` at a time, and write the report into `out`.

    The report is made of what is on disk alone, so that neither `jobs` nor how often it was stopped
    can change it. Raises UsageError when `out` holds another benchmark or one that is running,
    Interrupted after Ctrl-C, OutputError when nothing can be written.
    """
    make_folder(out)
    with _alone(out):
        write_protocol(protocol, out)
        remove_unfinished(out, unless=can_go_on)
        cells = cells_of(protocol, out)
        failures = _finish(cells, out, jobs=jobs, console=console)
        done = len(cells) - len(failures)
        report = write_report(collect(protocol, cells, failures), out) if done else None
    return outcome(done, len(failures), report)


def _finish(
    cells: list[Cell], out: Path, *, jobs: int, console: Console | None
) -> dict[str, Failed]:
    """Finish what is missing; returns {cell: how it failed}."""
    missing = [cell for cell in cells if not is_finished(cell.folder)]
    _tell_damaged(missing, console)
    failures: dict[str, Failed] = {}
    shutil.rmtree(out / _TRACES, ignore_errors=True)
    _write_failures(cells, failures, out)
    before = len(cells) - len(missing)
    progress = CellProgress(missing, before=before, jobs=jobs, console=console)

    def told(cell: Cell, ended: Ended) -> None:
        if isinstance(ended, Failed):
            shutil.rmtree(unfinished(cell.folder), ignore_errors=True)
            failures[cell.name] = ended
            _write_failures(cells, failures, out)
        progress.told(cell, ended)

    try:
        with progress:
            finish_all(missing, jobs=jobs, told=told)
    except KeyboardInterrupt as stop:
        kept = sum(is_finished(cell.folder) for cell in cells)
        raise Interrupted(
            f"Stopped. {kept} of {len(cells)} cells are finished and kept; the same command with "
            "--resume goes on from there, trainings after their last full epoch."
        ) from stop
    finally:
        remove_unfinished(out, unless=can_go_on)
    return failures


def _tell_damaged(missing: list[Cell], console: Console | None) -> None:
    for cell in missing:
        if console and cell.folder.exists():
            console.print(f"{cell.name}  is damaged, and done again", soft_wrap=True)


def _write_failures(cells: list[Cell], failures: dict[str, Failed], out: Path) -> None:
    """Write the table anew, in the order of the cells, and the traces beside it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for cell in cells:
        failed = failures.get(cell.name)
        if failed:
            place = (cell.material.name, cell.contender.name, cell.seed)
            writer.writerow([*place, failed.code, failed.reason])
            if failed.trace:
                (out / _TRACES).mkdir(exist_ok=True)
                write_text(out / _TRACES / f"{cell.name}.txt", failed.trace)
    write_text(out / FAILURES, buffer.getvalue())


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder: two runs would remove each other's unfinished cells.

    The lock is gone with its process, however that ends.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        os.close(folder)
        raise UsageError(
            f"{out}: another benchmark is running in this folder. Wait for it, stop it, or choose "
            "another --out."
        ) from fault
    except OSError:
        pass  # some network disks have no locks; then nobody is kept out
    try:
        yield
    finally:
        os.close(folder)
