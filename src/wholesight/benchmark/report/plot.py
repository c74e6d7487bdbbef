"""A plot as numbers that a template draws as inline SVG, so that the page's colours serve it.

x y : the plot's own units. A look is the number of a method's colour and shape, None = grey.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator


class Frame(NamedTuple):
    """Size of a plot and the place of its axes, in SVG units."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


WIDE = Frame(460, 340, 56, 448, 14, 290)
SMALL = Frame(260, 196, 58, 252, 10, 154)


class Scale(NamedTuple):
    """From a value to a share of an axis; what lies beyond an end is drawn at that end."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value stands, 0 at the low end and 1 at the high one."""
        low, high, at = (self._bent(each) for each in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Return (share, text) of round values."""
        values = self._decades(most) if self.log else self._steps(most)
        return [(self.share(value), _short(value)) for value in values]

    def _bent(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value

    def _steps(self, most: int) -> list[float]:
        found = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        inside = [float(v) for v in found if self.low - slack <= v <= self.high + slack]
        return [round(value, 12) + 0.0 for value in inside]

    def _decades(self, most: int) -> list[float]:
        """Whole decades, with 2 and 5 between them where there is room."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for leads in ((1, 2, 5), (1, 3), (1,)):
            values = [lead * 10.0**n for n in range(first, last + 1) for lead in leads]
            inside = [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]
            if len(inside) <= most + 1:
                break
        return inside


def _short(value: float) -> str:
    """Write a tick; thousands as k, so that it fits beside an axis.

    >>> _short(-0.5), _short(25000.0)
    ('−0.5', '25k')
    """
    text = f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


class Line(NamedTuple):
    """A curve: `points` as SVG wants them. faint : one of several of its kind."""

    points: str
    look: int | None
    text: str
    faint: bool = False


class Mark(NamedTuple):
    """A point, and what it says on hover."""

    x: float
    y: float
    look: int | None
    text: str


def log_scale(values: Iterable[float]) -> Scale:
    """Return a log scale around positive values, at least half a decade wide."""
    low, high = min(values_ := [v for v in values if v > 0]), max(values_)
    spread = max(high / low, 3.0) ** 0.04
    return Scale(low / spread, max(high, 3 * low) * spread, log=True)


class Guide(NamedTuple):
    """A line to compare with, an SVG path, and a label that ends at x, y."""

    path: str
    label: str = ""
    x: float = 0.0
    y: float = 0.0
    css: str = "guide"


@dataclass
class Plot:
    """One plot, filled piece by piece."""

    frame: Frame
    x: Scale
    y: Scale
    x_label: str
    y_label: str
    description: str
    title: str = ""
    mark_size: float = 4.6
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    guides: list[Guide] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the data lies in the picture."""
        frame = self.frame
        across = frame.left + self.x.share(x) * (frame.right - frame.left)
        up = frame.bottom - self.y.share(y) * (frame.bottom - frame.top)
        return round(across, 1), round(up, 1)

    def draw(
        self,
        points: Iterable[tuple[float, float]],
        look: int | None,
        text: str,
        *,
        faint: bool = False,
    ) -> None:
        """Add a curve; a point that rounds to the one before is left out."""
        placed: list[tuple[float, float]] = []
        for x, y in points:
            at = self.at(x, y)
            if not placed or at != placed[-1]:
                placed.append(at)
        if placed:
            written = " ".join(f"{x:g},{y:g}" for x, y in placed)
            self.lines.append(Line(written, look, text, faint))

    def mark(self, x: float, y: float, look: int | None, text: str) -> None:
        """Add a point."""
        self.marks.append(Mark(*self.at(x, y), look, text))

    def level(self, y: float) -> None:
        """Add a horizontal line to compare with."""
        _, up = self.at(self.x.low, y)
        self.guides.append(Guide(f"M{self.frame.left} {up}H{self.frame.right}"))

    def upright(self, x: float, label: str = "") -> None:
        """Add a vertical line to compare with; its label stands above the axes, off all curves."""
        across, _ = self.at(x, self.y.low)
        frame = self.frame
        path = f"M{across} {frame.top}V{frame.bottom}"
        self.guides.append(Guide(path, label, across + 4, frame.top - 3))

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Return (x, text)."""
        width = self.frame.right - self.frame.left
        return [
            (round(self.frame.left + share * width, 1), text)
            for share, text in self.x.ticks(5 if width > 250 else 4)
        ]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Return (y, text)."""
        height = self.frame.bottom - self.frame.top
        return [
            (round(self.frame.bottom - share * height, 1), text)
            for share, text in self.y.ticks(5 if height > 200 else 3)
        ]
