"""NIfTI-1 and NIfTI-2, read strictly and written with the geometry of the source.

nibabel does the format. Around it stand the checks it does not make: the gzip checksum, sizes
before anything is allocated, finite voxels. Reading needs the memory of the stored voxels and of
the float32 ones, and little more. Axes: i j k, as in the file.
"""

from __future__ import annotations

import gzip
import logging
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from wholesight.errors import InputError
from wholesight.io import gzip_stream
from wholesight.io.files import unreadable, write_bytes
from wholesight.volume import Volume

SUFFIXES = (".nii", ".nii.gz")

# Memory for the voxels as they are stored and as float32. A whole head at 0.5 mm in float64 takes
# 1.6 GB, a CT of 512 x 512 x 600 in int16 takes 0.9 GB.
LIMIT_BYTES = 2 * 1024**3

_FLOAT32_BYTES = 4
_SLAB = 1 << 20  # voxels that are scaled at a time, in float64
_SLACK = 1 << 20  # bytes that may follow the voxels
_HEADER_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
_MAGIC = {348: (344, b"n+1"), 540: (4, b"n+2")}
_LONGEST_HEADER = max(_HEADER_CLASSES)

# nibabel tells of the repairs it makes to a header's spacing; the callers of ours did not ask.
_SILENT = logging.Logger("wholesight.nibabel")
_SILENT.addHandler(logging.NullHandler())


def read(path: Path | str, *, limit_bytes: int = LIMIT_BYTES) -> Volume:
    """Read one NIfTI file.

    Returns float32 voxels after the file's scale and intercept, (i, j, k); trailing axes of
    length 1 are dropped. limit_bytes : of memory, see LIMIT_BYTES; what needs more is refused
    before it is decompressed. Raises InputError, whose code says which check failed.
    """
    path = Path(path)
    payload = _payload(path, limit_bytes)
    header = _header(payload, path, limit_bytes)
    affine = _affine(header)
    if not _invertible(affine):
        raise InputError(
            f"{path}: its header places the voxels nowhere (affine not finite or not invertible). "
            "Convert the scan again from its source.",
            code="E_AFFINE",
        )
    voxels = _voxels(payload, header)
    _require_finite(voxels, path)
    return Volume(voxels, affine, path.name, header=header.binaryblock)


def read_image(path: Path | str) -> Volume:
    """Read a scan: as `read`, and refuse one that holds nothing."""
    volume = read(path)
    if volume.voxels.min() == volume.voxels.max():
        raise InputError(
            f"{path}: every voxel is {volume.voxels.flat[0]:g}, there is nothing to look at. "
            "Check how the file was made.",
            code="E_EMPTY",
        )
    return volume


def read_mask(path: Path | str) -> Volume:
    """Read a mask as booleans: any label above 0 counts. An empty mask is legal.

    Raises InputError with code E_LABELS when a value is negative or no whole number.
    """
    volume = read(path)
    marked = np.empty(volume.shape, bool, order="F")
    for k in range(volume.shape[2]):  # slice by slice, as three copies of a volume are many bytes
        labels = np.rint(volume.voxels[..., k])
        if labels.min() < 0 or np.abs(labels - volume.voxels[..., k]).max() > 1e-3:
            raise _no_labels(volume, Path(path))
        marked[..., k] = labels > 0
    return volume.like(marked)


def _no_labels(volume: Volume, path: Path) -> InputError:
    some = ", ".join(f"{value:g}" for value in np.unique(volume.voxels)[:5])
    return InputError(
        f"{path}: a mask holds whole numbers from 0, this one has {some} ... "
        "Is it an image, or a mask that was resampled? Use nearest neighbour for masks.",
        code="E_LABELS",
    )


def write(volume: Volume, path: Path | str) -> None:
    """Write a volume, atomically, in its own dtype (bool as uint8).

    Affine, qform, sform, their codes and the units are those of the volume's source, bit for bit.
    The same volume gives the same bytes. Raises OutputError; ValueError when the volume's affine
    is no longer that of its header, which is a bug of the caller.
    """
    path = Path(path)
    dtype = np.dtype(np.uint8) if volume.voxels.dtype == bool else volume.voxels.dtype
    header = _output_header(volume, dtype)
    image_class = _HEADER_CLASSES[int(header["sizeof_hdr"])]
    # The header already holds the geometry; an affine beside it would be written over it.
    content = image_class(volume.voxels.astype(dtype), None, header).to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    write_bytes(path, content)


def stem(path: Path) -> str:
    """Return the file's name without .nii or .nii.gz.

    >>> stem(Path("a/case7_flair.nii.gz"))
    'case7_flair'
    """
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _payload(path: Path, limit_bytes: int) -> bytes | bytearray:
    """Return the file's bytes, decompressed where they are compressed, whatever its name."""
    try:
        _require_file(path, limit_bytes)
        with path.open("rb") as file:
            compressed = file.read(2) == gzip_stream.MAGIC
            file.seek(0)
            if not compressed:
                return file.read()
            return gzip_stream.decompress(
                file,
                path,
                head=_LONGEST_HEADER,
                size_of=lambda start: _declared_bytes(start, path, limit_bytes),
                slack=_SLACK,
            )
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _require_file(path: Path, limit_bytes: int) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{path}: is a folder or a device, a NIfTI file is needed here.", code="E_NOT_FILE"
        )
    if status.st_size > limit_bytes + _SLACK:
        raise _too_large(path, f"has {status.st_size / 1e9:.1f} GB", limit_bytes)
    if not status.st_size:
        raise InputError(f"{path}: the file is empty (0 bytes). Copy it again.", code="E_TRUNCATED")


def _declared_bytes(start: bytes | bytearray, path: Path, limit_bytes: int) -> int:
    """Bytes the whole file should have by its header; refuses what is no NIfTI or too large."""
    header = _parse(start, path)
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise InputError(
            f"{path}: impossible dimensions {dims[1:]} in its header. Convert the scan again.",
            code="E_DIMS",
        )
    voxels = int(np.prod(dims[1 : dims[0] + 1], dtype=object))
    size = voxels * _dtype(header, path).itemsize
    needed = size + voxels * _FLOAT32_BYTES
    if needed > limit_bytes:
        raise _too_large(
            path,
            f"needs {needed / 1e9:.1f} GB for its voxels ({dims[1 : dims[0] + 1]})",
            limit_bytes,
        )
    offset = float(header["vox_offset"])
    # An offset of 0 would have the header itself read as voxels; nibabel does. The 4 bytes after
    # the header say whether there are extensions.
    if not int(header["sizeof_hdr"]) + 4 <= offset <= limit_bytes:
        raise InputError(
            f"{path}: its header says that the voxels start at byte {offset:g}, which cannot be. "
            "Convert the scan again.",
            code="E_HEADER",
        )
    return size + int(offset)


def _parse(start: bytes | bytearray, path: Path) -> Nifti1Header:
    size = {int.from_bytes(start[:4], order): order for order in ("little", "big")}
    known = next((n for n in size if n in _HEADER_CLASSES), None)
    if known is not None and len(start) < known:
        raise _truncated(path, "it ends inside its header")
    at, magic = _MAGIC.get(known or 0, (0, b"?"))
    if known is None or start[at : at + 3] != magic:
        hint = (
            "It begins like a web page: was a login or error page downloaded in its place?"
            if start[:64].lstrip()[:1] == b"<"
            else "A pair of .hdr and .img must be joined first."
        )
        raise InputError(f"{path}: not a NIfTI file (.nii or .nii.gz). {hint}", code="E_FORMAT")
    order = "<" if size[known] == "little" else ">"
    return _HEADER_CLASSES[known].header_class(bytes(start[:known]), order, check=False)


def _header(payload: bytes | bytearray, path: Path, limit_bytes: int) -> Nifti1Header:
    declared = _declared_bytes(payload, path, limit_bytes)
    header = _parse(payload, path)
    if len(payload) < declared:
        raise _truncated(path, f"its header declares {declared} bytes, there are {len(payload)}")
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isfinite(slope) and slope != 0 and not np.isfinite(inter):
        raise InputError(
            f"{path}: its header scales by {slope:g} but adds {inter}. Convert the scan again.",
            code="E_SCALE",
        )
    _shape3(header, path)
    return header


def _dtype(header: Nifti1Header, path: Path) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
        label = header.get_value_label("datatype")
    except (HeaderDataError, KeyError):
        dtype, label = np.dtype("V"), f"<unknown code {int(header['datatype'])}>"
    if dtype.kind not in "iuf":
        raise InputError(
            f"{path}: voxels of type {label} (colour, complex or unknown) are no scan. "
            "Convert it to one number a voxel.",
            code="E_DTYPE",
        )
    return dtype


def _affine(header: Nifti1Header) -> np.ndarray:
    """Voxel index -> world in mm: the sform if its code is set, else the qform, else the spacing.

    Not finite where the header makes no sense.
    """
    mended = header.copy()
    mended.check_fix(logger=_SILENT, error_level=100)
    try:
        return np.asarray(mended.get_best_affine(), np.float64)
    except ValueError:  # a quaternion longer than 1
        return np.full((4, 4), np.nan)


def _voxels(payload: bytes | bytearray, header: Nifti1Header) -> np.ndarray:
    """Float32 values after scale and intercept; overflow gives inf."""
    shape = _shape3(header)
    stored = np.frombuffer(
        payload, header.get_data_dtype(), int(np.prod(shape)), int(header["vox_offset"])
    )
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


def _shape3(header: Nifti1Header, path: Path | None = None) -> tuple[int, int, int]:
    dims = [int(n) for n in header["dim"]]
    shape = [*dims[1 : dims[0] + 1], 1, 1]
    if any(n > 1 for n in shape[3:]):
        raise InputError(
            f"{path}: has {len(shape) - 2} axes ({dims[1 : dims[0] + 1]}), one 3-D volume is "
            "needed. Extract the one you want first.",
            code="E_DIMS",
        )
    return shape[0], shape[1], shape[2]


def _truncated(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: the file is cut off, {why}. Copy or convert it again.", code="E_TRUNCATED"
    )


def _too_large(path: Path, what: str, limit_bytes: int) -> InputError:
    return InputError(
        f"{path}: {what}, over the limit of {limit_bytes / 1e9:.1f} GB. "
        "Crop or resample the scan first.",
        code="E_TOO_LARGE",
    )


def _invertible(affine: np.ndarray) -> bool:
    if not np.isfinite(affine).all():
        return False
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # Against the spacing, so that a micrometre grid is as good as a millimetre one.
    return bool(abs(np.linalg.det(affine[:3, :3])) > 1e-6 * spacing.prod() > 0)


def _require_finite(voxels: np.ndarray, path: Path) -> None:
    bad = sum(int((~np.isfinite(voxels[..., k])).sum()) for k in range(voxels.shape[2]))
    if bad:
        raise InputError(
            f"{path}: {bad} of {voxels.size} voxels are NaN, infinite or beyond float32. "
            "Set them to a real value first, or convert the scan again.",
            code="E_NONFINITE",
        )


def _output_header(volume: Volume, dtype: np.dtype) -> Nifti1Header:
    if volume.header is None:
        nowhere = np.broadcast_to(dtype.type(0), volume.shape)
        header = nib.Nifti1Image(nowhere, volume.affine, dtype=dtype).header
        header.set_xyzt_units("mm")
    else:
        header = _parse(volume.header, Path(volume.name)).as_byteswapped("<")
        if not np.allclose(_affine(header), volume.affine, atol=1e-4):
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
