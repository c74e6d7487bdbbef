"""NIfTI files that are damaged, lie, or are something else: each is refused by its code."""

import gzip
import tracemalloc

import numpy as np
import pytest

from wholesight.errors import InputError
from wholesight.io import nifti, reading


def refused(path, data, code, *, reader=reading.read):
    """Write the bytes, expect the refusal, and return its message."""
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        reader(path)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert str(path) in message
    assert len(message) > len(str(path)) + 20
    return message


# ---------------------------------------------------------------- compression


def test_plain_bytes_under_a_compressed_name_and_the_other_way(tmp_path, voxels, nifti_bytes):
    for name, data in {"a.nii.gz": nifti_bytes(), "b.nii": gzip.compress(nifti_bytes())}.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(nifti.read(tmp_path / name).voxels, voxels)


def test_several_gzip_members_are_one_file(tmp_path, voxels, nifti_bytes):
    raw = nifti_bytes()
    parts = [b"", raw[:100], *(raw[at : at + 7] for at in range(100, len(raw), 7)), b""]
    members = b"".join(gzip.compress(part) for part in parts)
    (tmp_path / "x.nii.gz").write_bytes(members + bytes(512))  # zero padding, as tapes have
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii.gz").voxels, voxels)


def test_no_flipped_bit_of_the_compressed_data_changes_a_voxel(tmp_path, voxels, nifti_bytes):
    whole = gzip.compress(nifti_bytes(), mtime=0)
    passed = 0
    for at in range(10, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "x.nii.gz").write_bytes(damaged)
        try:
            read = nifti.read(tmp_path / "x.nii.gz").voxels
        except InputError:
            continue
        passed += 1
        np.testing.assert_array_equal(read, voxels)
    assert passed <= 1  # the bits that fill the last byte before the checksum


def test_a_wrong_checksum_has_its_code(tmp_path, nifti_bytes):
    whole = bytearray(gzip.compress(nifti_bytes()))
    whole[-8] ^= 1
    assert "damaged" in refused(tmp_path / "x.nii.gz", bytes(whole), "E_CRC")


@pytest.mark.parametrize("keep", [0.5, -8, -4, -1, 2, 11])
def test_cut_off_compressed(tmp_path, nifti_bytes, keep):
    whole = gzip.compress(nifti_bytes())
    end = int(len(whole) * keep) if isinstance(keep, float) else keep
    refused(tmp_path / "x.nii.gz", whole[:end], "E_TRUNCATED")


@pytest.mark.parametrize("keep", [0.5, -1, 352, 348, 300])
def test_cut_off_plain(tmp_path, nifti_bytes, keep):
    whole = nifti_bytes()
    end = int(len(whole) * keep) if isinstance(keep, float) else keep
    refused(tmp_path / "x.nii", whole[:end], "E_TRUNCATED")


# ---------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("shape", "version", "code"),
    [
        ((600, 600, 600), 1, "E_TRUNCATED"),  # below the limit, but the file cannot hold it
        ((20000, 20000, 20000), 1, "E_TOO_LARGE"),
        ((2**40, 2**40, 2**40), 2, "E_TOO_LARGE"),
    ],
)
@pytest.mark.parametrize("suffix", nifti.SUFFIXES)
def test_a_header_that_lies_gets_no_memory(tmp_path, nifti_header, *, shape, version, code, suffix):
    data = nifti_header(version, shape=shape).binaryblock + b"\0\0\0\0"
    tracemalloc.start()
    try:
        data = gzip.compress(data) if suffix == ".nii.gz" else data
        refused(tmp_path / f"x{suffix}", data, code)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_bomb_gets_no_more_memory_than_its_header_declares(tmp_path, nifti_bytes):
    bomb = gzip.compress(nifti_bytes() + bytes(50_000_000))
    tracemalloc.start()
    try:
        refused(tmp_path / "x.nii.gz", bomb, "E_TOO_LARGE")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_file_beyond_the_limit_is_not_read(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(nifti_bytes() + bytes(2_000_000))
    assert nifti.read(tmp_path / "x.nii").shape == (5, 6, 7)
    with pytest.raises(InputError, match="limit") as caught:
        nifti.read(tmp_path / "x.nii", limit_bytes=10_000)
    assert caught.value.code == "E_TOO_LARGE"


def test_the_limit_counts_what_the_values_need_not_what_is_stored(tmp_path, nifti_bytes):
    """A byte a voxel stored becomes four: zeros that compress to nothing are no small scan."""
    small = gzip.compress(nifti_bytes(np.zeros((100, 100, 100), np.uint8), scl_slope=2.0))
    assert len(small) < 10_000
    (tmp_path / "x.nii.gz").write_bytes(small)
    assert nifti.read(tmp_path / "x.nii.gz", limit_bytes=5_000_000).shape == (100, 100, 100)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"needs 0\.0 GB") as caught:
            nifti.read(tmp_path / "x.nii.gz", limit_bytes=4_999_999)
        assert tracemalloc.get_traced_memory()[1] < 3e6  # before it is decompressed
    finally:
        tracemalloc.stop()
    assert caught.value.code == "E_TOO_LARGE"


# ---------------------------------------------------------------- what is no scan


def test_no_nifti_file_at_all(tmp_path, nifti_bytes):
    refused(tmp_path / "x.nii.gz", b"", "E_TRUNCATED")
    web = refused(tmp_path / "x.nii.gz", b"<!DOCTYPE html><html>" * 40, "E_FORMAT")
    assert "web page" in web
    refused(tmp_path / "x.nii", b"DICM" * 200, "E_FORMAT")
    refused(tmp_path / "x.nii.gz", gzip.compress(b"hello"), "E_FORMAT")
    refused(tmp_path / "x.nii", nifti_bytes(magic=b"ni1"), "E_FORMAT")
    refused(tmp_path / "x.nii", nifti_bytes(magic=b""), "E_FORMAT")  # Analyze 7.5


def test_paths_that_are_no_file(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "link.nii.gz").symlink_to(".git/annex/objects/gone")
    (tmp_path / "loop.nii.gz").symlink_to("loop.nii.gz")
    (tmp_path / "file").touch()
    expected = {
        "folder.nii.gz": ("E_NOT_FILE", "folder"),
        "link.nii.gz": ("E_NOT_FOUND", "datalad get"),
        "loop.nii.gz": ("E_READ", "cannot be read"),
        "nothing.nii.gz": ("E_NOT_FOUND", "no such file"),
        "file/x.nii.gz": ("E_NOT_FOUND", "no such file"),
    }
    for name, (code, text) in expected.items():
        with pytest.raises(InputError, match=text) as caught:
            nifti.read(tmp_path / name)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "dim",
    [
        [3, 16, 0, 18, 1, 1, 1, 1],
        [3, 5, -6, 7, 1, 1, 1, 1],
        [0, 5, 6, 7, 1, 1, 1, 1],
        [8, 5, 6, 7, 1, 1, 1, 1],
        [-1, 5, 6, 7, 1, 1, 1, 1],
        [4, 5, 6, 7, 3, 1, 1, 1],  # a series of volumes
        [5, 5, 6, 7, 1, 3, 1, 1],  # a vector a voxel
    ],
)
def test_dimensions_that_are_no_volume(tmp_path, nifti_bytes, dim):
    refused(tmp_path / "x.nii", nifti_bytes(dim=dim) + bytes(2000), "E_DIMS")


@pytest.mark.parametrize("code", [0, 1, 32, 128, 999, 1792, 2304])
def test_colour_complex_and_unknown_voxels(tmp_path, nifti_bytes, code):
    refused(tmp_path / "x.nii", nifti_bytes(datatype=code) + bytes(9000), "E_DTYPE")


@pytest.mark.parametrize("offset", [0, 100, 348, np.nan, np.inf, -352, 1e30])
def test_voxels_that_start_nowhere(tmp_path, nifti_bytes, offset):
    # For an offset of 0 nibabel reads the header as voxels.
    refused(tmp_path / "x.nii", nifti_bytes(vox_offset=offset), "E_HEADER")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number(tmp_path, voxels, nifti_bytes, bad):
    stored = voxels.astype(np.float32)
    stored[1, 2, 3] = bad
    assert "1 of 210" in refused(tmp_path / "x.nii", nifti_bytes(stored), "E_NONFINITE")


def test_values_beyond_float32(tmp_path, voxels, nifti_bytes):
    refused(tmp_path / "x.nii", nifti_bytes(voxels * 1e300), "E_NONFINITE")
    refused(tmp_path / "x.nii", nifti_bytes(scl_slope=1e38), "E_NONFINITE")


@pytest.mark.parametrize("inter", [np.nan, np.inf])
def test_an_intercept_that_is_no_number(tmp_path, nifti_bytes, inter):
    refused(tmp_path / "x.nii", nifti_bytes(scl_slope=2, scl_inter=inter), "E_SCALE")


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_that_holds_nothing(tmp_path, nifti_bytes, value):
    flat = nifti_bytes(np.full((5, 6, 7), value, np.int16))
    refused(tmp_path / "x.nii", flat, "E_EMPTY", reader=reading.read_image)


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [0, 0, 0, 0]},
        {"srow_x": [np.nan, 0, 0, 0]},
        {"srow_x": [0, 2, 0, 0]},  # two axes along one line
        {"sform_code": 0, "qform_code": 1, "quatern_b": 2},
        {"sform_code": 0, "qform_code": 1, "quatern_b": np.nan},
        {"sform_code": 0, "pixdim": [1, np.nan, 1, 1, 1, 1, 1, 1]},
    ],
)
def test_voxels_that_lie_nowhere(tmp_path, nifti_bytes, fields):
    refused(tmp_path / "x.nii", nifti_bytes(**fields), "E_AFFINE")
