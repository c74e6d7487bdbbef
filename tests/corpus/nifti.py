"""NIfTI files that are damaged, lie, are odd, or are something else."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from corpus.bad import Corpus

NIFTI = Corpus()
SHAPE = (16, 17, 18)
AFFINE = np.array([[-2, 0, 0, 16], [0, 2, 0, -17], [0, 0, 3, -27], [0, 0, 0, 1.0]])


def voxels() -> np.ndarray:
    """A ball that is brighter inside than outside."""
    far = np.linalg.norm(np.indices(SHAPE).T - np.array(SHAPE) / 2 + 0.5, axis=-1).T
    return np.where(far < 7, 500 - 20 * far, 0).astype(np.int16)


def raw(stored: np.ndarray | None = None, *, version: int = 1, endian: str = "<", **fields: Any):
    """Bytes of an uncompressed file, with any header field as it is given."""
    stored = voxels() if stored is None else stored
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = kind(endianness=endian)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_sform(AFFINE, 1)
    header.set_qform(AFFINE, 1)
    header["vox_offset"] = 352 if version == 1 else 544
    header["magic"] = b"n+1" if version == 1 else header["magic"]
    for name, value in fields.items():
        header[name] = value
    ordered = stored.astype(stored.dtype.newbyteorder(endian))
    return header.binaryblock + b"\0\0\0\0" + ordered.tobytes("F")


def put(folder: Path, content: bytes, name: str = "scan.nii") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def packed(folder: Path, content: bytes) -> Path:
    return put(folder, gzip.compress(content, mtime=0), "scan.nii.gz")


# ---------------------------------------------------------------- compression and size


@NIFTI("E_TRUNCATED")
def gz_cut_in_half(folder: Path) -> Path:
    whole = gzip.compress(raw(), mtime=0)
    return put(folder, whole[: len(whole) // 2], "scan.nii.gz")


@NIFTI("E_TRUNCATED")
def nii_cut_in_half(folder: Path) -> Path:
    whole = raw()
    return put(folder, whole[: len(whole) // 2])


@NIFTI("E_TRUNCATED")
def header_only(folder: Path) -> Path:
    return put(folder, raw()[:352])


@NIFTI("E_TRUNCATED")
def half_a_header(folder: Path) -> Path:
    return put(folder, raw()[:200])


@NIFTI("E_TRUNCATED")
def gz_without_its_trailer(folder: Path) -> Path:
    return put(folder, gzip.compress(raw(), mtime=0)[:-8], "scan.nii.gz")


@NIFTI("E_CRC")
def gz_with_a_wrong_checksum(folder: Path) -> Path:
    whole = bytearray(gzip.compress(raw(), mtime=0))
    whole[-8] ^= 1
    return put(folder, bytes(whole), "scan.nii.gz")


@NIFTI("E_CRC")
def gz_with_a_changed_voxel(folder: Path) -> Path:
    """Stored without compression, so that the voxel is changed and the stream stays readable."""
    content = raw()
    packer = zlib.compressobj(0, wbits=31)
    whole = bytearray(packer.compress(content) + packer.flush())
    whole[len(whole) // 2] ^= 0x40
    return put(folder, bytes(whole), "scan.nii.gz")


@NIFTI("E_TRUNCATED")
def empty_file(folder: Path) -> Path:
    return put(folder, b"", "scan.nii.gz")


@NIFTI("E_FORMAT")
def web_page(folder: Path) -> Path:
    return put(folder, b"<!DOCTYPE html><html><body>Sign in</body></html>" * 20, "scan.nii.gz")


@NIFTI("E_FORMAT")
def analyze_header(folder: Path) -> Path:
    return put(folder, raw(magic=b""))


@NIFTI("E_NOT_FILE")
def folder_called_like_a_scan(folder: Path) -> Path:
    (folder / "scan.nii.gz").mkdir()
    return folder / "scan.nii.gz"


@NIFTI("E_NOT_FOUND")
def link_to_annexed_content(folder: Path) -> Path:
    (folder / "scan.nii.gz").symlink_to(".git/annex/objects/aa/bb/gone.nii.gz")
    return folder / "scan.nii.gz"


@NIFTI("E_NOT_FOUND")
def no_such_file(folder: Path) -> Path:
    return folder / "scan.nii.gz"


@NIFTI("N_NAME")
def plain_called_gz(folder: Path) -> Path:
    return put(folder, raw(), "scan.nii.gz")


@NIFTI("N_NAME")
def gz_called_plain(folder: Path) -> Path:
    return put(folder, gzip.compress(raw(), mtime=0))


@NIFTI("E_TRUNCATED")
def header_declares_a_thousand_cubed(folder: Path) -> Path:
    return packed(folder, raw(dim=[3, 500, 500, 500, 1, 1, 1, 1])[:352])


@NIFTI("E_TOO_LARGE")
def header_declares_eight_terabytes(folder: Path) -> Path:
    return put(folder, raw(dim=[3, 20000, 20000, 20000, 1, 1, 1, 1])[:352])


@NIFTI("E_TOO_LARGE")
def gzip_bomb(folder: Path) -> Path:
    packer = zlib.compressobj(9, wbits=31)
    content = packer.compress(raw())
    for _ in range(256):
        content += packer.compress(bytes(1 << 20))
    return put(folder, content + packer.flush(), "scan.nii.gz")


# ---------------------------------------------------------------- the header


@NIFTI("E_DIMS")
def axis_of_length_zero(folder: Path) -> Path:
    return put(folder, raw(dim=[3, 16, 0, 18, 1, 1, 1, 1]))


@NIFTI("E_DIMS")
def axis_of_negative_length(folder: Path) -> Path:
    return put(folder, raw(dim=[3, 16, -17, 18, 1, 1, 1, 1]))


@NIFTI("E_DIMS")
def nine_axes(folder: Path) -> Path:
    return put(folder, raw(dim=[9, 16, 17, 18, 1, 1, 1, 1]))


@NIFTI("E_DIMS")
def series_of_volumes(folder: Path) -> Path:
    return put(folder, raw(np.stack([voxels(), voxels()], axis=3)))


@NIFTI("E_DIMS")
def five_axes(folder: Path) -> Path:
    return put(folder, raw(np.ones((4, 4, 4, 2, 3), np.int16)))


@NIFTI("OK")
def fourth_axis_of_length_one(folder: Path) -> Path:
    return put(folder, raw(voxels()[..., None]))


@NIFTI("OK")
def single_slice(folder: Path) -> Path:
    return put(folder, raw(voxels()[:, :, 9:10]))


@NIFTI("E_DTYPE")
def colour_voxels(folder: Path) -> Path:
    return put(folder, raw(datatype=128, bitpix=24) + bytes(20000))


@NIFTI("E_DTYPE")
def complex_voxels(folder: Path) -> Path:
    return put(folder, raw(datatype=32, bitpix=64) + bytes(60000))


@NIFTI("E_HEADER")
def voxels_that_start_in_the_header(folder: Path) -> Path:
    return put(folder, raw(vox_offset=0))


@NIFTI("OK")
def scale_of_zero(folder: Path) -> Path:
    return put(folder, raw(scl_slope=0, scl_inter=0))


@NIFTI("N_SCALE")
def scale_that_is_no_number(folder: Path) -> Path:
    return put(folder, raw(scl_slope=np.nan))


@NIFTI("E_SCALE")
def intercept_that_is_no_number(folder: Path) -> Path:
    return put(folder, raw(scl_slope=2, scl_inter=np.nan))


@NIFTI("E_NONFINITE")
def scale_beyond_float32(folder: Path) -> Path:
    return put(folder, raw(scl_slope=1e38))


@NIFTI("E_AFFINE")
def singular_sform_and_no_qform(folder: Path) -> Path:
    return put(folder, raw(srow_x=[0, 0, 0, 0], qform_code=0))


@NIFTI("N_SFORM")
def singular_sform_and_a_good_qform(folder: Path) -> Path:
    return put(folder, raw(srow_x=[0, 0, 0, 0]))


@NIFTI("N_QFORM")
def impossible_quaternion(folder: Path) -> Path:
    return put(folder, raw(quatern_b=3))


@NIFTI("N_TWO_PLACES")
def qform_elsewhere(folder: Path) -> Path:
    return put(folder, raw(qoffset_x=-40))


@NIFTI("N_NO_ORIENTATION")
def no_orientation(folder: Path) -> Path:
    return put(folder, raw(qform_code=0, sform_code=0))


@NIFTI("N_SPACING_MENDED")
def spacing_of_zero(folder: Path) -> Path:
    return put(folder, raw(sform_code=0, pixdim=[1, 0, 2, 3, 1, 1, 1, 1]))


@NIFTI("E_AFFINE")
def spacing_that_is_no_number(folder: Path) -> Path:
    return put(folder, raw(sform_code=0, pixdim=[1, np.nan, 2, 3, 1, 1, 1, 1]))


@NIFTI("OK")
def sheared_grid(folder: Path) -> Path:
    return put(folder, raw(srow_x=[-2, 0.5, 0, 16], qform_code=0))


# ---------------------------------------------------------------- the voxels


@NIFTI("E_NONFINITE")
def many_voxels_without_a_value(folder: Path) -> Path:
    stored = voxels().astype(np.float32)
    stored[:8][stored[:8] == 0] = np.nan
    return put(folder, raw(stored))


@NIFTI("N_FILLED")
def few_voxels_without_a_value(folder: Path) -> Path:
    stored = voxels().astype(np.float32)
    stored[0, 0, :9] = np.inf
    return put(folder, raw(stored))


@NIFTI("E_EMPTY")
def nothing_but_zeros(folder: Path) -> Path:
    return put(folder, raw(np.zeros(SHAPE, np.int16)))


@NIFTI("E_EMPTY")
def one_value_everywhere(folder: Path) -> Path:
    return put(folder, raw(np.full(SHAPE, 7, np.int16)))


@NIFTI("E_EMPTY")
def a_speck_in_the_dark(folder: Path) -> Path:
    stored = np.zeros(SHAPE, np.int16)
    stored[8, 8, 8] = 100
    return put(folder, raw(stored))


@NIFTI("E_LABELS", as_mask=True)
def mask_that_was_resampled(folder: Path) -> Path:
    return put(folder, raw((voxels() / 500).astype(np.float32)))


@NIFTI("E_LABELS", as_mask=True)
def mask_with_negative_labels(folder: Path) -> Path:
    return put(folder, raw(-(voxels() > 0).astype(np.int16)))


@NIFTI("OK", as_mask=True)
def mask_of_almost_whole_numbers(folder: Path) -> Path:
    return put(folder, raw((voxels() > 0).astype(np.float32) * np.float32(0.9995)))


# ---------------------------------------------------------------- what is right though rare


@NIFTI("OK")
def nifti_2(folder: Path) -> Path:
    return packed(folder, raw(version=2))


@NIFTI("OK")
def big_endian(folder: Path) -> Path:
    return packed(folder, raw(endian=">"))


@NIFTI("OK")
def sixty_four_bit_integers(folder: Path) -> Path:
    return packed(folder, raw(voxels().astype(np.int64)))


@NIFTI("OK")
def several_gzip_members(folder: Path) -> Path:
    content = raw()
    members = gzip.compress(content[:999]) + gzip.compress(content[999:])
    return put(folder, members, "scan.nii.gz")


@NIFTI("OK")
def a_name_with_everything_in_it(folder: Path) -> Path:
    return put(folder, raw(), "-größe 头 (1).nii")
