"""The values of a DICOM stack, slice by slice into one array.

Runs in the child process alone. Axes: k slices, r rows, c columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from wholesight.errors import InputError
from wholesight.io.dicom_instance import Slice, cut_off, frames_of, guarded, load
from wholesight.io.dicom_stack import Stack
from wholesight.volume import Note

_END: Final = bytes.fromhex("feff dde0 0000 0000")  # what stands after compressed pixels
_FLOATS: Final = ("FloatPixelData", "DoubleFloatPixelData")


class Frames:
    """The scaled frames of files; those of the last file stay in memory, as they come together."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._file = -1
        self._frames: np.ndarray | None = None
        self._scales: list[Dataset] = []

    def __call__(self, each: Slice) -> Float[np.ndarray, "r c"]:
        """Return the values of one slice after its slope and intercept, float64.

        Raises InputError, without a path, when the file is cut off or no codec makes sense of it.
        """
        with guarded(self._files, each.file):
            if each.file != self._file:
                self._open(each.file)
            assert self._frames is not None
            return apply_modality_lut(self._frames[each.frame], self._scales[each.frame]) * 1.0

    def _open(self, file: int) -> None:
        data = load(self._files[file], pixels=True)
        if "PixelData" not in data and not any(name in data for name in _FLOATS):
            raise cut_off()
        if data.file_meta.TransferSyntaxUID.is_encapsulated:
            _refuse_without_end(data, self._files[file])
        elif "PixelData" in data:
            _refuse_short(data)
        stored = _without_overlays(data.pixel_array, data)
        many = "PerFrameFunctionalGroupsSequence" in data
        self._scales = frames_of(data) if many else [data]
        self._frames = stored if many and stored.ndim == 3 else stored[None]
        self._file = file


def _refuse_short(data: Dataset) -> None:
    bits = int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames") or 1)
    if 8 * len(data.PixelData) < bits * int(data.BitsAllocated):
        raise cut_off()


def _refuse_without_end(data: Dataset, path: Path) -> None:
    element = data["PixelData"]
    with path.open("rb") as file:
        file.seek((element.file_tell or 0) + len(data.PixelData))
        if file.read(len(_END)) != _END:
            raise cut_off()


def _without_overlays(stored: np.ndarray, data: Dataset) -> np.ndarray:
    """Clear the bits above those that are stored, where old scanners kept their drawings."""
    spare = int(data.get("BitsAllocated") or 0) - int(data.get("BitsStored") or 0)
    if stored.dtype.kind not in "iu" or spare <= 0 or int(data.BitsAllocated) == 1:
        return stored
    # To the left and back: of signed numbers the sign comes along.
    return (stored << spare) >> spare


def fill(
    slices: Sequence[Slice], stack: Stack, files: Sequence[Path]
) -> tuple[Float[np.ndarray, "k r c"], tuple[Note, ...]]:
    """Return float32 values in the order of the stack, and a note on slices that were there twice.

    Raises InputError, without a path, where different slices lie at one place.
    """
    rows, columns = slices[0].plane.size
    values = np.empty((len(stack.places), rows, columns), np.float32)
    frames, repeated = Frames(files), 0
    with np.errstate(over="ignore"):
        for k, (first, *others) in enumerate(stack.places):
            values[k] = frames(slices[first])
            for other in others:
                if not np.array_equal(values[k], frames(slices[other]).astype(np.float32)):
                    raise _same_place(k, len(stack.places), 1 + len(others))
                repeated += 1
    if not repeated:
        return values, ()
    told = f"the folder holds {repeated} copies of slices, place and voxels alike; one is read."
    return values, (Note("N_DUPLICATE_SLICE", f"{told} Check how the series was exported."),)


def _same_place(k: int, places: int, slices: int) -> InputError:
    return InputError(
        f"{slices} different slices lie at place {k + 1} of {places}: echoes, phases, time points, "
        "or two scans. Put one volume into a folder of its own.",
        code="E_SAME_PLACE",
    )
