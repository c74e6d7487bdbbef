"""The picture of `guarantees.py`: what is promised, what came, and what promises nothing."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from guarantees_worlds import ALPHA, CONFIDENCE, RULES, SUBJECTS, WORLDS, Cell, Cells

BACKGROUND, TEXT, GRID, PROMISED = "#ffffff", "#22262e", "#e6e9ee", "#eaf4ec"
COLOURS = {
    "conformal p-value": "#0072b2",
    "fwe": "#56b4e9",
    "crc": "#009e73",
    "tolerance": "#8a6fc9",
    "plug-in quantile of maxima": "#d55e00",
    "percentile of voxels": "#e69f00",
    "percentile, read for scans": "#e69f00",
}
LABELS = {
    "conformal p-value": "p-value",
    "plug-in quantile of maxima": "plug-in quantile",
    "percentile of voxels": "percentile",
    "percentile, read for scans": "percentile",
}
MARKERS = dict(zip(WORLDS, "osD^", strict=True))
AT = np.arange(len(SUBJECTS))


def picture(cells: Cells) -> str:
    """Return the picture as SVG."""
    with mpl.rc_context(
        {
            "font.size": 11.5,
            "svg.hashsalt": "wholesight",
            "text.color": TEXT,
            "axes.labelcolor": TEXT,
        }
    ):
        return svg(draw(cells))


def draw(cells: Cells) -> Figure:
    """Draw the four panels."""
    figure = Figure(figsize=(9.2, 8.4), facecolor=BACKGROUND, layout="constrained")
    axes = figure.subplots(2, 2)
    draw_means(axes[0, 0], cells)
    draw_exceeding(axes[0, 1], cells)
    draw_spreads(axes[1, 0], cells)
    draw_scans(axes[1, 1], cells)
    worlds = [
        Line2D([], [], color=TEXT, marker=marker, linestyle="", markersize=6, label=world)
        for world, marker in MARKERS.items()
    ]
    title = Line2D([], [], linestyle="", label="simulated worlds:")
    figure.legend(handles=[title, *worlds], loc="outside lower center", ncols=5, frameon=False)
    figure.get_layout_engine().set(hspace=0.06, wspace=0.05)  # type: ignore[union-attr]
    return figure


def draw_means(axis: Axes, cells: Cells) -> None:
    """Mean rates: promised to be alpha or less."""
    names = ["conformal p-value", "fwe", "crc", "plug-in quantile of maxima"]
    promise(axis, 10.9, 100 * ALPHA)
    dodge(axis, cells, names, lambda cell: 100 * cell.mean)
    titled(axis, f"Mean rate: {100 * ALPHA:g} % promised", "true rate, mean over calibrations, %")


def draw_exceeding(axis: Axes, cells: Cells) -> None:
    """How many single calibrations have a true rate above alpha."""
    names = ["tolerance", "fwe", "plug-in quantile of maxima"]
    promise(axis, 90, 100 * (1 - CONFIDENCE))
    dodge(axis, cells, names, lambda cell: 100 * cell.exceeding)
    needs = f"tolerance\nneeds {RULES['tolerance'].needs}"
    axis.text(-0.46, 23, needs, color=COLOURS["tolerance"], fontsize=9.5)
    titled(axis, "With confidence: tolerance alone", f"calibrations above {100 * ALPHA:g} %, %")


def draw_spreads(axis: Axes, cells: Cells) -> None:
    """5 % to 95 % of the true rate over calibrations, beside what is predicted."""
    names = ["fwe", "tolerance", "crc"]
    promise(axis, 17.5, 100 * ALPHA)
    for number, name in enumerate(names):
        for at, n in enumerate(SUBJECTS):
            cell = cells.get(("skewed", n, name))
            if cell is not None and cell.predicted is not None:
                x = at + (number - 1) * 0.24
                axis.vlines(x, 100 * cell.low, 100 * cell.high, COLOURS[name], linewidth=10)
                low, high = 100 * np.array(cell.predicted)
                half = (high - low) / 2
                axis.errorbar(x, low + half, half, ecolor=TEXT, elinewidth=1.3, capsize=4.5)
        axis.plot([], [], "s", color=COLOURS[name], markersize=9, label=LABELS.get(name, name))
    axis.plot([], [], "|", color=TEXT, markersize=14, markeredgewidth=1.3, label="predicted")
    legend(axis)
    titled(axis, "One calibration may be off (skewed)", "true rate, 5th to 95th percentile, %")


def draw_scans(axis: Axes, cells: Cells) -> None:
    """What a percentile of voxels means for scans, beside fwe."""
    promise(axis, 118, 100 * ALPHA)
    dodge(axis, cells, ["percentile, read for scans", "fwe"], lambda cell: 100 * cell.mean)
    axis.set_yticks(range(0, 101, 20))
    titled(axis, "A percentile says nothing of scans", "scans with anything flagged, %")


def dodge(axis: Axes, cells: Cells, names: list[str], figure: Callable[[Cell], float]) -> None:
    """Draw a marker for every rule, world and n, side by side."""
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        for place, (world, marker) in enumerate(MARKERS.items()):
            shift = (number - (len(names) - 1) / 2) * width + (place - 1.5) * width / 4.5
            found = [(at + shift, cells.get((world, n, name))) for at, n in enumerate(SUBJECTS)]
            points = [(x, figure(cell)) for x, cell in found if cell is not None]
            style = {"color": COLOURS[name], "markersize": 6.0, "markeredgewidth": 0.0}
            axis.plot(*np.array(points).T, marker, clip_on=False, **style)
        label = LABELS.get(name, name)
        axis.plot([], [], "s", color=COLOURS[name], markersize=9, label=label)
    legend(axis)


def promise(axis: Axes, top: float, value: float) -> None:
    """Shade what is promised."""
    axis.set_ylim(0, top)
    axis.axhspan(0, value, color=PROMISED, linewidth=0, zorder=0)
    axis.axhline(value, color=TEXT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=0.5)


def legend(axis: Axes) -> None:
    """Name the rules."""
    place = {"loc": "upper right", "handletextpad": 0.3, "columnspacing": 1.2, "borderpad": 0.1}
    axis.legend(frameon=False, fontsize=11, ncols=2, **place)


def titled(axis: Axes, title: str, label: str) -> None:
    """Name panel and axes."""
    axis.set_title(title, loc="left", fontsize=13, fontweight="bold")
    axis.set_ylabel(label)
    axis.set_xlabel("calibration subjects n")
    axis.set_xticks(AT, [str(n) for n in SUBJECTS])
    axis.set_xlim(-0.5, AT[-1] + 0.5)
    axis.tick_params(colors=TEXT, length=0)
    axis.grid(axis="y", color=GRID)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def svg(figure: Figure) -> str:
    """Write a figure as text, the same each time."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", facecolor=BACKGROUND, metadata={"Date": None})
    # matplotlib leaves blanks at the ends of lines.
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
