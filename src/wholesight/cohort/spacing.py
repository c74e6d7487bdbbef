"""How large a scan's voxels are beside those of the training: noted, and refused where too far.

What lies between two slices is in neither of them, and a network sees what they hold: of slices a
little thicker it still makes a map that somebody may look at, of slices six times as thick what it
makes is no map. In a slice it matters less, as slices are brought to one size: finer pixels are
averaged, and only coarser ones lack what the network knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from wholesight.errors import InputError
from wholesight.prep.orient import canonical
from wholesight.volume import Volume

# A spacing so many times larger or smaller than all of the training is noted, and refused.
NOTED: Final = 1.5
REFUSED: Final = 3.0


def require_spacing(record: Mapping[str, Any], image: Volume, *, resized: bool) -> None:
    """Refuse a scan whose voxels are none that the model knows.

    record, resized : see `times_off`. Raises InputError E_VOXEL_SIZE.
    """
    if times_off(record, image, resized=resized) > REFUSED:
        raise InputError(
            f"{image.name}: {sizes(record, image)}: more than {REFUSED:g} times apart. Resample "
            "the scan, train and calibrate on scans like it, or take it all the same with --force.",
            code="E_VOXEL_SIZE",
        )


def times_off(record: Mapping[str, Any], image: Volume, *, resized: bool) -> float:
    """Return how many times an axis is off the range of the training at most, at least 1.

    record : of the training; 1 too where it does not say what voxels it had. resized : whether
    slices are brought to one size, so that finer pixels in them do not count.
    """
    known = record.get("spacing_mm")
    if not known:
        return 1.0
    here, low, high = _spacing(image), np.array(known["low"]), np.array(known["high"])
    finer, coarser = low / here, here / high
    return float(max(1.0, *coarser, *(finer[2:] if resized else finer)))


def sizes(record: Mapping[str, Any], image: Volume) -> str:
    """Say how large the voxels are here, and were in the training."""
    known = record["spacing_mm"]
    low, high = _size(known["low"]), _size(known["high"])
    return (
        f"the voxels are {_size(_spacing(image))} mm (to the right, front, top), those of the "
        f"training {low if low == high else f'{low} to {high}'} mm"
    )


def _spacing(image: Volume) -> np.ndarray:
    turned = canonical(image.voxels, image.affine)
    return np.array(Volume(turned.voxels, turned.affine).spacing_mm)


def _size(spacing_mm: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing_mm)
