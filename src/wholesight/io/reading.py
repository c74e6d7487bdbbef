"""A scan, a mask or a map from whatever file or folder it lies in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from wholesight.errors import InputError
from wholesight.io.formats import format_of
from wholesight.io.verdict import Verdict, settle
from wholesight.volume import Volume

# A scan with more holes than this share of its voxels is refused; so is a hole in the body.
_MOST_HOLES: Final = 0.01
_BLURRED: Final = (".jpg", ".jpeg")
# A scan of which less than this share is not 0 is an empty one with a speck in it.
_LEAST_FILLED: Final = 0.02


def read(path: Path | str, *, volume: int | None = None) -> Volume:
    """Read a file by its format, by default a NIfTI file; every voxel is finite.

    Returns float32 voxels (i, j, k). volume : which one of a series, counted from 0. Raises
    InputError, whose code says which check failed.
    """
    found = _read(Path(path), volume, None)
    settle(Path(path), _holes(found.voxels, most=0.0))
    return found


def read_channel(path: Path | str, name: str, *, volume: int | None = None) -> Volume:
    """Read what a file holds beside its image, by one of the names that its format knows.

    Returns float32 voxels (i, j, k), all finite. volume : which one of a series, counted from 0.
    Raises InputError, E_MISSING_MODALITY for an image without this channel.
    """
    found = format_of(Path(path)).read(Path(path), volume=volume, channel=name)
    settle(Path(path), _holes(found.voxels, most=0.0))
    return found


def read_image(path: Path | str, *, volume: int | None = None, series: str | None = None) -> Volume:
    """Read a scan: as `read`, and refuse one that holds nothing.

    series : which one, where several DICOM series lie in one folder, by its UID or mark.
    A few voxels that are not finite are set to 0 and kept in mind as `holes`, with a note: whoever
    finds the body refuses the scan if one lies in it.
    """
    path = Path(path)
    found = _read(path, volume, series)
    notes = settle(path, _holes(found.voxels, most=_MOST_HOLES))
    if notes:
        holes = ~np.isfinite(found.voxels)
        filled = np.where(holes, np.float32(0), found.voxels)
        found = replace(found, voxels=filled, notes=(*found.notes, *notes), holes=holes)
    settle(path, _empty(found.voxels))
    return found


def read_mask(path: Path | str) -> Volume:
    """Read a mask as booleans: any label above 0 counts. An empty mask is legal.

    Raises InputError with code E_LABELS when a value is negative or no whole number.
    """
    if Path(path).name.lower().endswith(_BLURRED):
        raise InputError(
            f"{path}: JPEG blurs the edges of a mask, so that it would grow. Save it as PNG.",
            code="E_LABELS",
        )
    found = read(path)
    marked = np.empty(found.shape, bool, order="F")
    for k in range(found.shape[2]):  # slice by slice, as three copies of a volume are many bytes
        labels = np.rint(found.voxels[..., k])
        if labels.min() < 0 or np.abs(labels - found.voxels[..., k]).max() > 1e-3:
            raise _no_labels(found, Path(path))
        marked[..., k] = labels > 0
    return found.like(marked)


def _read(path: Path, volume: int | None, series: str | None) -> Volume:
    kind = format_of(path)
    if series is None:
        return kind.read(path, volume=volume)
    if not kind.has_series:
        raise InputError(
            f"{path}: is no DICOM folder, so there is no series to choose. Leave out --series.",
            code="E_SERIES",
        )
    return kind.read(path, volume=volume, series=series)


def _holes(voxels: np.ndarray, *, most: float) -> list[Verdict]:
    """Say how many voxels are no number; more than a share of `most` refuse the file."""
    # Slice by slice, as a further copy of a volume is many bytes.
    bad = sum(int((~np.isfinite(voxels[..., k])).sum()) for k in range(voxels.shape[2]))
    if not bad:
        return []
    told = f"{bad} of {voxels.size} voxels are NaN, infinite or beyond float32"
    if bad > most * voxels.size:
        remedy = "Set them to a real value first, or convert the scan again."
        return [Verdict("E_NONFINITE", f"{told}.", remedy)]
    text = f"{told}, none of them in the body; they were set to 0."
    return [Verdict("N_FILLED", text, "Check how the file was made.")]


def _empty(voxels: np.ndarray) -> list[Verdict]:
    if voxels.min() == voxels.max():
        text = f"every voxel is {voxels.flat[0]:g}, there is nothing to look at."
    elif np.count_nonzero(voxels) < _LEAST_FILLED * voxels.size:
        share = np.count_nonzero(voxels) / voxels.size
        text = f"only {100 * share:.2g} % of the voxels are not 0, hardly anything to look at."
    else:
        return []
    return [Verdict("E_EMPTY", text, "Check how the file was made.")]


def _no_labels(found: Volume, path: Path) -> InputError:
    some = ", ".join(f"{value:g}" for value in np.unique(found.voxels)[:5])
    return InputError(
        f"{path}: a mask holds whole numbers from 0, this one has {some} ... "
        "Is it an image, or a mask that was resampled? Use nearest neighbour for masks.",
        code="E_LABELS",
    )
