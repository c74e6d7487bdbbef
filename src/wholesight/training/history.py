"""What happened in every epoch: history.csv, the learning curve, and the line one watches."""

from __future__ import annotations

import csv
import io
import time
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple

import lightning.pytorch as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from wholesight.io.files import write_bytes, write_text

_COLUMNS = 3
# So many numbers fit beside the bar, where none is known by name.
_SPOKEN = 3


class History(pl.Callback):
    """Keeps the mean of every loss part per epoch; part of the checkpoint, so resuming keeps it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row and rewrite history.csv."""
        parts = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = round(time.monotonic() - self._started, 3)
        self.rows.append({"epoch": trainer.current_epoch + 1, "seconds": seconds, **parts})
        write_text(self.folder / "history.csv", _csv(self.rows))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.rows = list(state_dict["rows"])


class EpochProgress(pl.Callback):
    """One line: epochs, the loss's parts, the share of slices that satisfy the constraint."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs = epochs
        self.console = console
        self.bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            # All of it has to fit into 80 columns.
            TextColumn("{task.fields[parts]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task = self.bar.add_task("epochs", total=epochs, parts="")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar where a resumed run stands."""
        self.bar.update(self.task, completed=trainer.current_epoch)
        if self.console.is_terminal:
            self.bar.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance by an epoch; in a log file, with a line for each."""
        parts = _spoken(trainer.callback_metrics)
        self.bar.update(self.task, advance=1, parts=parts)
        if not self.console.is_terminal:
            self.console.print(f"epoch {trainer.current_epoch + 1}/{self.epochs}  {parts}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the last state on the screen."""
        self.bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back before a message is printed."""
        self.bar.stop()


class _Panel(NamedTuple):
    """One picture of the learning curve: the columns it shows, by how their names begin."""

    title: str
    prefixes: tuple[str, ...]
    share: bool = False
    log: bool = False


# Columns that belong together, in the order of the picture; any other gets a panel of its own.
_PANELS: Final = (
    _Panel("loss, as minimised", ("loss",)),
    _Panel("reconstruction, nats a slice", ("reconstruction",)),
    _Panel("KL, nats a slice", ("kl",)),
    _Panel("constraints' cost, nats a slice", ("constraint", "contrast")),
    _Panel("share satisfied", ("satisfied",), share=True),
    _Panel("share on the logarithm", ("log_branch",), share=True),
    _Panel("slack, mean of -g", ("slack",)),
    _Panel("mean attention", ("attention",)),
    _Panel("gradient norm, shared weights", ("gradient",), log=True),
)
# Dashes too: lines that lie on each other stay visible, and colour is not needed to tell them.
_LINES: Final = (("#1b6ca8", "-"), ("#c4571b", "--"), ("#4b8b3b", ":"), ("#7b52ab", "-."))


def draw_curve(rows: list[dict[str, float]], path: Path) -> None:
    """Draw each part of the loss over the epochs, and how the constraints fare, as PNG."""
    panels = _panels([name for name in _names(rows) if name not in ("epoch", "seconds")])
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 2.4 * lines), layout="constrained")
    for position, (panel, names) in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(lines, _COLUMNS, position), panel, names, rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())


def _panels(names: list[str]) -> list[tuple[_Panel, list[str]]]:
    """Return each panel that has something to show, with its columns."""
    shown = [(panel, [n for n in names if n.startswith(panel.prefixes)]) for panel in _PANELS]
    known = {name for _, own in shown for name in own}
    others = [(_Panel(name.replace("_", " "), (name,)), [name]) for name in names]
    return [(panel, own) for panel, own in shown if own] + [
        (panel, own) for panel, own in others if own[0] not in known
    ]


def _draw_panel(axes: Axes, panel: _Panel, names: list[str], rows: list[dict[str, float]]) -> None:
    for name, (colour, dashes) in zip(names, cycle(_LINES), strict=False):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        marker = "o" if len(points) == 1 else None
        label = name.removeprefix("gradient_").replace("_", " ")
        style = {"color": colour, "linestyle": dashes, "linewidth": 1.5, "marker": marker}
        axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    if panel.share:
        axes.set_ylim(-0.03, 1.03)
    if panel.log:
        axes.set_yscale("log")
    # Stages that take turns are shown on one time axis.
    axes.set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
    if len(names) > 1 or len(panel.prefixes) > 1:
        axes.legend(fontsize=8, frameon=False)


def _spoken(metrics: dict[str, Any]) -> str:
    """Return the parts in a few words, the satisfied share as a percentage."""
    words = []
    for name, value in metrics.items():
        if name.startswith("satisfied"):
            words.append(f"{name} {100 * float(value):.0f} %")
        elif name.startswith(("reconstruction", "kl")):
            words.append(f"{name} {float(value):.0f}")
    others = [name for name in metrics if not name.startswith(("loss", "gradient"))][:_SPOKEN]
    spoken = (f"{name.replace('_', ' ')} {float(metrics[name]):.3g}" for name in others or metrics)
    return "  ".join((words or list(spoken))[:_SPOKEN])


def _csv(rows: list[dict[str, float]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _names(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _names(rows: list[dict[str, float]]) -> list[str]:
    """Return the columns of all rows, in order: a term that starts later adds some."""
    return list(dict.fromkeys(name for row in rows for name in row))
