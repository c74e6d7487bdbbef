"""The pictures of a report, as numbers that a template draws: curves, case by case, slices.

Plots are inline SVG, so that the page's own colours and fonts serve them, light or dark. Slices
are small PNGs in data URIs. Axes: r c rows and columns of a slice; x y a plot's own units.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.colors import to_hex
from matplotlib.image import imsave
from skimage.measure import find_contours

from wholesight.benchmark.evaluate import Evaluation, OperatingPoint, Row
from wholesight.benchmark.thumbnail import Thumbnail

# The plots' frame, in SVG units.
WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 448, 14, 290

# Best, middle and worst cases that are shown: two of each.
_SHOWN_OF_EACH = 2

# magma, without its first shades: a quiet body must still stand out from the black around it.
_COLOURS = mpl.colormaps["magma"](np.linspace(0.12, 1.0, 256))


class Mark(NamedTuple):
    """A point of a plot: where, of which method (0 = the detector), and what it says on hover."""

    x: float
    y: float
    method: int
    text: str


class Line(NamedTuple):
    """A curve of a plot: `points` as SVG wants them."""

    points: str
    method: int


class CurvePlot(NamedTuple):
    """Precision against recall. chance : the height of the chance line."""

    lines: list[Line]
    marks: list[Mark]
    chance: float | None


class CasePlot(NamedTuple):
    """One figure a case and method, cases from best to worst for the detector.

    stems : (x, top, bottom) of the line that joins the marks of a case.
    """

    stems: list[tuple[float, float, float]]
    marks: list[Mark]


class Panel(NamedTuple):
    """One picture of a case.

    method : whose, None for the image itself. heat : the coloured map as a data URI, None where
    the image is shown. outlines : (css class, SVG path) in pixels of the picture.
    """

    label: str
    method: int | None
    alt: str
    heat: str | None
    outlines: list[tuple[str, str]]


class CasePicture(NamedTuple):
    """The pictures of one case, all of one slice.

    image : the slice as a data URI. size_px, pixel_mm : (height, width).
    """

    rank: str
    row: Row
    slice_index: int
    image: str
    size_px: tuple[int, int]
    pixel_mm: tuple[float, float]
    panels: list[Panel]


def curve_plot(evaluations: Sequence[Evaluation]) -> CurvePlot:
    """Place every method's precision-recall curve, and a mark where its masks stand."""
    lines = [
        Line(_points(each.curve.recall, each.curve.precision), method)
        for method, each in enumerate(evaluations)
        if each.curve.recall.size
    ]
    marks = [
        Mark(_x(at.recall), _y(at.precision), method, _operating_text(each.name, at))
        for method, each in enumerate(evaluations)
        if (at := each.operating_point) is not None
    ]
    chance = evaluations[0].prevalence
    return CurvePlot(lines, marks, None if chance is None else _y(chance))


def case_plot(evaluations: Sequence[Evaluation]) -> CasePlot:
    """Place every case's AUPRC under every method, where it is defined."""
    order = ranked(evaluations[0].rows)
    room = (RIGHT - LEFT) / max(len(order), 1)
    # Side by side, or equal figures would hide each other.
    aside = [
        min(8.0, room / (len(evaluations) + 0.6)) * (method - (len(evaluations) - 1) / 2)
        for method in range(len(evaluations))
    ]
    stems, marks = [], []
    for place, index in enumerate(order):
        x = LEFT + (place + 0.5) * room
        placed = _case_marks(evaluations, index, [x + step for step in aside])
        heights = [mark.y for mark in placed]
        stems.append((round(x, 1), min(heights), max(heights)))
        marks += placed
    return CasePlot(stems, marks)


def ranked(rows: Sequence[Row]) -> list[int]:
    """Order the cases by AUPRC, best first; cases that have none are left out."""
    figures = {i: row["average_precision"] for i, row in enumerate(rows)}
    known = {i: figure for i, figure in figures.items() if isinstance(figure, float)}
    return sorted(known, key=lambda i: -known[i])


def case_pictures(evaluations: Sequence[Evaluation]) -> list[CasePicture]:
    """Show the detector's best, middle and worst cases, and its noisiest one without lesion."""
    rows = evaluations[0].rows
    order = ranked(rows)
    places = _places_to_show(len(order))
    shown = [(f"Rank {place + 1} of {len(order)}", order[place]) for place in places]
    healthy = [i for i, row in enumerate(rows) if not row["lesion_voxels_inside"]]
    if healthy:
        noisiest = max(healthy, key=lambda i: rows[i]["flagged_share"] or 0.0)
        shown.append(("No lesion", noisiest))
    return [_picture(rank, index, evaluations) for rank, index in shown]


def colour_stops(steps: int = 12) -> str:
    """Return the maps' colours as the stops of a CSS gradient, from low to high."""
    return ", ".join(to_hex(c) for c in _COLOURS[np.linspace(0, 255, steps).astype(int)])


def _case_marks(evaluations: Sequence[Evaluation], index: int, x: Sequence[float]) -> list[Mark]:
    figures = [each.rows[index]["average_precision"] for each in evaluations]
    case = evaluations[0].rows[index]["case"]
    return [
        Mark(
            round(x[method], 1),
            _y(figure),
            method,
            f"{case}, {evaluations[method].name}: AUPRC {figure:.3f}",
        )
        for method, figure in enumerate(figures)
        if isinstance(figure, float)
    ]


def _places_to_show(cases: int) -> list[int]:
    """Places in the ranking, from best to worst, without repeats.

    >>> _places_to_show(20), _places_to_show(3)
    ([0, 1, 9, 10, 18, 19], [0, 1, 2])
    """
    if cases <= 3 * _SHOWN_OF_EACH:
        return list(range(cases))
    middle = (cases - _SHOWN_OF_EACH) // 2
    starts = (0, middle, cases - _SHOWN_OF_EACH)
    return [start + step for start in starts for step in range(_SHOWN_OF_EACH)]


def _picture(rank: str, index: int, evaluations: Sequence[Evaluation]) -> CasePicture:
    row = evaluations[0].rows[index]
    case = row["case"]
    shown = evaluations[0].thumbnails[index]
    truth = [("truth", outline(shown.truth))]
    panels = [
        Panel("Image", None, f"{case}: the image", None, []),
        Panel("Truth", None, f"{case}: outline of the lesion on the image", None, truth),
    ]
    for method, each in enumerate(evaluations):
        seen = each.thumbnails[index]
        alt = f"{case}: anomaly map of {each.name}, with the lesion's outline"
        panels.append(Panel("Map", method, alt, _heat(seen, each.map_range), truth))
        if seen.mask is not None:
            alt = f"{case}: what {each.name} flags, with the lesion's outline"
            panels.append(Panel("Mask", method, alt, None, [("mask", outline(seen.mask)), *truth]))
    rows, columns = shown.image.shape
    grey = _png(np.repeat(shown.image[..., None], 3, axis=2))
    return CasePicture(rank, row, shown.slice_index, grey, (rows, columns), shown.pixel_mm, panels)


def outline(mask: Bool[np.ndarray, "r c"]) -> str:
    """Trace a mask's border as an SVG path, in pixels; empty for an empty mask."""
    # Padded, so that an outline at the picture's edge closes too.
    borders = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    return " ".join(
        "M" + "L".join(f"{column - 0.5:.1f} {row - 0.5:.1f}" for row, column in border) + "Z"
        for border in borders
    )


def _heat(seen: Thumbnail, map_range: tuple[float, float]) -> str:
    """Colour a map within the body; transparent around it."""
    low, high = map_range
    share = ((seen.map - low) / max(high - low, 1e-12)).clip(0, 1)
    # 64 shades look the same as 256 and weigh half.
    colours = _COLOURS[(np.rint(share * 63) * (255 / 63)).astype(int)]
    colours[..., 3] = seen.inside
    return _png(np.rint(255 * colours).astype(np.uint8))


def _png(pixels: UInt8[np.ndarray, "r c channel"]) -> str:
    file = io.BytesIO()
    imsave(
        file,
        pixels,
        format="png",
        metadata={"Software": "wholesight"},
        pil_kwargs={"optimize": True},
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _operating_text(name: str, at: OperatingPoint) -> str:
    return f"{name} at its own threshold: recall {at.recall:.3f}, precision {at.precision:.3f}"


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _points(x: Float[np.ndarray, " p"], y: Float[np.ndarray, " p"]) -> str:
    return " ".join(f"{_x(a):g},{_y(b):g}" for a, b in zip(x, y, strict=True))
