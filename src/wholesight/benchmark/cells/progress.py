"""What one sees while cells are finished: how many, how many failed, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from wholesight.benchmark.cells.cell import Cell
from wholesight.benchmark.cells.workers import Ended, Failed

# How long a cell takes beside another, by what its recipe says that training costs. Judging takes
# seconds whatever was trained.
_WEIGHTS: Final = {"nothing": 1, "seconds": 1, "minutes": 10, "hours": 600, "days": 10000}


class CellProgress:
    """A line for every cell; on a terminal a bar below them, elsewhere the time left in each.

    cells : those that are to be finished. before : how many were there already.
    """

    def __init__(
        self, cells: Sequence[Cell], *, before: int, jobs: int, console: Console | None
    ) -> None:
        self.jobs = jobs
        self.console = console or Console(quiet=True)
        self.all = before + len(cells)
        self.over = before
        self.failed = 0
        self.seconds = 0.0
        self.weight_done = 0
        self.weight_left = sum(_weight(cell) for cell in cells)
        self.cells_left = len(cells)
        self.told_at = time.monotonic()
        self.bar = Progress(
            TextColumn("cells"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            _Spoken(self._left),
            console=self.console,
        )
        self.task = self.bar.add_task("cells", total=self.all, completed=before)

    def __enter__(self) -> CellProgress:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Where it was never started, stopping prints an empty line.
        if self.console.is_terminal:
            self.bar.stop()

    def told(self, cell: Cell, ended: Ended) -> None:
        """Count a cell, and say in a line what became of it."""
        self.over += 1
        self.failed += isinstance(ended, Failed)
        self.weight_left -= _weight(cell)
        self.cells_left -= 1
        self.told_at = time.monotonic()
        if not isinstance(ended, Failed):
            self.seconds += ended.seconds
            self.weight_done += _weight(cell)
        self.bar.update(self.task, completed=self.over)
        place = f"{self.over:>{len(str(self.all))}}/{self.all}"
        seconds = None if self.console.is_terminal else self._seconds_left()
        left = "" if seconds is None else f"  about {_duration(seconds)} left"
        self.console.print(f"{place}  {cell.name}  {_spoken(ended)}{left}", soft_wrap=True)

    def _left(self) -> str:
        seconds = self._seconds_left()
        told = [f"{self.failed} failed"] if self.failed else []
        return ", ".join(told if seconds is None else [*told, f"{_duration(seconds)} left"])

    def _seconds_left(self) -> float | None:
        """Guess from what finished cells took, each weighted by its recipe's cost.

        The guess of when the last cell ended, less what has passed since.
        """
        if not self.weight_done or not self.cells_left:
            return None
        at_a_time = min(self.jobs, self.cells_left)
        guess = self.seconds / self.weight_done * self.weight_left / at_a_time
        return max(guess - (time.monotonic() - self.told_at), 0.0)


class _Spoken(ProgressColumn):
    """Asks what to say whenever the bar is drawn, also between two cells."""

    def __init__(self, say: Callable[[], str]) -> None:
        super().__init__()
        self.say = say

    def render(self, task: Task) -> Text:
        return Text(self.say())


def _weight(cell: Cell) -> int:
    return _WEIGHTS[cell.contender.cost]


def _spoken(ended: Ended) -> str:
    if isinstance(ended, Failed):
        return f"FAILED, {ended.code}: {ended.reason}"
    auprc = "none" if ended.auprc is None else f"{ended.auprc:.3f}"
    return f"AUPRC {auprc}  {ended.seconds:.0f} s"


def _duration(seconds: float) -> str:
    """Say a time as one would.

    >>> [_duration(seconds) for seconds in (0, 20, 130, 7500)]
    ['1 min', '1 min', '3 min', '2 h 5 min']
    """
    minutes = max(math.ceil(seconds / 60), 1)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
