"""Pictures of cases: the image, the map, what is flagged, and the lesion's true outline.

Few methods stand beside each other, case by case; of many, each has a row with its best, median
and worst case. Images and outlines are drawn once and shared by id. Axes: r c as displayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.colors import to_hex
from skimage.measure import approximate_polygon, find_contours

from wholesight.benchmark.judge.evaluate import Evaluation, Row
from wholesight.benchmark.judge.thumbnail import Thumbnail
from wholesight.benchmark.report.figures import FEW, ranked
from wholesight.benchmark.report.lineup import judged, lead, middle
from wholesight.benchmark.report.png import data_uri
from wholesight.benchmark.results import DataSetResult, MethodResult

# Best, middle and worst cases of the leading method, where methods are few: two of each.
_SHOWN_OF_EACH: Final = 2
# The longest side of a picture where methods are many.
_SMALL_PX: Final = 112

# magma, without its first shades: a quiet body must still stand out from the black around it.
_SHADES: Final = 64
_COLOURS: Final = mpl.colormaps["magma"](np.linspace(0.12, 1.0, _SHADES))
_HEAT: Final = np.rint(255 * np.vstack([_COLOURS, [[0, 0, 0, 0]]])).astype(np.uint8)
_GREY: Final = np.array([[g, g, g, 255] for g in np.linspace(0, 255, 48).astype(int)], np.uint8)
# Nothing, flagged, the rim of what is flagged.
_FLAGGED: Final = np.array(
    [[0, 0, 0, 0], [55, 165, 234, 128], [124, 199, 245, 255]], dtype=np.uint8
)


# What they are called, by how many there are.
_PLACES: Final = ((), ("Only case",), ("Best", "Worst"), ("Best", "Median", "Worst"))


class Panel(NamedTuple):
    """One picture. method : whose, None for the scan itself.

    image : show the scan beneath. layer : a data URI above it. truth : CSS class of the outline.
    """

    label: str
    method: str | None
    alt: str
    image: bool
    layer: str | None
    truth: str | None


@dataclass(frozen=True)
class CasePicture:
    """The pictures of one case, all of one slice.

    shared : the id under which `Shared` draws the scan and the outline. size_px, pixel_mm :
    (height, width).
    """

    rank: str
    row: Row
    slice_index: int
    shared: str
    size_px: tuple[int, int]
    pixel_mm: tuple[float, float]
    panels: list[Panel]


class MethodPictures(NamedTuple):
    """Best, median and worst case of one method."""

    name: str
    cases: list[CasePicture]


class SharedSlice(NamedTuple):
    """What all methods' pictures of a case have in common."""

    image: str
    outline: str
    size_px: tuple[int, int]


class ColourScale(NamedTuple):
    """The ends of a method's map colours."""

    name: str
    low: float
    high: float


@dataclass
class Mosaic:
    """All pictures of a data set: either `cases` (few methods) or `methods` (many)."""

    shared: dict[str, SharedSlice] = field(default_factory=dict)
    cases: list[CasePicture] = field(default_factory=list)
    methods: list[MethodPictures] = field(default_factory=list)
    scales: list[ColourScale] = field(default_factory=list)


def mosaic(dataset: DataSetResult, prefix: str) -> Mosaic:
    """Show cases of every method's middle seed. prefix : makes ids unique within the page."""
    methods = judged(dataset)
    shown = Mosaic(scales=[ColourScale(m.name, *middle(m).map_range) for m in methods])
    leading = lead(dataset)
    if leading is None:
        return shown
    if len(methods) <= FEW:
        order = [leading, *(m for m in methods if m.name != leading.name)]
        _add_cases(shown, order, prefix)
    else:
        for method in methods:
            _add_method(shown, method, prefix)
    return shown


def colour_stops(steps: int = 12) -> str:
    """Return the maps' colours as the stops of a CSS gradient, from low to high."""
    return ", ".join(to_hex(c) for c in _COLOURS[np.linspace(0, _SHADES - 1, steps).astype(int)])


def places_to_show(cases: int, of_each: int) -> list[int]:
    """Places in a ranking, from best to worst, without repeats.

    >>> places_to_show(20, 2), places_to_show(3, 2), places_to_show(20, 1)
    ([0, 1, 9, 10, 18, 19], [0, 1, 2], [0, 9, 19])
    """
    if cases <= 3 * of_each:
        return list(range(cases))
    starts = (0, (cases - of_each) // 2, cases - of_each)
    return [start + step for start in starts for step in range(of_each)]


def outline(mask: Bool[np.ndarray, "r c"]) -> str:
    """Trace a mask's border as an SVG path, in pixels; empty for an empty mask."""
    # Padded, so that an outline at the picture's edge closes too.
    borders = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    # Points on a straight line say nothing.
    corners = [approximate_polygon(border, 0.05)[:-1] for border in borders]
    return " ".join(
        "M" + "L".join(f"{column - 0.5:g} {row - 0.5:g}" for row, column in border) + "Z"
        for border in corners
    )


def _add_cases(shown: Mosaic, methods: Sequence[MethodResult], prefix: str) -> None:
    """Show the first method's best, middle and worst cases, and its noisiest one without lesion."""
    evaluations = [(method.name, middle(method)) for method in methods]
    rows = evaluations[0][1].rows
    order = ranked([_figure(row) for row in rows])
    places = places_to_show(len(order), _SHOWN_OF_EACH)
    chosen = [(f"Rank {place + 1} of {len(order)}", order[place]) for place in places]
    healthy = [i for i, row in enumerate(rows) if not row["lesion_voxels_inside"]]
    if healthy:
        noisiest = max(healthy, key=lambda i: rows[i]["flagged_share"] or 0.0)
        chosen.append(("No lesion", noisiest))
    for rank, index in chosen:
        shown.cases.append(_case_picture(shown, rank, index, evaluations, prefix))


def _case_picture(
    shown: Mosaic,
    rank: str,
    index: int,
    evaluations: Sequence[tuple[str, Evaluation]],
    prefix: str,
) -> CasePicture:
    first = evaluations[0][1]
    case, seen = first.rows[index]["case"], first.thumbnails[index]
    panels = [
        Panel("Image", None, f"{case}: the image", True, None, None),
        Panel(
            "Lesion", None, f"{case}: outline of the lesion on the image", True, None, "on-image"
        ),
    ]
    for name, each in evaluations:
        panels += _panels(name, each, index, each.thumbnails[index])
    return _placed(shown, rank, first.rows[index], seen, panels, f"{prefix}-{index}")


def _add_method(shown: Mosaic, method: MethodResult, prefix: str) -> None:
    """Show the best, the median and the worst case of one method of many."""
    each = middle(method)
    order = ranked([_figure(row) for row in each.rows])
    places = places_to_show(len(order), 1)
    cases = []
    for rank, place in zip(_PLACES[len(places)], places, strict=True):
        index = order[place]
        seen = _small(each.thumbnails[index])
        alt = f"{each.rows[index]['case']}: the image, with the lesion's outline"
        panels = [Panel("Image", None, alt, True, None, "on-image")]
        panels += _panels(method.name, each, index, seen)
        shared = f"{prefix}-{index}"
        cases.append(_placed(shown, rank, each.rows[index], seen, panels, shared))
    shown.methods.append(MethodPictures(method.name, cases))


def _panels(name: str, each: Evaluation, index: int, seen: Thumbnail) -> list[Panel]:
    """Return the map and the mask, where there is one."""
    case = each.rows[index]["case"]
    panels = []
    if seen.map is not None:
        alt = f"{case}: anomaly map of {name}, with the lesion's outline"
        heat = _heat(seen.map, seen.inside, each.map_range)
        panels.append(Panel("Map", name, alt, False, heat, "on-map"))
    if seen.mask is not None:
        alt = f"{case}: what {name} flags, with the lesion's outline"
        panels.append(Panel("Mask", name, alt, True, _flagged(seen.mask), "on-image"))
    return panels


def _placed(
    shown: Mosaic, rank: str, row: Row, seen: Thumbnail, panels: list[Panel], shared: str
) -> CasePicture:
    rows, columns = seen.image.shape
    if shared not in shown.shared:
        grey = np.rint(seen.image * ((len(_GREY) - 1) / 255)).astype(np.uint8)
        size = (rows, columns)
        shown.shared[shared] = SharedSlice(data_uri(grey, _GREY), outline(seen.truth), size)
    return CasePicture(rank, row, seen.slice_index, shared, (rows, columns), seen.pixel_mm, panels)


def _heat(
    map: Float[np.ndarray, "r c"],
    inside: Bool[np.ndarray, "r c"],
    map_range: tuple[float, float],
) -> str:
    """Colour a map within the body; transparent around it."""
    low, high = map_range
    share = ((map - low) / max(high - low, 1e-12)).clip(0, 1)
    shade = np.rint(share * (_SHADES - 1))
    return data_uri(np.where(inside, shade, _SHADES).astype(np.uint8), _HEAT)


def _flagged(mask: Bool[np.ndarray, "r c"]) -> str:
    """Colour what is flagged, its rim brighter."""
    padded = np.pad(mask, 1)
    core = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    return data_uri(np.where(mask, np.where(core, 1, 2), 0).astype(np.uint8), _FLAGGED)


def _small(seen: Thumbnail) -> Thumbnail:
    """Shrink a slice by a whole factor, where it is larger than a small picture."""
    step = -(-max(seen.image.shape) // _SMALL_PX)
    if step <= 1:
        return seen

    def mean(pixels: np.ndarray) -> np.ndarray:
        rows, columns = (side // step * step for side in pixels.shape)
        blocks = pixels[:rows, :columns].reshape(rows // step, step, columns // step, step)
        return blocks.mean(axis=(1, 3), dtype=float)

    def half(mask: np.ndarray) -> Bool[np.ndarray, "r c"]:
        return mean(mask) >= 0.5

    image: UInt8[np.ndarray, "r c"] = np.rint(mean(seen.image)).astype(np.uint8)
    return seen._replace(
        image=image,
        inside=half(seen.inside),
        truth=half(seen.truth),
        map=None if seen.map is None else mean(seen.map),
        mask=None if seen.mask is None else half(seen.mask),
    )


def _figure(row: Row) -> float | None:
    """Return what cases are ranked by: AUPRC, or Dice where a method has no map."""
    figure = row["dice"] if row["average_precision"] is None else row["average_precision"]
    return figure if row["lesion_voxels_inside"] else None
