"""NIfTI: what goes in comes back, the geometry bit for bit."""

import errno
import gzip
import itertools
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from wholesight.errors import InputError, OutputError
from wholesight.io import files, nifti, reading
from wholesight.volume import Volume

GEOMETRY = ["qform_code", "sform_code", "xyzt_units", "pixdim", "toffset", "dim_info"]
GEOMETRY += [f"quatern_{x}" for x in "bcd"] + [f"qoffset_{x}" for x in "xyz"]
GEOMETRY += [f"srow_{x}" for x in "xyz"]
CODES = [(0, 1), (1, 0), (1, 1), (2, 4), (4, 3), (1, 5)]


def affines(kind):
    """The 48 ways of laying the axes, straight, turned, or sheared."""
    c, s = np.cos(0.3), np.sin(0.3)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    shear = np.array([[1, 0.2, 0], [0, 1, -0.1], [0, 0, 1]])
    more = {"straight": np.eye(3), "oblique": about_z @ about_x, "sheared": shear}[kind]
    for order in itertools.permutations(range(3)):
        for signs in itertools.product([1, -1], repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = more @ np.eye(3)[:, order] * signs * [0.9, 1.1, 5.0]
            affine[:3, 3] = [-90.3, 126.7, -72.1]
            yield affine


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("version", "endian", "kind"),
    [
        *((1, "<", kind) for kind in ("straight", "oblique", "sheared")),
        *((version, endian, "sheared") for version, endian in ((1, ">"), (2, "<"), (2, ">"))),
    ],
)
def test_geometry_comes_back_bit_for_bit(
    tmp_path, voxels, nifti_header, nifti_bytes, *, version, endian, kind
):
    source, target = tmp_path / "in.nii", tmp_path / "out.nii"
    for affine, (qform_code, sform_code) in zip(affines(kind), itertools.cycle(CODES)):
        header = nifti_header(version, endian)
        # The qform cannot hold a shear; it is then another one than the sform, and both must stay.
        header.set_qform(affine, qform_code, strip_shears=True)
        header.set_sform(affine, sform_code)
        header.set_xyzt_units("mm", "sec")
        fields = {name: header[name] for name in GEOMETRY} | {"toffset": 3.5, "dim_info": 57}
        source.write_bytes(nifti_bytes(version=version, endian=endian, **fields))

        volume = nifti.read(source)
        nifti.write(volume.like(volume.voxels > 100), target)

        before, after = nib.load(source), nib.load(target)
        np.testing.assert_array_equal(volume.affine, before.affine)
        np.testing.assert_array_equal(after.affine, before.affine)
        np.testing.assert_array_equal(np.asanyarray(after.dataobj), voxels > 100)
        for name in GEOMETRY:
            old, new = before.header[name], after.header[name]
            assert old.astype(old.dtype.newbyteorder("<")).tobytes() == new.tobytes(), name


@pytest.mark.parametrize("units", [("unknown", "unknown"), ("mm", "msec"), ("micron", "unknown")])
def test_units_come_back(tmp_path, nifti_header, nifti_bytes, units):
    header = nifti_header()
    header.set_xyzt_units(*units)
    (tmp_path / "in.nii").write_bytes(nifti_bytes(xyzt_units=header["xyzt_units"]))
    nifti.write(nifti.read(tmp_path / "in.nii"), tmp_path / "out.nii")
    assert nib.load(tmp_path / "out.nii").header.get_xyzt_units() == units


def test_a_volume_made_in_memory_has_its_affine_in_both_forms(tmp_path, voxels):
    affine = np.array([[0, 0, 3, 1], [-1, 0, 0, 2], [0, 2, 0, -3], [0, 0, 0, 1.0]])
    nifti.write(Volume(voxels.astype(np.float32), affine), tmp_path / "x.nii.gz")
    header = nib.load(tmp_path / "x.nii.gz").header
    np.testing.assert_allclose(header.get_sform(), affine, atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), affine, atol=1e-6)
    assert header.get_xyzt_units()[0] == "mm"


def test_an_affine_that_left_its_header_is_a_bug_not_a_file(tmp_path, nifti_bytes):
    (tmp_path / "in.nii").write_bytes(nifti_bytes())
    volume = nifti.read(tmp_path / "in.nii")
    moved = Volume(volume.voxels, np.eye(4), volume.name, volume.header)
    with pytest.raises(ValueError, match="affine"):
        nifti.write(moved, tmp_path / "out.nii")


def test_an_unusual_spacing_is_mended_without_a_word(tmp_path, nifti_bytes, caplog):
    for qfac, width_mm in ((1, -1), (1, 0), (5, 1)):
        odd = {"sform_code": 0, "qform_code": 1, "pixdim": [qfac, width_mm, 2, 3, 1, 1, 1, 1]}
        (tmp_path / "x.nii").write_bytes(nifti_bytes(**odd))
        assert nifti.read(tmp_path / "x.nii").spacing_mm == (1, 2, 3)
    assert not caplog.records


def test_a_grid_of_micrometres_lies_somewhere(tmp_path, nifti_bytes):
    rows = dict(zip(("srow_x", "srow_y", "srow_z"), np.eye(4)[:3] * 1e-4, strict=True))
    (tmp_path / "x.nii").write_bytes(nifti_bytes(**rows))
    assert nifti.read(tmp_path / "x.nii").spacing_mm == pytest.approx((1e-4, 1e-4, 1e-4))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_values_are_those_of_nibabel(tmp_path, voxels, nifti_bytes, *, version, endian, dtype):
    scaled = {"version": version, "endian": endian, "scl_slope": 0.37, "scl_inter": -1024.5}
    path = tmp_path / "x.nii"
    path.write_bytes(nifti_bytes(voxels.astype(dtype), **scaled))
    read = nifti.read(path).voxels
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, nib.load(path).get_fdata().astype(np.float32))


@pytest.mark.parametrize("slope_inter", [(2, 3), (-1, 0), (1, 0), (1, 5)])
def test_scale_and_intercept(tmp_path, voxels, nifti_bytes, slope_inter):
    slope, inter = slope_inter
    (tmp_path / "x.nii").write_bytes(nifti_bytes(scl_slope=slope, scl_inter=inter))
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii").voxels, voxels * slope + inter)


@pytest.mark.parametrize("slope_inter", [(0, 3), (np.nan, 3), (np.inf, 3), (np.nan, np.nan)])
def test_a_scale_that_is_none_leaves_the_values(tmp_path, voxels, nifti_bytes, slope_inter):
    slope, inter = slope_inter
    (tmp_path / "x.nii").write_bytes(nifti_bytes(scl_slope=slope, scl_inter=inter))
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii").voxels, voxels)


@pytest.mark.parametrize("shape", [(5, 6, 7, 1), (5, 6, 7, 1, 1, 1), (5, 6), (5,), (5, 1, 7, 1)])
def test_axes_of_length_one_are_dropped(tmp_path, nifti_bytes, shape):
    stored = np.arange(1, 1 + np.prod(shape), dtype=np.int16).reshape(shape)
    (tmp_path / "x.nii").write_bytes(nifti_bytes(stored))
    volume = nifti.read(tmp_path / "x.nii")
    expected = (*shape, 1, 1)[:3]
    np.testing.assert_array_equal(volume.voxels, stored.reshape(expected))
    nifti.write(volume, tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").shape == expected


@pytest.mark.parametrize("size", [16, 7, 0, 1 << 30])
def test_an_extension_before_the_voxels_is_skipped_whatever_it_holds(
    tmp_path, voxels, nifti_bytes, size
):
    plain = nifti_bytes(vox_offset=352 + 16)
    extension = b"\1\0\0\0" + size.to_bytes(4, "little") + b"\6\0\0\0" + b"x" * 8
    (tmp_path / "x.nii").write_bytes(plain[:348] + extension + plain[352:])
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii").voxels, voxels)


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("label", [1, 4, 255, 0.9995])
def test_any_label_above_zero_counts(tmp_path, voxels, nifti_bytes, label):
    lesion = voxels > 100
    (tmp_path / "x.nii").write_bytes(nifti_bytes((lesion * label).astype(np.float32)))
    mask = reading.read_mask(tmp_path / "x.nii")
    assert mask.voxels.dtype == bool
    np.testing.assert_array_equal(mask.voxels, lesion)


def test_an_empty_mask_is_legal(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(nifti_bytes(np.zeros((5, 6, 7), np.uint8)))
    assert not reading.read_mask(tmp_path / "x.nii").voxels.any()


@pytest.mark.parametrize("value", [0.5, -1, 0.99])
def test_a_mask_of_something_else(tmp_path, voxels, nifti_bytes, value):
    stored = np.where(voxels > 100, np.float32(value), np.float32(0))
    (tmp_path / "x.nii").write_bytes(nifti_bytes(stored))
    with pytest.raises(InputError, match=f"{value:g}") as caught:
        reading.read_mask(tmp_path / "x.nii")
    assert caught.value.code == "E_LABELS"


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_written_in_its_own_dtype_and_unscaled(tmp_path, voxels, dtype):
    nifti.write(Volume(voxels.astype(dtype)), tmp_path / "x.nii.gz")
    image = nib.load(tmp_path / "x.nii.gz")
    assert image.header.get_data_dtype() == dtype
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)


@pytest.mark.parametrize("version", [1, 2])
def test_of_the_source_only_the_geometry_is_written(tmp_path, nifti_bytes, version):
    private = {"descrip": b"Doe", "aux_file": b"Doe", "intent_name": b"Doe"}
    private |= {"db_name": b"Doe", "data_type": b"Doe"} if version == 1 else {}
    odd = {"intent_code": 3, "intent_p1": 9, "cal_max": 50, "scl_slope": 2, "scl_inter": 1}
    (tmp_path / "in.nii").write_bytes(nifti_bytes(version=version, **private, **odd))
    nifti.write(nifti.read(tmp_path / "in.nii"), tmp_path / "out.nii")
    assert b"Doe" not in (tmp_path / "out.nii").read_bytes()
    image = nib.load(tmp_path / "out.nii")
    assert [float(image.header[name]) for name in ("intent_code", "intent_p1", "cal_max")] == [
        0
    ] * 3
    assert image.dataobj.slope == 1


def test_the_same_volume_gives_the_same_bytes(tmp_path, voxels, nifti_bytes):
    (tmp_path / "in.nii").write_bytes(nifti_bytes())
    a, b = tmp_path / "a.nii.gz", tmp_path / "another_name.nii.gz"
    for volume in (nifti.read(tmp_path / "in.nii"), Volume(voxels.astype(np.float32))):
        nifti.write(volume, a)
        nifti.write(volume, b)
        assert a.read_bytes() == b.read_bytes()
        assert a.read_bytes()[4:8] == bytes(4)  # no time of writing
        again = nifti.read(a)
        np.testing.assert_array_equal(again.voxels, volume.voxels)
        nifti.write(again, b)
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("folder", ["nowhere", "a_file"])
def test_a_folder_that_is_none(tmp_path, voxels, folder):
    (tmp_path / "a_file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        nifti.write(Volume(voxels), tmp_path / folder / "x.nii.gz")
    with pytest.raises(OutputError, match="cannot be made"):
        files.make_folder(tmp_path / "a_file" / "out")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, voxels, monkeypatch):
    (tmp_path / "x.nii.gz").write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        nifti.write(Volume(voxels), tmp_path / "x.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["x.nii.gz"]
    assert (tmp_path / "x.nii.gz").read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path, voxels):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            nifti.write(Volume(voxels), tmp_path / "x.nii.gz")
        assert not list(tmp_path.iterdir())
    finally:
        tmp_path.chmod(0o700)


def test_unusual_names(tmp_path, voxels):
    for name in ("-x.nii.gz", "Größe 病人 é.nii.gz", "a b.nii", f"{'y' * 200}.nii.gz"):
        nifti.write(Volume(voxels), tmp_path / name)
        np.testing.assert_array_equal(nifti.read(tmp_path / name).voxels, voxels)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("reader", [nifti.read, reading.read_mask])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_reading_needs_the_stored_and_the_float32_voxels(
    tmp_path, nifti_bytes, *, reader, packed, slope
):
    stored = np.random.default_rng(0).integers(0, 3, (200, 200, 200)).astype(np.uint8)
    data = nifti_bytes(stored, scl_slope=slope)
    (tmp_path / "x.nii").write_bytes(gzip.compress(data, 1) if packed else data)
    tracemalloc.start()
    try:
        volume = reader(tmp_path / "x.nii")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 1 byte stored and 4 read, of 8 million voxels; and a slab in float64, twice.
    assert peak < 5 * stored.size + 20e6
    np.testing.assert_array_equal(
        volume.voxels, stored * slope if reader is nifti.read else stored > 0
    )


def test_scaling_in_slabs_is_that_of_the_whole(tmp_path, nifti_bytes, monkeypatch, voxels):
    monkeypatch.setattr(nifti, "_SLAB", 11)
    (tmp_path / "x.nii").write_bytes(nifti_bytes(scl_slope=0.1, scl_inter=-3.0))
    slope = np.float64(np.float32(0.1))  # the header holds it in float32
    expected = (voxels * slope - 3.0).astype(np.float32)
    np.testing.assert_array_equal(nifti.read(tmp_path / "x.nii").voxels, expected)
