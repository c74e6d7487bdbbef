"""What somebody who looks at one segmentation should know, in words.

A note is {"code": "N_...", "text": what, and what to do}; none of them refuses a scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from wholesight.detector import Detector, Segmentation
from wholesight.prep.orient import canonical

# A spacing or a body this many times that of the training is another kind of scan.
_APART: Final = 1.5
# More than this share of a body is hardly ever a lesion.
_MUCH: Final = 0.5


def notes(detector: Detector, found: Segmentation) -> list[dict[str, str]]:
    """Return the notes on a segmentation; an empty list when there is nothing to say."""
    parts = (
        _empty(detector, found),
        _much(detector, found),
        _spacing(detector.record, found),
        _body(detector.record, found),
    )
    return [note for part in parts for note in part]


def _empty(detector: Detector, found: Segmentation) -> Iterator[dict[str, str]]:
    if found.mask.voxels.any():
        return
    value = detector.calibrated_threshold.value
    above = int((found.map.voxels[found.body.voxels] > value).sum())
    what = (
        f"The mask is empty: {above} voxels lie above the threshold {value:.4g}, in places too "
        "small to be kept (recipe cleanup)."
        if above
        else f"The mask is empty: nothing lies above the threshold {value:.4g}."
    )
    yield _note("N_EMPTY", f"{what} That does not say that the scan is normal: look at the map.")


def _much(detector: Detector, found: Segmentation) -> Iterator[dict[str, str]]:
    share = float(found.mask.voxels.sum() / found.body.voxels.sum())
    if share > _MUCH:
        alpha = detector.calibrated_threshold.alpha
        yield _note(
            "N_MUCH",
            f"{100 * share:.0f} % of the body is flagged, where the threshold was set to flag "
            f"{100 * alpha:g} % of a healthy one. Is it the modality, and prepared in the way, "
            "that the model was trained on? Then calibrate on normal scans of this kind.",
        )


def _spacing(record: dict[str, Any], found: Segmentation) -> Iterator[dict[str, str]]:
    known = record.get("spacing_mm")
    if not known:
        return
    affine = canonical(found.map.voxels, found.map.affine).affine
    here = np.linalg.norm(affine[:3, :3], axis=0)
    if any(map(_far, here, known["low"], known["high"])):
        yield _note(
            "N_SPACING",
            f"The voxels are {_size(here)} mm (to the right, front, top), those of the training "
            f"{_range(known)}: structures look otherwise to the network, and the threshold was "
            "not set for this. Resample the scan, or train and calibrate on scans like it.",
        )


def _body(record: dict[str, Any], found: Segmentation) -> Iterator[dict[str, str]]:
    known = record.get("body_ml")
    if not known:
        return
    here = float(found.body.voxels.sum()) * found.body.voxel_mm3 / 1000
    if _far(here, known["low"], known["high"]):
        yield _note(
            "N_BODY",
            f"The body has {here:.0f} ml, those of the training {known['low']:.0f} to "
            f"{known['high']:.0f} ml: another part of the body, or the skull is there in one and "
            "not in the other. Look at the scan, or give its body mask.",
        )


def _far(here: float, low: float, high: float) -> bool:
    """Whether a figure is well out of a range.

    >>> [_far(mm, 2.0, 3.0) for mm in (1.3, 1.4, 4.4, 4.6)]
    [True, False, False, True]
    """
    return here < low / _APART or here > high * _APART


def _range(known: dict[str, Sequence[float]]) -> str:
    low, high = _size(known["low"]), _size(known["high"])
    return f"{low} mm" if low == high else f"{low} to {high} mm"


def _size(spacing_mm: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing_mm)


def _note(code: str, text: str) -> dict[str, str]:
    return {"code": code, "text": text}
