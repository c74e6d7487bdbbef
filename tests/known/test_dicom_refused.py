"""DICOM series that are incomplete or no volume: each refused by its code."""

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from wholesight.io import dicom, dicom_instance


def shifted(slices, k, mm, axis=2):
    at = [float(x) for x in slices[k].ImagePositionPatient]
    at[axis] += mm
    slices[k].ImagePositionPatient = at


here = pytest.mark.usefixtures("dicom_here")


# ---------------------------------------------------------------- slices that are no volume


@here
def test_a_missing_slice_is_named_by_its_place(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[4]
    message = dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_GAP")
    assert "between slices 4 and 5 of 9 (21 and 27 mm along the stack) 1 is missing" in message
    with pytest.raises(ValueError, match="regularly"):
        highdicom.get_volume_from_series(made)


@here
def test_several_gaps_are_counted(tmp_path, dicom_made):
    made = dicom_made.slices()
    message = dicom_made.refused(
        dicom_made.save([*made[:2], *made[4:6], *made[7:]], tmp_path / "x"), "E_GAP"
    )
    assert "between slices 2 and 3 of 7 (15 and 24 mm along the stack) 2 are missing" in message
    assert "as elsewhere (2 gaps in all)" in message


@here
def test_a_gap_is_found_in_three_slices_too(tmp_path, dicom_made):
    made = dicom_made.slices()
    dicom_made.refused(dicom_made.save([made[0], made[1], made[3]], tmp_path / "x"), "E_GAP")


@here
@pytest.mark.parametrize(("mm", "code"), [(0.02, None), (0.05, "E_SPACING"), (1.0, "E_SPACING")])
def test_spacing_is_even_to_one_percent(tmp_path, dicom_made, mm, code):
    made = dicom_made.slices()
    shifted(made, 5, mm)
    folder = dicom_made.save(made, tmp_path / "x")
    if code is None:
        assert dicom.read(folder).shape == (16, 16, 10)
        return
    assert "even" in dicom_made.refused(folder, code)
    with pytest.raises(ValueError, match="regularly"):
        highdicom.get_volume_from_series(made)


@here
def test_spacing_that_drifts_within_the_tolerance_of_each_step_is_uneven_all_the_same(
    tmp_path, dicom_made
):
    made = dicom_made.slices(dicom_made.some_voxels((80, 8, 8)))
    for k in range(80):  # 2.975 mm apart at first, 3.025 mm later: 1 mm off in the middle
        shifted(made, k, -0.025 * min(k, 79 - k))
    assert "beside a regular grid" in dicom_made.refused(
        dicom_made.save(made, tmp_path / "x"), "E_SPACING"
    )


@here
def test_a_slice_beside_the_stack_is_no_part_of_it(tmp_path, dicom_made):
    made = dicom_made.slices()
    shifted(made, 5, 0.5, axis=0)
    assert "up to 0.5 mm" in dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_SPACING")


@here
def test_exact_duplicates_are_read_once_with_a_note(tmp_path, dicom_made):
    made = dicom_made.slices()
    again = dicom_made.slices()[3]
    again.SOPInstanceUID += ".1"
    volume = dicom.read(dicom_made.save([*made, again, made[7]], tmp_path / "x"))
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), dicom_made.some_voxels())
    ((code, text),) = volume.notes
    assert code == "N_DUPLICATE_SLICE"
    assert text.startswith("the folder holds 2 copies")


@here
@pytest.mark.parametrize("change", ["voxel", "slope"])
def test_other_slices_at_the_same_place_are_refused(tmp_path, dicom_made, change):
    made = dicom_made.slices()
    again = dicom_made.slices()[3]
    if change == "voxel":
        pixels = again.pixel_array.copy()
        pixels[2, 2] += 1
        again.PixelData = pixels.tobytes()
    else:
        again.RescaleSlope, again.RescaleIntercept = 2, 0
    message = dicom_made.refused(dicom_made.save([*made, again], tmp_path / "x"), "E_SAME_PLACE")
    assert "2 different slices lie at place 4 of 10: echoes" in message


@here
def test_tiles_at_one_height_are_no_stack(tmp_path, dicom_made):
    made = dicom_made.slices()
    for k in range(5):
        at = np.array(made[k].ImagePositionPatient, float)
        made[5 + k].ImagePositionPatient = list(np.add(at, [40, 0, 0]))
    dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_SAME_PLACE")


@here
def test_what_must_be_one_in_a_series(tmp_path, dicom_made):
    made = dicom_made.slices()
    made[4] = dicom_made.slices(dicom_made.some_voxels((10, 8, 16)))[4]
    message = dicom_made.refused(dicom_made.save(made, tmp_path / "size"), "E_MIXED")
    assert "8 x 16, 16 x 16 pixels" in message
    made = dicom_made.slices()
    made[4].PixelSpacing = [1.25, 0.8]
    assert "distance" in dicom_made.refused(dicom_made.save(made, tmp_path / "distance"), "E_MIXED")
    made = dicom_made.slices()
    made[4].FrameOfReferenceUID += ".1"
    assert "reference" in dicom_made.refused(dicom_made.save(made, tmp_path / "frame"), "E_MIXED")


@here
def test_one_slice_is_no_volume(tmp_path, dicom_made):
    folder = dicom_made.save(dicom_made.slices()[:1], tmp_path / "x")
    dicom_made.refused(folder, "E_ONE_SLICE")
    dicom_made.refused(next(folder.iterdir()), "E_ONE_SLICE")


@here
def test_a_part_of_an_enhanced_file_is_no_scan(tmp_path, dicom_made):
    whole = dicom_made.enhanced(dicom_made.slices())
    turned = whole.PerFrameFunctionalGroupsSequence[9]
    orientation = Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    turned.PlaneOrientationSequence = [orientation]
    dicom_made.refused(dicom_made.save([whole], tmp_path / "x"), "E_MIXED")


@here
def test_an_enhanced_file_of_two_time_points_is_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    dicom_made.refused(
        dicom_made.save([dicom_made.enhanced([*made, *made])], tmp_path / "x"), "E_SAME_PLACE"
    )


@here
def test_an_enhanced_file_that_describes_other_frames_than_it_has(tmp_path, dicom_made):
    whole = dicom_made.enhanced(dicom_made.slices())
    whole.NumberOfFrames = 11
    dicom_made.refused(dicom_made.save([whole], tmp_path / "x"), "E_FORMAT")


# ---------------------------------------------------------------- objects that are no slices


@here
@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "E_SOP_CLASS", "Secondary Capture"),
        ({"SOPClassUID": uid.BasicTextSRStorage}, "E_SOP_CLASS", "Basic Text SR"),
        ({"SOPClassUID": dicom_instance.uid.UID("1.2.3.4")}, "E_SOP_CLASS", "unknown kind"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "E_SOP_CLASS", "screen"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "E_SOP_CLASS", "mosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "E_SOP_CLASS", "localiser"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "E_DTYPE", "colours"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "E_DTYPE", "exchanged"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_what_is_no_slice_is_refused_by_its_kind(tmp_path, dicom_made, fields, code, told):
    message = dicom_made.refused(dicom_made.save(dicom_made.slices(**fields), tmp_path / "x"), code)
    assert told in message
    assert "(10 of 10 files)" in message


@here
@pytest.mark.parametrize(
    "change",
    [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"PixelSpacing": None},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]},
        {"ImagePositionPatient": [0, 0]},
        {"PixelSpacing": [0, 1]},
    ],
    ids=str,
)
def test_slices_without_a_place_are_refused(tmp_path, dicom_made, change):
    made = dicom_made.slices()
    for each in made:
        for name, value in change.items():
            if value is None:
                delattr(each, name)
            else:
                setattr(each, name, value)
    assert "(10 of 10 files)" in dicom_made.refused(
        dicom_made.save(made, tmp_path / "x"), "E_AFFINE"
    )


@here
def test_one_broken_slice_at_the_end_does_not_shorten_the_scan(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[9].ImagePositionPatient
    dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_AFFINE")


@here
def test_an_unreadable_compression_is_named_with_the_extra(tmp_path, dicom_made):
    made = dicom_made.slices()
    for each in made:
        each.PixelData = encapsulate([b"\xff\x4f" + bytes(30)])
        each["PixelData"].is_undefined_length = True
        each.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    message = dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_SYNTAX")
    assert "High-Throughput JPEG 2000" in message
    assert "pip install 'wholesight[dicom]'" in message
    assert "pylibjpeg-openjpeg" in message


def test_without_the_extra_its_name_is_told(tmp_path, dicom_made, monkeypatch):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    there = dicom.importlib.util.find_spec
    monkeypatch.setattr(
        dicom.importlib.util, "find_spec", lambda name: None if name == "highdicom" else there(name)
    )
    message = dicom_made.refused(folder, "E_EXTRA")
    assert message.endswith("DICOM needs highdicom: pip install 'wholesight[dicom]'")


def test_a_series_is_one_volume(tmp_path, dicom_made):
    dicom_made.refused(dicom_made.save(dicom_made.slices(), tmp_path / "x"), "E_DIMS", volume=1)
