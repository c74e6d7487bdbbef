"""NIfTI files that are read although something is odd: what is taken, and the note that says so."""

import gzip

import numpy as np
import pytest

from wholesight.codes import MEANINGS
from wholesight.errors import InputError
from wholesight.io import reading
from wholesight.io.nifti_header import PLACINGS, Placing
from wholesight.prep.body import Given, Nonzero
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import Percentile
from wholesight.prep.slices import Slicing
from wholesight.volume import Scan

SFORM = np.array([[2, 0, 0, -10], [0, 3, 0, -20], [0, 0, 4, -30.0]])
GOOD_S = {"sform_code": 1, "srow_x": SFORM[0], "srow_y": SFORM[1], "srow_z": SFORM[2]}
GOOD_Q = {
    "qform_code": 1,
    "pixdim": [1, 2, 3, 4, 1, 1, 1, 1],
    **{f"quatern_{x}": 0 for x in "bcd"},
    "qoffset_x": -10,
    "qoffset_y": -20,
    "qoffset_z": -30,
}
FORMS = {
    ("sform", "good"): GOOD_S,
    ("sform", "bad"): GOOD_S | {"srow_y": [0, np.nan, 0, 0]},
    ("sform", "unset"): GOOD_S | {"sform_code": 0},
    ("qform", "good"): GOOD_Q,
    ("qform", "bad"): GOOD_Q | {"quatern_b": 3},
    ("qform", "unset"): GOOD_Q | {"qform_code": 0},
}


def codes(volume):
    return [note.code for note in volume.notes]


@pytest.mark.parametrize("row", PLACINGS, ids=lambda row: f"{row.sform}-{row.qform}-{row.agree}")
def test_which_form_is_taken_and_what_is_said(tmp_path, nifti_bytes, row):
    fields = FORMS["sform", row.sform] | FORMS["qform", row.qform]
    if row.agree is False:
        fields |= {"qoffset_x": -14}
    path = tmp_path / "x.nii"
    path.write_bytes(nifti_bytes(**fields))
    if row.taken == "neither":
        with pytest.raises(InputError) as caught:
            reading.read(path)
        assert caught.value.code == row.code == "E_AFFINE"
        return
    volume = reading.read(path)
    assert codes(volume) == ([row.code] if row.code else [])
    if row.taken == "spacing":
        assert volume.spacing_mm == (2, 3, 4)
    else:
        np.testing.assert_array_equal(volume.affine[:3], SFORM)
    if row.agree is False:
        assert "by up to 4 mm" in volume.notes[0].text


def test_the_table_has_a_row_for_everything_that_can_be():
    states = ("good", "bad", "unset")
    every = {(s, q, None) for s in states for q in states if (s, q) != ("good", "good")}
    every |= {("good", "good", agree) for agree in (True, False)}
    assert {row[:3] for row in PLACINGS} == every
    assert len(PLACINGS) == len(every)
    for row in PLACINGS:
        assert isinstance(row, Placing)
        assert row.code is None or row.code in MEANINGS
        assert (row.taken == "neither") == (row.code is not None and row.code[0] == "E")


def test_rounding_and_a_tenth_of_a_voxel_are_no_two_places(tmp_path, nifti_bytes):
    for offset, said in ((-10.0001, []), (-10.19, []), (-10.3, ["N_TWO_PLACES"])):
        (tmp_path / "x.nii").write_bytes(nifti_bytes(**GOOD_S, **GOOD_Q | {"qoffset_x": offset}))
        assert codes(reading.read(tmp_path / "x.nii")) == said


@pytest.mark.parametrize(("width_mm", "taken"), [(0, 1), (-2.5, 2.5)])
def test_a_spacing_that_was_mended_is_told_where_it_counts(tmp_path, nifti_bytes, width_mm, taken):
    odd = GOOD_Q | {"pixdim": [1, width_mm, 3, 4, 1, 1, 1, 1]}
    (tmp_path / "x.nii").write_bytes(nifti_bytes(**FORMS["sform", "unset"], **odd))
    volume = reading.read(tmp_path / "x.nii")
    assert volume.spacing_mm == (taken, 3, 4)
    assert codes(volume) == ["N_SPACING_MENDED"]
    assert f"{width_mm:g} x 3 x 4 mm, which is taken as {taken:g} x 3 x 4" in volume.notes[0].text
    # The sform does not need it.
    (tmp_path / "x.nii").write_bytes(nifti_bytes(**GOOD_S, **odd | {"qform_code": 0}))
    assert codes(reading.read(tmp_path / "x.nii")) == []


@pytest.mark.parametrize(("slope", "said"), [(0, []), (2, []), (np.nan, ["N_SCALE"])])
def test_a_scale_that_is_no_number_is_told(tmp_path, nifti_bytes, slope, said):
    (tmp_path / "x.nii").write_bytes(nifti_bytes(scl_slope=slope, **GOOD_S))
    assert codes(reading.read(tmp_path / "x.nii")) == said


def test_a_name_that_does_not_tell_the_compression_is_told(tmp_path, nifti_bytes):
    raw = nifti_bytes(**GOOD_S)
    files = {"a.nii.gz": raw, "b.nii": gzip.compress(raw), "c.nii.gz": gzip.compress(raw)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    told = {name: codes(reading.read(tmp_path / name)) for name in files}
    assert told == {"a.nii.gz": ["N_NAME"], "b.nii": ["N_NAME"], "c.nii.gz": []}


# ---------------------------------------------------------------- a series of volumes


def test_one_volume_of_a_series_is_read_where_it_is_named(tmp_path, nifti_bytes):
    series = np.arange(1, 1 + 5 * 6 * 7 * 3, dtype=np.int16).reshape(5, 6, 7, 3)
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(series, **GOOD_S, scl_slope=2)))
    for k in range(3):
        np.testing.assert_array_equal(reading.read(path, volume=k).voxels, series[..., k] * 2.0)
    with pytest.raises(InputError, match=r"3 volumes .* Choose one by --volume, 0 to 2 "):
        reading.read(path)
    with pytest.raises(InputError, match=r"no volume 3, only 3 .*0 to 2 ") as caught:
        reading.read(path, volume=3)
    assert caught.value.code == "E_DIMS"


def test_a_single_volume_is_volume_0(tmp_path, nifti_bytes, voxels):
    (tmp_path / "x.nii").write_bytes(nifti_bytes())
    np.testing.assert_array_equal(reading.read(tmp_path / "x.nii", volume=0).voxels, voxels)
    with pytest.raises(InputError, match="no volume 1, only 1"):
        reading.read(tmp_path / "x.nii", volume=1)


# ---------------------------------------------------------------- voxels without a value


def with_holes(nifti_bytes, count, *, corner=False):
    """A scan of 1,000 voxels that are 0 at one face; `count` of them have no value."""
    stored = np.full((10, 10, 10), 7.0, np.float32)
    stored[..., 2:] += np.arange(8)
    stored[0] = 0
    where = stored[0] if corner else stored[5]
    where.flat[:count] = np.nan
    return nifti_bytes(stored, **GOOD_S)


def prep(body):
    return Prep(body=body, intensity=Percentile(), slices=Slicing(size=None))


def test_a_few_holes_are_filled_kept_in_mind_and_told(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(with_holes(nifti_bytes, 10, corner=True))
    image = reading.read_image(tmp_path / "x.nii")
    assert codes(image) == ["N_FILLED"]
    assert "10 of 1000 voxels" in image.notes[0].text
    assert np.isfinite(image.voxels).all()
    assert image.holes is not None
    assert image.holes.sum() == 10
    assert (image.voxels[image.holes] == 0).all()
    assert np.isfinite(prep(Nonzero()).forward(Scan(image)).pixels).all()
    assert image.like(image.voxels).holes is None


def test_a_hole_in_the_body_is_refused(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(with_holes(nifti_bytes, 3))
    image = reading.read_image(tmp_path / "x.nii")
    given = image.like(np.ones(image.shape, bool))
    with pytest.raises(InputError, match=r"x\.nii: 3 of the body's voxels are NaN") as caught:
        prep(Given()).forward(Scan(image, given))
    assert caught.value.code == "E_NONFINITE"


def test_many_holes_are_refused_wherever_they_are(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(with_holes(nifti_bytes, 11, corner=True))
    with pytest.raises(InputError, match="11 of 1000 voxels") as caught:
        reading.read_image(tmp_path / "x.nii")
    assert caught.value.code == "E_NONFINITE"


@pytest.mark.parametrize("reader", [reading.read, reading.read_mask])
def test_a_mask_or_a_map_has_no_holes(tmp_path, nifti_bytes, reader):
    (tmp_path / "x.nii").write_bytes(with_holes(nifti_bytes, 1, corner=True))
    with pytest.raises(InputError) as caught:
        reader(tmp_path / "x.nii")
    assert caught.value.code == "E_NONFINITE"


@pytest.mark.parametrize(("filled", "legal"), [(19, False), (20, True)])
def test_a_speck_in_the_dark_is_no_scan(tmp_path, nifti_bytes, filled, legal):
    stored = np.zeros((10, 10, 10), np.int16)
    stored.flat[:filled] = 5
    (tmp_path / "x.nii").write_bytes(nifti_bytes(stored, **GOOD_S))
    if legal:
        assert reading.read_image(tmp_path / "x.nii").shape == (10, 10, 10)
        return
    with pytest.raises(InputError, match=r"only 1\.9 % of the voxels") as caught:
        reading.read_image(tmp_path / "x.nii")
    assert caught.value.code == "E_EMPTY"


@pytest.mark.parametrize(("code", "said"), [(0, []), (2, []), (1, ["N_UNITS"]), (7, ["N_UNITS"])])
def test_lengths_that_are_not_in_mm_are_taken_as_mm_and_told(tmp_path, nifti_bytes, code, said):
    (tmp_path / "x.nii").write_bytes(nifti_bytes(xyzt_units=code, **GOOD_S))
    volume = reading.read(tmp_path / "x.nii")
    assert codes(volume) == said
    assert volume.spacing_mm == (2, 3, 4)
