"""The plots of a report, placed: curves over all thresholds, case by case, size, stress.

Each is a `Plot` that the template draws. Methods with a look of their own have colours; the rest
is grey.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from wholesight.benchmark.judge.evaluate import Evaluation, FrocCurve, OperatingPoint
from wholesight.benchmark.report.lineup import case_means, has_masks, judged, mean_known, middle
from wholesight.benchmark.report.plot import SMALL, WIDE, Guide, Plot, Scale, log_scale
from wholesight.benchmark.results import DataSetResult, MethodResult

Looks = Mapping[str, int]

_UNIT: Final = Scale(0.0, 1.0)
# False lesions per scan that a FROC curve shows, at least.
_FEWEST, _MOST = 0.1, 100.0
# Beyond so many methods, one plot for all is a thicket.
FEW: Final = 4


def curve_plots(dataset: DataSetResult, looks: Looks) -> list[Plot]:
    """Draw precision-recall, ROC and FROC, with a mark where each method's masks stand.

    Of several seeds the middle one is drawn. Grey curves lie beneath, the best on top.
    """
    worst_first = judged(dataset)[::-1]
    rest = [method for method in worst_first if method.name not in looks]
    own = [method for method in worst_first if method.name in looks]
    drawn = [(method, middle(method)) for method in (*rest, *own)]
    plots = [_precision_recall(), _roc(), _froc([each.operating_point for _, each in drawn])]
    for method, each in drawn:
        look = looks.get(method.name)
        for plot, (x, y) in zip(plots, _curves(each), strict=True):
            points = [at for at in zip(x, y, strict=True) if at[0] <= plot.x.high]
            plot.draw(points, look, method.name, faint=look is None)
        if look is not None and each.operating_point is not None:
            _operating_marks(plots, method.name, look, each.operating_point)
    prevalence = drawn[0][1].prevalence if drawn else None
    if prevalence is not None:
        plots[0].level(prevalence)
    return plots


def _curves(each: Evaluation) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (each.pr.x, each.pr.y),
        (each.roc.x, each.roc.y),
        attainable(each.froc),
    ]


def attainable(curve: FrocCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return the most lesions that can be found with at most so many false ones, in steps.

    As the threshold falls components merge, and both numbers may fall again: the curve itself
    runs back. What it offers is its upper envelope, and that is where an oracle reads it.
    """
    order = np.argsort(curve.false_per_scan, kind="stable")
    if not order.size:
        return curve.false_per_scan, curve.sensitivity
    best = np.maximum.accumulate(curve.sensitivity[order])
    # What is left of the axis' end would be drawn as an upright line there.
    false = curve.false_per_scan[order]
    first = max(int((false <= _FEWEST).sum()) - 1, 0)
    return np.repeat(false[first:], 2)[1:], np.repeat(best[first:], 2)[:-1]


def _operating_marks(plots: list[Plot], name: str, look: int, at: OperatingPoint) -> None:
    """Mark where the masks stand, on every plane where both coordinates are defined."""
    precision_recall, roc, froc = plots
    own = f"{name} at its own threshold"
    if at.recall is not None and at.precision is not None:
        text = f"{own}: recall {at.recall:.3f}, precision {at.precision:.3f}"
        precision_recall.mark(at.recall, at.precision, look, text)
    if at.recall is not None and at.false_positive_rate is not None:
        rate = at.false_positive_rate
        text = f"{own}: sensitivity {at.recall:.3f}, false-positive rate {rate:.3f}"
        roc.mark(rate, at.recall, look, text)
    if at.lesion_sensitivity is not None and at.false_per_scan is not None:
        false, found = at.false_per_scan, at.lesion_sensitivity
        text = f"{own}: {found:.3f} of the lesions found, {false:.1f} false lesions per scan"
        froc.mark(false, found, look, text)


def _precision_recall() -> Plot:
    return Plot(
        WIDE,
        _UNIT,
        _UNIT,
        "Recall: share of the lesion that is flagged",
        "Precision",
        "Precision against recall of every method.",
        title="Precision and recall, all cases together",
        mark_size=6.5,
    )


def _roc() -> Plot:
    plot = Plot(
        WIDE,
        _UNIT,
        _UNIT,
        "False-positive rate: share of other pixels flagged",
        "Sensitivity",
        "Sensitivity against the false-positive rate of every method.",
        title="ROC, all cases together",
        mark_size=6.5,
    )
    (x0, y0), (x1, y1) = plot.at(0, 0), plot.at(1, 1)
    plot.guides.append(Guide(f"M{x0} {y0}L{x1} {y1}"))
    return plot


def _froc(points: Sequence[OperatingPoint | None]) -> Plot:
    """Empty; as many whole decades as the masks need."""
    most = [at.false_per_scan for at in points if at is not None and at.false_per_scan is not None]
    plot = Plot(
        WIDE,
        Scale(_FEWEST, 10.0 ** math.ceil(math.log10(max([_MOST, *most]))), log=True),
        _UNIT,
        "False lesions per scan",
        "Share of lesions found",
        "Share of lesions found against false lesions per scan of every method.",
        title="FROC: lesion by lesion",
        mark_size=6.5,
    )
    plot.upright(1.0, "1 per scan")
    return plot


def ranked(figures: Sequence[float | None]) -> list[int]:
    """Order cases by a figure, highest first; cases that have none are left out."""
    known = {i: figure for i, figure in enumerate(figures) if figure is not None}
    return sorted(known, key=lambda i: -known[i])


def size_plots(dataset: DataSetResult, looks: Looks) -> list[Plot]:
    """Draw Dice by lesion volume, a dot a case: one plot for few methods, else one a method."""
    methods = [method for method in judged(dataset) if has_masks(method)]
    if not methods:
        return []
    rows = methods[0].evaluations[0].rows
    volumes = [row["lesion_ml"] if row["lesion_voxels_inside"] else None for row in rows]
    known = [float(v) for v in volumes if isinstance(v, int | float) and v > 0]
    if not known:
        return []
    scale = log_scale(known)
    plots = [_size_plot(scale, few=True)] if len(methods) <= FEW else []
    for method in methods:
        if len(methods) > FEW:
            plots.append(_size_plot(scale, few=False, title=method.name))
        for row, volume, dice in zip(rows, volumes, case_means(method, "dice"), strict=True):
            if isinstance(volume, int | float) and volume > 0 and dice is not None:
                text = f"{row['case']}, {method.name}: {volume:.1f} ml, Dice {dice:.3f}"
                plots[-1].mark(float(volume), dice, looks.get(method.name), text)
    return plots


def _size_plot(scale: Scale, *, few: bool, title: str = "") -> Plot:
    """Empty, with Dice upwards and volume to the right."""
    return Plot(
        WIDE if few else SMALL,
        scale,
        _UNIT,
        "Lesion of the case, ml" if few else "ml",
        "Dice at own threshold" if few else "Dice",
        f"Dice by lesion volume{f', {title}' if title else ''}: a dot a case.",
        title=title,
        mark_size=4.6 if few else 3.4,
    )


def case_plot(dataset: DataSetResult, looks: Looks) -> Plot | None:
    """Draw the AUPRC of every case under each of few methods, best to worst for the best one."""
    methods = judged(dataset)
    if not methods or len(methods) > FEW:
        return None
    figures = {m.name: case_means(m, "average_precision") for m in methods}
    order = ranked(figures[methods[0].name])
    if not order:
        return None
    plot = Plot(
        WIDE,
        Scale(0.0, float(len(order))),
        _UNIT,
        f"Cases, ordered by the AUPRC of {methods[0].name}",
        "AUPRC of the case",
        "AUPRC of every case under every method; the table of cases holds the same figures.",
        title="AUPRC of every case, best to worst",
        mark_size=4.6 if len(order) <= 12 else (3.6 if len(order) <= 50 else 2.6),
    )
    for place, case in enumerate(order):
        _case_marks(plot, place, case, methods, figures, looks)
    return plot


def _case_marks(
    plot: Plot,
    place: int,
    case: int,
    methods: Sequence[MethodResult],
    figures: Mapping[str, list[float | None]],
    looks: Looks,
) -> None:
    name = methods[0].evaluations[0].rows[case]["case"]
    known = [(m, at) for m in methods if (at := figures[m.name][case]) is not None]
    ends = [plot.at(place + 0.5, figure) for _, figure in known]
    low, high = max(y for _, y in ends), min(y for _, y in ends)
    plot.guides.append(Guide(f"M{plot.at(place + 0.5, 0)[0]} {high}V{low}", css="stem"))
    for number, (method, figure) in enumerate(known):
        # Side by side, or equal figures would hide each other.
        aside = 0.18 * (number - (len(known) - 1) / 2)
        text = f"{name}, {method.name}: AUPRC {figure:.3f}"
        plot.mark(place + 0.5 + aside, figure, looks.get(method.name), text)


class StressFigure(NamedTuple):
    """Sensitivity curves of one figure: a plot a volume."""

    title: str
    plots: list[Plot]


_STRESS: Final = (
    ("average_precision", "AUPRC of the case", "Ranking: no threshold"),
    ("sensitivity", "Sensitivity", "Deployable: at the method's own threshold"),
)


def stress_figures(dataset: DataSetResult, looks: Looks) -> list[StressFigure]:
    """Draw how well lesions of a given size are seen, from darker to brighter than the tissue."""
    if not dataset.design or not judged(dataset):
        return []
    found = []
    for key, label, title in _STRESS:
        plots = _stress_plots(dataset, looks, key, label)
        if any(plot.lines for plot in plots):
            found.append(StressFigure(f"{label}. {title}.", plots))
    return found


def _stress_plots(dataset: DataSetResult, looks: Looks, key: str, label: str) -> list[Plot]:
    design = dataset.design or {}
    volumes = sorted({case["volume_ml"] for case in design.values()})
    contrasts = sorted({case["contrast"] for case in design.values()})
    if len(contrasts) < 2:
        return []
    methods = judged(dataset)
    order = sorted(methods, key=lambda method: method.name in looks)
    plots = []
    for volume in volumes:
        plot = Plot(
            SMALL,
            Scale(contrasts[0], contrasts[-1]),
            _UNIT,
            "contrast: dark to bright",
            label,
            f"{label} against contrast, lesions of {volume:g} ml.",
            title=f"{volume:g} ml",
        )
        if contrasts[0] < 0 < contrasts[-1]:
            plot.upright(0.0)
        for method in order:
            points = _by_contrast(method, key, design, volume)
            look = looks.get(method.name)
            plot.draw(points, look, method.name, faint=look is None)
            for x, y in points if look is not None else ():
                plot.mark(x, y, look, f"{method.name}, contrast {x:+g}: {y:.3f}")
        plots.append(plot)
    return plots


def _by_contrast(
    method: MethodResult, key: str, design: Mapping[str, Mapping[str, float]], volume: float
) -> list[tuple[float, float]]:
    """Return (contrast, mean over the cases of this volume and contrast)."""
    groups: dict[float, list[float | None]] = {}
    for row, figure in zip(method.evaluations[0].rows, case_means(method, key), strict=True):
        case = design.get(str(row["case"]))
        if case is not None and case["volume_ml"] == volume:
            groups.setdefault(case["contrast"], []).append(figure)
    means = {contrast: mean_known(figures) for contrast, figures in groups.items()}
    return sorted((contrast, mean) for contrast, mean in means.items() if mean is not None)
