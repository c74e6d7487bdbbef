"""An evaluation on disk: figures in evaluation.json, curves, counts and pictures in arrays.npz.

What is loaded is what was saved, to the bit, so a report can be written again, or of other methods
together, without judging again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from wholesight.benchmark.judge.evaluate import Evaluation, FrocCurve, OperatingPoint
from wholesight.benchmark.judge.thumbnail import Thumbnail
from wholesight.errors import InputError
from wholesight.io.files import make_folder, write_bytes, write_json
from wholesight.metrics.ranking import Curve, Steps
from wholesight.metrics.tally import Tally

FORMAT_VERSION: Final = 1
_JSON, _ARRAYS = "evaluation.json", "arrays.npz"

# The fields of a tally that are arrays or absent.
_TALLIED = ("regions", "overlap", "lesions", "froc_threshold", "froc_found", "froc_false")


def save(evaluation: Evaluation, folder: Path) -> None:
    """Write both files, the JSON last. Raises OutputError."""
    make_folder(folder)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **_arrays(evaluation))
    write_bytes(folder / _ARRAYS, file.getvalue())
    at = evaluation.operating_point
    write_json(
        folder / _JSON,
        {
            "format_version": FORMAT_VERSION,
            **evaluation.to_json(),
            "operating_point": None if at is None else at._asdict(),
            "map_range": list(evaluation.map_range),
            "pictures": [
                {"slice_index": each.slice_index, "pixel_mm": list(each.pixel_mm)}
                for each in evaluation.thumbnails
            ],
        },
    )


def load(folder: Path) -> Evaluation:
    """Read an evaluation back. Raises InputError when a file is missing or damaged."""
    try:
        told = json.loads((folder / _JSON).read_bytes())
        if told["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {told['format_version']}, not {FORMAT_VERSION}")
        content = io.BytesIO((folder / _ARRAYS).read_bytes())
        with np.load(content, allow_pickle=False) as file:
            return _evaluation(told, dict(file))
    except Exception as fault:  # what a damaged archive makes numpy raise has no end
        raise InputError(
            f"{folder}: this evaluation cannot be read ({fault}). Remove the folder and run the "
            "same command with --resume: it is judged again.",
            code="E_EVALUATION",
        ) from fault


def _evaluation(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Evaluation:
    at = told["operating_point"]
    low, high = told["map_range"]
    rows = tuple(told["cases"])
    return Evaluation(
        name=told["method"],
        threshold_note=told["threshold"],
        deployable=told["deployable"],
        oracle=told["oracle"],
        rows=rows,
        lesions=tuple(told["lesions"]),
        counts=told["counts"],
        prevalence=told["prevalence"],
        pr=_curve(arrays, "pr"),
        roc=_curve(arrays, "roc"),
        froc=FrocCurve(*arrays["froc"]),
        operating_point=None if at is None else OperatingPoint(**at),
        strata=told["strata"],
        tally=_tally([row["subject"] for row in rows], arrays),
        ranking_error=told["ranking_error"],
        map_range=(low, high),
        thumbnails=tuple(
            _thumbnail(facts, number, arrays) for number, facts in enumerate(told["pictures"])
        ),
    )


def _arrays(evaluation: Evaluation) -> dict[str, np.ndarray]:
    tally = evaluation.tally
    arrays = {
        "pr": np.stack(evaluation.pr),
        "roc": np.stack(evaluation.roc),
        "froc": np.stack(evaluation.froc),
        "tally/lesion_number": tally.lesion_number,
        "tally/scan_score": tally.scan_score,
    }
    arrays |= {f"cases/{metric}": figures for metric, figures in tally.cases.items()}
    if tally.steps is not None:
        arrays |= {"tally/steps/lesion": tally.steps.lesion, "tally/steps/other": tally.steps.other}
    for name in _TALLIED:
        counts = getattr(tally, name)
        if counts is not None:
            arrays[f"tally/{name}"] = counts
    for number, each in enumerate(evaluation.thumbnails):
        pictures = {
            name: getattr(each, name) for name in ("image", "inside", "truth", "map", "mask")
        }
        arrays |= {f"pictures/{number}/{n}": p for n, p in pictures.items() if p is not None}
    return arrays


def _curve(arrays: Mapping[str, np.ndarray], name: str) -> Curve:
    return Curve(*arrays[name])


def _tally(subjects: list[str], arrays: Mapping[str, np.ndarray]) -> Tally:
    steps = None
    if "tally/steps/lesion" in arrays:
        steps = Steps(arrays["tally/steps/lesion"], arrays["tally/steps/other"])
    prefix = "cases/"
    return Tally(
        subjects=tuple(subjects),
        steps=steps,
        lesion_number=arrays["tally/lesion_number"],
        scan_score=arrays["tally/scan_score"],
        cases={n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)},
        **{name: arrays.get(f"tally/{name}") for name in _TALLIED},
    )


def _thumbnail(
    facts: Mapping[str, Any], number: int, arrays: Mapping[str, np.ndarray]
) -> Thumbnail:
    height, width = facts["pixel_mm"]
    return Thumbnail(
        slice_index=facts["slice_index"],
        pixel_mm=(height, width),
        image=arrays[f"pictures/{number}/image"],
        inside=arrays[f"pictures/{number}/inside"],
        truth=arrays[f"pictures/{number}/truth"],
        map=arrays.get(f"pictures/{number}/map"),
        mask=arrays.get(f"pictures/{number}/mask"),
    )
