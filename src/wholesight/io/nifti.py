"""NIfTI-1 and NIfTI-2, read strictly and written with the geometry of the source.

nibabel does the format. Around it stand the checks it does not make: the gzip checksum, sizes
before anything is allocated, finite voxels, and those of the header (`io.nifti_header`). Reading
needs the memory of the stored voxels and of the float32 ones, and little more. Axes: i j k, as in
the file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header

from wholesight.errors import InputError
from wholesight.io import gzip_stream
from wholesight.io.files import unreadable, write_bytes
from wholesight.io.nifti_header import (
    IMAGE_CLASSES,
    LONGEST,
    beyond,
    bytes_declared,
    grid,
    impossible_axes,
    no_number_a_voxel,
    not_in_mm,
    parse,
    place,
    scaled_by_no_number,
    too_large,
    voxels_start_nowhere,
    which_volume,
)
from wholesight.io.verdict import Verdict, no_file, settle
from wholesight.volume import Volume

SUFFIXES = (".nii", ".nii.gz")

# Memory for the voxels as they are stored and as float32. A whole head at 0.5 mm in float64 takes
# 1.6 GB, a CT of 512 x 512 x 600 in int16 takes 0.9 GB.
LIMIT_BYTES = 2 * 1024**3

_SLAB = 1 << 20  # voxels that are scaled at a time, in float64
_SLACK = 1 << 20  # bytes that may follow the voxels


def read(path: Path | str, *, volume: int | None = None, limit_bytes: int = LIMIT_BYTES) -> Volume:
    """Read one NIfTI file.

    Returns float32 voxels after the file's scale and intercept, (i, j, k), those that are not
    finite as they are; trailing axes of length 1 are dropped. volume : which one of a series,
    counted from 0. limit_bytes : of memory, see LIMIT_BYTES; what needs more is refused before it
    is decompressed. Raises InputError, whose code says which check failed.
    """
    path = Path(path)
    payload, compressed = _payload(path, limit_bytes)
    header = _header(payload, path, limit_bytes)
    found = place(header)
    notes = settle(
        path,
        [
            *_cut_off(payload, header),
            *_misnamed(path.name, compressed=compressed),
            *scaled_by_no_number(header),
            *not_in_mm(header),
            *which_volume(header, volume),
            *found.verdicts,
        ],
    )
    assert found.affine is not None  # a verdict refuses it otherwise
    voxels = _voxels(payload, header, volume or 0)
    return Volume(voxels, found.affine, path.name, header=header.binaryblock, notes=notes)


def write(volume: Volume, path: Path | str) -> None:
    """Write a volume, atomically, in its own dtype (bool as uint8).

    Affine, qform, sform, their codes and the units are those of the volume's source, bit for bit.
    The same volume gives the same bytes. Raises OutputError; ValueError when the volume's affine
    is no longer that of its header, which is a bug of the caller.
    """
    path = Path(path)
    dtype = np.dtype(np.uint8) if volume.voxels.dtype == bool else volume.voxels.dtype
    header = _output_header(volume, dtype)
    image_class = IMAGE_CLASSES[int(header["sizeof_hdr"])]
    # The header already holds the geometry; an affine beside it would be written over it.
    content = image_class(volume.voxels.astype(dtype), None, header).to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    write_bytes(path, content)


def _payload(path: Path, limit_bytes: int) -> tuple[bytes | bytearray, bool]:
    """Return the file's bytes, decompressed where they are compressed, and whether they were."""
    try:
        settle(path, [*no_file(path, "A NIfTI file"), *_too_long(path, limit_bytes)])
        with path.open("rb") as file:
            compressed = file.read(2) == gzip_stream.MAGIC
            file.seek(0)
            if not compressed:
                return file.read(), False
            content = gzip_stream.decompress(
                file,
                path,
                head=LONGEST,
                size_of=lambda start: bytes_declared(_header(start, path, limit_bytes)),
                slack=_SLACK,
            )
            return content, True
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _too_long(path: Path, limit_bytes: int) -> Iterator[Verdict]:
    size = path.stat().st_size
    if size > limit_bytes + _SLACK:
        yield beyond(f"has {size / 1e9:.1f} GB", limit_bytes)


def _misnamed(name: str, *, compressed: bool) -> Iterator[Verdict]:
    if compressed != name.lower().endswith(".gz"):
        yield Verdict(
            "N_NAME",
            "is compressed and not called .gz." if compressed else "is called .gz, uncompressed.",
            "It is read all the same; other programs may refuse it, so rename it.",
        )


def _header(start: bytes | bytearray, path: Path, limit_bytes: int) -> Nifti1Header:
    """Return the header when all is well with it that decides how much is read."""
    header = parse(start)
    if isinstance(header, Verdict):
        raise InputError(f"{path}: {header.told}", code=header.code)
    # One after the other: what a type needs of memory cannot be asked before it is one.
    for check in (
        impossible_axes,
        no_number_a_voxel,
        lambda header: too_large(header, limit_bytes),
        lambda header: voxels_start_nowhere(header, limit_bytes),
    ):
        settle(path, check(header))
    return header


def _cut_off(payload: bytes | bytearray, header: Nifti1Header) -> Iterator[Verdict]:
    declared = bytes_declared(header)
    if len(payload) < declared:
        yield Verdict(
            "E_TRUNCATED",
            f"the file is cut off, its header declares {declared} bytes, there are {len(payload)}.",
            "Copy or convert it again.",
        )


def _voxels(payload: bytes | bytearray, header: Nifti1Header, volume: int) -> np.ndarray:
    """Float32 values of one volume after scale and intercept; overflow gives inf."""
    shape, dtype = grid(header), header.get_data_dtype()
    count = int(np.prod(shape))
    start = int(header["vox_offset"]) + volume * count * dtype.itemsize
    stored = np.frombuffer(payload, dtype, count, start)
    slope, inter = header.get_slope_inter()
    values = np.empty(stored.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        if slope is None or (slope, inter) == (1, 0):
            values[:] = stored
        else:
            for at in range(0, stored.size, _SLAB):
                slab = stored[at : at + _SLAB]
                values[at : at + _SLAB] = slab * np.float64(slope) + np.float64(inter)
    return values.reshape(shape, order="F")


def _output_header(volume: Volume, dtype: np.dtype) -> Nifti1Header:
    source = parse(volume.header) if volume.header else None
    if not isinstance(source, Nifti1Header):  # made in memory, or read from another kind of file
        nowhere = np.broadcast_to(dtype.type(0), volume.shape)
        header = nib.Nifti1Image(nowhere, volume.affine, dtype=dtype).header
        header.set_xyzt_units("mm")
    else:
        header = source.as_byteswapped("<")
        affine = place(header).affine
        if affine is None or not np.allclose(affine, volume.affine, atol=1e-4):
            raise ValueError(f"{volume.name}: its affine is not that of its header")
        header.set_data_shape(volume.shape)
    for name in _STALE.keys() & header.keys():
        header[name] = _STALE[name]
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    return header


# What described the source's intensities and would be wrong for a map or a mask, and the free
# text, where some converters put the patient's name. NIfTI-2 has not all of them.
_STALE = {
    "data_type": b"",
    "db_name": b"",
    "descrip": b"wholesight",
    "aux_file": b"",
    "intent_code": 0,
    "intent_name": b"",
    "intent_p1": 0,
    "intent_p2": 0,
    "intent_p3": 0,
    "cal_min": 0,
    "cal_max": 0,
    "glmin": 0,
    "glmax": 0,
    "vox_offset": 0,
}
