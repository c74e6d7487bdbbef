"""What happened in every epoch: history.csv, the learning curve, and the line one watches."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from matplotlib.figure import Figure
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


def draw_curve(rows: list[dict[str, float]], path: Path) -> None:
    """Draw each part of the loss over the epochs, and the constraint's satisfied share, as PNG.

    Parts of the loss are in nats per slice; attention and satisfied are shares.
    """
    names = [name for name in rows[-1] if name not in ("epoch", "seconds")]
    lines = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.3 * lines), layout="constrained")
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, _COLUMNS, position)
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), color="#1b6ca8", linewidth=1.5)
        share = name.startswith(("satisfied", "attention"))
        axes.set_title(f"{name}, {'share' if share else 'nats a slice'}", fontsize=10, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if share:
            axes.set_ylim(-0.03, 1.03)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())


def _spoken(metrics: dict[str, Any]) -> str:
    """Return the parts in a few words, the satisfied share as a percentage."""
    words = []
    for name, value in metrics.items():
        if name.startswith("satisfied"):
            words.append(f"{name} {100 * float(value):.0f} %")
        elif name in ("reconstruction", "kl"):
            words.append(f"{name} {float(value):.0f}")
    return "  ".join(words)


def _csv(rows: list[dict[str, float]]) -> str:
    # A term that starts later adds columns, so the names come from all rows, in order.
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
