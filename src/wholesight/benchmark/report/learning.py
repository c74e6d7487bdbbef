"""Learning curves: the loss, and the share of slices that satisfy the constraint, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from wholesight.benchmark.report.plot import SMALL, Plot, Scale
from wholesight.benchmark.results import DataSetResult, MethodResult

# A loss that falls by more than this is drawn on a logarithmic axis.
_WIDE_RANGE: Final = 8.0
_LOSS: Final = "loss"
_SATISFIED: Final = "satisfied"

History = Sequence[Mapping[str, float]]


class Learning(NamedTuple):
    """How one method learnt. satisfied : None where no constraint is part of the method."""

    name: str
    look: int | None
    seeds: int
    loss: Plot
    satisfied: Plot | None


def learning_curves(dataset: DataSetResult, looks: Mapping[str, int]) -> list[Learning]:
    """Draw every trained method of which there is a history, a thin line a seed."""
    found = []
    for method in dataset.methods:
        histories = [history for history in method.histories if len(history) > 0]
        if any(_LOSS in row for history in histories for row in history):
            found.append(_learning(method, histories, looks.get(method.name)))
    return found


def _learning(method: MethodResult, histories: list[History], look: int | None) -> Learning:
    seeds = method.seeds if len(method.seeds) == len(histories) else range(len(histories))
    epochs = max(row["epoch"] for history in histories for row in history)
    across = Scale(0.0 if epochs <= 1 else 1.0, float(epochs))
    loss = Plot(
        SMALL,
        across,
        _loss_scale([row[_LOSS] for history in histories for row in history if _LOSS in row]),
        "epoch",
        "loss",
        f"Loss of {method.name} by epoch.",
    )
    satisfied = Plot(
        SMALL,
        across,
        Scale(0.0, 1.0),
        "epoch",
        "share satisfied",
        f"Share of slices of {method.name} that satisfy the constraint, by epoch.",
    )
    for seed, history in zip(seeds, histories, strict=True):
        _draw(loss, history, _LOSS, look, f"{method.name}, seed {seed}")
        for column in _satisfied_columns(history):
            _draw(satisfied, history, column, look, f"{method.name}, seed {seed}, {column}")
    return Learning(method.name, look, len(histories), loss, satisfied if satisfied.lines else None)


def _draw(plot: Plot, history: History, column: str, look: int | None, text: str) -> None:
    points = [(row["epoch"], row[column]) for row in history if column in row]
    plot.draw(points, look, text, faint=True)
    if len(points) == 1:
        plot.mark(*points[0], look, text)


def _satisfied_columns(history: History) -> list[str]:
    """Also of the parts of a combined method, whose columns bear the part's name in front."""
    names = {name: None for row in history for name in row}
    return [name for name in names if _SATISFIED in name]


def _loss_scale(losses: list[float]) -> Scale:
    low, high = min(losses), max(losses)
    if low > 0 and high > _WIDE_RANGE * low:
        return Scale(low, high, log=True)
    room = 0.04 * (high - low) or abs(high) or 1.0
    return Scale(low - room, high + room)
