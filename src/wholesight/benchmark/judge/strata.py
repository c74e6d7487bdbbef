"""The same figures for a part of the cases: by lesion size, by contrast, by site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from wholesight.metrics.registry import set_figures
from wholesight.metrics.tally import Tally

# Lesion volume of a case, in ml: under the first, between two, from the last on.
SIZES_ML: Final = (1.0, 10.0, 50.0)


def strata_of(tally: Tally, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {"lesion size" | "contrast" | "site": {stratum: {"cases": n, "figures": {...}}}}.

    Figures are those of the set, with the stratum's cases alone, on the bins of the tally (not
    more than 4096, so the last digits may differ from the exact figures of the whole set). A
    kind with fewer than two strata is left out: it would repeat the set.
    """
    kinds = {"lesion size": _size, "contrast": _contrast, "site": _site}
    found = {kind: _stratified(tally, rows, place) for kind, place in kinds.items()}
    return {kind: strata for kind, strata in found.items() if len(strata) > 1}


def size_names() -> list[str]:
    """Names of the size strata, in their order.

    >>> size_names()
    ['no lesion', 'under 1 ml', '1 to 10 ml', '10 to 50 ml', '50 ml and more']
    """
    first, last = SIZES_ML[0], SIZES_ML[-1]
    between = [f"{a:g} to {b:g} ml" for a, b in pairwise(SIZES_ML)]
    return ["no lesion", f"under {first:g} ml", *between, f"{last:g} ml and more"]


def _stratified(
    tally: Tally,
    rows: Sequence[Mapping[str, Any]],
    place: Callable[[Mapping[str, Any]], tuple[int, str] | None],
) -> dict[str, Any]:
    places = [place(row) for row in rows]
    order = sorted({found for found in places if found is not None})
    if not order:
        return {}
    weights = np.array([[found == stratum for found in places] for stratum in order], float)
    figures = set_figures(tally.sums(weights))
    return {
        name: {
            "cases": int(weights[number].sum()),
            "figures": {
                metric: float(values[number]) if np.isfinite(values[number]) else None
                for metric, values in figures.items()
            },
        }
        for number, (_, name) in enumerate(order)
    }


def _size(row: Mapping[str, Any]) -> tuple[int, str]:
    number = 0
    if row["lesion_voxels"]:
        number = 1 + int(np.searchsorted(SIZES_ML, row["lesion_ml"], side="right"))
    return number, size_names()[number]


def _contrast(row: Mapping[str, Any]) -> tuple[int, str] | None:
    contrast = row["lesion_contrast"]
    if contrast is None:
        return None
    return (0, "brighter") if contrast > 0 else (1, "darker")


def _site(row: Mapping[str, Any]) -> tuple[int, str] | None:
    return None if row["site"] is None else (0, str(row["site"]))
