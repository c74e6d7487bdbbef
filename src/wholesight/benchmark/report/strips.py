"""Strips of dots, a row a method: false positives per normal scan, lesions found and missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from wholesight.benchmark.report.lineup import case_means, has_masks, judged, middle
from wholesight.benchmark.report.plot import Scale, log_scale
from wholesight.benchmark.results import DataSetResult

Looks = Mapping[str, int]


class Dot(NamedTuple):
    """A dot of a strip, at a share of its width."""

    share: float
    text: str
    hollow: bool = False


class StripRow(NamedTuple):
    """One method's dots. note : what stands beside its name."""

    name: str
    look: int | None
    note: str
    dots: list[Dot]


class Strip(NamedTuple):
    """Rows of dots on one axis: one row a method."""

    label: str
    ticks: list[tuple[float, str]]
    rows: list[StripRow]


def normals_strip(dataset: DataSetResult, looks: Looks) -> tuple[Strip, bool] | None:
    """Place the flagged share of every normal scan, a row a method; True = these are normals.

    Without a normal scan the normal tissue of every case is shown, and False is returned. None
    when no method has a threshold.
    """
    methods = [method for method in judged(dataset) if has_masks(method)]
    if not methods:
        return None
    rows = methods[0].evaluations[0].rows
    normal = [i for i, row in enumerate(rows) if not row["lesion_voxels"]]
    shown = normal or list(range(len(rows)))
    shares = {m.name: case_means(m, "flagged_share") for m in methods}
    top = max((shares[m.name][i] or 0.0) for m in methods for i in shown)
    scale = Scale(0.0, max(top, 1e-3))
    strip_rows = []
    for method in methods:
        own = [(i, share) for i in shown if (share := shares[method.name][i]) is not None]
        dots = [Dot(scale.share(s), f"{rows[i]['case']}: {100 * s:.1f} %") for i, s in own]
        median = f"median {100 * float(np.median([s for _, s in own])):.1f} %" if own else ""
        strip_rows.append(StripRow(method.name, looks.get(method.name), median, dots))
    ticks = Scale(0.0, 100 * scale.high).ticks()
    what = "Share of a normal scan" if normal else "Share of a case's normal tissue"
    label = f"{what} that is flagged"
    return Strip(label, [(at, f"{text} %") for at, text in ticks], strip_rows), bool(normal)


def found_strip(dataset: DataSetResult, looks: Looks) -> Strip | None:
    """Place every lesion by its volume: full where found, hollow where missed; middle seed."""
    methods = [method for method in judged(dataset) if has_masks(method)]
    volumes = [
        lesion["volume_ml"]
        for method in methods
        for lesion in middle(method).lesions
        if lesion["volume_ml"] is not None
    ]
    if not volumes:
        return None
    scale = log_scale(volumes)
    rows = []
    for method in methods:
        lesions = [x for x in middle(method).lesions if x["volume_ml"] is not None]
        dots = [
            Dot(
                scale.share(lesion["volume_ml"]),
                f"{lesion['case']}, {lesion['volume_ml']:.2f} ml: "
                + ("found" if lesion["found"] else "missed"),
                not lesion["found"],
            )
            for lesion in lesions
        ]
        found = sum(bool(lesion["found"]) for lesion in lesions)
        note = f"{found} of {len(lesions)} found"
        rows.append(StripRow(method.name, looks.get(method.name), note, dots))
    ticks = [(at, f"{text} ml") for at, text in scale.ticks(4)]
    return Strip("Volume of the lesion", ticks, rows)
