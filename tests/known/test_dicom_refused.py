"""DICOM that is damaged, incomplete, no volume, or made to do harm: each refused by its code."""

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from pydicom.pixels import compress

from wholesight.errors import InputError
from wholesight.io import dicom, dicom_instance


def refused(path, code, **options):
    """Expect the refusal, and return its message, in which nobody is named."""
    with pytest.raises(InputError) as caught:
        dicom.read(path, **options)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert message.startswith(f"{path}: ")
    assert len(message) > len(str(path)) + 20
    for secret in ("Ignotus", "MRN-4711", "1.2.826", "IM0"):
        assert secret not in message.removeprefix(str(path))
    return message


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
    message = refused(dicom_made.save(made, tmp_path / "x"), "E_GAP")
    assert "between slices 4 and 5 of 9 (21 and 27 mm along the stack) 1 is missing" in message
    with pytest.raises(ValueError, match="regularly"):
        highdicom.get_volume_from_series(made)


@here
def test_several_gaps_are_counted(tmp_path, dicom_made):
    made = dicom_made.slices()
    message = refused(dicom_made.save([*made[:2], *made[4:6], *made[7:]], tmp_path / "x"), "E_GAP")
    assert "between slices 2 and 3 of 7 (15 and 24 mm along the stack) 2 are missing" in message
    assert "as elsewhere (2 gaps in all)" in message


@here
def test_a_gap_is_found_in_three_slices_too(tmp_path, dicom_made):
    made = dicom_made.slices()
    refused(dicom_made.save([made[0], made[1], made[3]], tmp_path / "x"), "E_GAP")


@here
@pytest.mark.parametrize(("mm", "code"), [(0.02, None), (0.05, "E_SPACING"), (1.0, "E_SPACING")])
def test_spacing_is_even_to_one_percent(tmp_path, dicom_made, mm, code):
    made = dicom_made.slices()
    shifted(made, 5, mm)
    folder = dicom_made.save(made, tmp_path / "x")
    if code is None:
        assert dicom.read(folder).shape == (16, 16, 10)
        return
    assert "even" in refused(folder, code)
    with pytest.raises(ValueError, match="regularly"):
        highdicom.get_volume_from_series(made)


@here
def test_spacing_that_drifts_within_the_tolerance_of_each_step_is_uneven_all_the_same(
    tmp_path, dicom_made
):
    made = dicom_made.slices(dicom_made.some_voxels((80, 8, 8)))
    for k in range(80):  # 2.975 mm apart at first, 3.025 mm later: 1 mm off in the middle
        shifted(made, k, -0.025 * min(k, 79 - k))
    assert "beside a regular grid" in refused(dicom_made.save(made, tmp_path / "x"), "E_SPACING")


@here
def test_a_slice_beside_the_stack_is_no_part_of_it(tmp_path, dicom_made):
    made = dicom_made.slices()
    shifted(made, 5, 0.5, axis=0)
    assert "up to 0.5 mm" in refused(dicom_made.save(made, tmp_path / "x"), "E_SPACING")


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
    message = refused(dicom_made.save([*made, again], tmp_path / "x"), "E_SAME_PLACE")
    assert "2 different slices lie at place 4 of 10: echoes" in message


@here
def test_tiles_at_one_height_are_no_stack(tmp_path, dicom_made):
    made = dicom_made.slices()
    for k in range(5):
        at = np.array(made[k].ImagePositionPatient, float)
        made[5 + k].ImagePositionPatient = list(np.add(at, [40, 0, 0]))
    refused(dicom_made.save(made, tmp_path / "x"), "E_SAME_PLACE")


@here
def test_what_must_be_one_in_a_series(tmp_path, dicom_made):
    made = dicom_made.slices()
    made[4] = dicom_made.slices(dicom_made.some_voxels((10, 8, 16)))[4]
    message = refused(dicom_made.save(made, tmp_path / "size"), "E_MIXED")
    assert "8 x 16, 16 x 16 pixels" in message
    made = dicom_made.slices()
    made[4].PixelSpacing = [1.25, 0.8]
    assert "distance" in refused(dicom_made.save(made, tmp_path / "distance"), "E_MIXED")
    made = dicom_made.slices()
    made[4].FrameOfReferenceUID += ".1"
    assert "reference" in refused(dicom_made.save(made, tmp_path / "frame"), "E_MIXED")


@here
def test_one_slice_is_no_volume(tmp_path, dicom_made):
    folder = dicom_made.save(dicom_made.slices()[:1], tmp_path / "x")
    refused(folder, "E_ONE_SLICE")
    refused(next(folder.iterdir()), "E_ONE_SLICE")


@here
def test_a_part_of_an_enhanced_file_is_no_scan(tmp_path, dicom_made):
    whole = dicom_made.enhanced(dicom_made.slices())
    turned = whole.PerFrameFunctionalGroupsSequence[9]
    orientation = Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    turned.PlaneOrientationSequence = [orientation]
    refused(dicom_made.save([whole], tmp_path / "x"), "E_MIXED")


@here
def test_an_enhanced_file_of_two_time_points_is_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    refused(dicom_made.save([dicom_made.enhanced([*made, *made])], tmp_path / "x"), "E_SAME_PLACE")


@here
def test_an_enhanced_file_that_describes_other_frames_than_it_has(tmp_path, dicom_made):
    whole = dicom_made.enhanced(dicom_made.slices())
    whole.NumberOfFrames = 11
    refused(dicom_made.save([whole], tmp_path / "x"), "E_FORMAT")


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
    message = refused(dicom_made.save(dicom_made.slices(**fields), tmp_path / "x"), code)
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
    assert "(10 of 10 files)" in refused(dicom_made.save(made, tmp_path / "x"), "E_AFFINE")


@here
def test_one_broken_slice_at_the_end_does_not_shorten_the_scan(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[9].ImagePositionPatient
    refused(dicom_made.save(made, tmp_path / "x"), "E_AFFINE")


@here
def test_an_unreadable_compression_is_named_with_the_extra(tmp_path, dicom_made):
    made = dicom_made.slices()
    for each in made:
        each.PixelData = encapsulate([b"\xff\x4f" + bytes(30)])
        each["PixelData"].is_undefined_length = True
        each.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    message = refused(dicom_made.save(made, tmp_path / "x"), "E_SYNTAX")
    assert "High-Throughput JPEG 2000" in message
    assert "pip install 'wholesight[dicom]'" in message
    assert "pylibjpeg-openjpeg" in message


def test_without_the_extra_its_name_is_told(tmp_path, dicom_made, monkeypatch):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    there = dicom.importlib.util.find_spec
    monkeypatch.setattr(
        dicom.importlib.util, "find_spec", lambda name: None if name == "highdicom" else there(name)
    )
    message = refused(folder, "E_EXTRA")
    assert message.endswith("DICOM needs highdicom: pip install 'wholesight[dicom]'")


def test_a_series_is_one_volume(tmp_path, dicom_made):
    refused(dicom_made.save(dicom_made.slices(), tmp_path / "x"), "E_DIMS", volume=1)


# ---------------------------------------------------------------- damage


def cut(path, to):
    path.write_bytes(path.read_bytes()[:to])


@here
def test_no_cut_of_a_file_changes_a_voxel(tmp_path, dicom_made):
    """Wherever a slice ends too early, the scan is refused, or nothing that counts was lost."""
    made = dicom_made.slices(dicom_made.some_voxels((3, 5, 6)))
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[1]
    whole = victim.read_bytes()
    for end in [*range(0, len(whole), 7), len(whole) - 2, len(whole) - 1]:
        victim.write_bytes(whole[:end])
        with pytest.raises(InputError) as caught:
            dicom.read(folder)
        assert caught.value.code in ("E_TRUNCATED", "E_FORMAT"), end
        if end:
            assert "file 2 of 3 by name" in str(caught.value)
    victim.write_bytes(whole)
    assert dicom.read(folder).shape == (6, 5, 3)


@here
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_header_is_a_refusal_or_leaves_the_scan_as_it_was(tmp_path, dicom_made):
    """Bytes are drawn before the pixels of one of four slices; DICOM has no checksum for those."""
    made = dicom_made.slices(dicom_made.some_voxels((4, 6, 6)))
    folder = dicom_made.save(made, tmp_path / "x")
    whole, victim = dicom.read(folder), sorted(folder.iterdir())[1]
    content, draw = victim.read_bytes(), np.random.default_rng(5)
    read, refusals = 0, []
    for _ in range(200):
        damaged = bytearray(content)
        for at in draw.integers(128, len(content) - 72, size=draw.integers(1, 4)):
            damaged[at] = draw.choice([0, 255, *b"0123456789", draw.integers(256)])
        victim.write_bytes(damaged)
        try:
            found = dicom.read(folder)
        except InputError as fault:
            refusals.append(str(fault))
        else:
            np.testing.assert_array_equal(found.voxels, whole.voxels)
            np.testing.assert_allclose(found.affine, whole.affine, atol=0.1)
            read += 1
    assert min(read, len(refusals)) > 40
    assert "Ignotus" not in "".join(refusals)


@here
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless], ids=lambda u: u.keyword)
def test_cut_off_compressed(tmp_path, dicom_made, syntax):
    made = dicom_made.slices()
    for each in made:
        compress(each, syntax, generate_instance_uid=False)
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[4]
    size = victim.stat().st_size
    for end in (size - 1, size - 9, size - 60):
        cut(victim, end)
        assert "file 5 of 10" in refused(folder, "E_TRUNCATED")


@here
def test_damaged_compressed_pixels_have_a_code(tmp_path, dicom_made):
    made = dicom_made.slices()
    for each in made:
        compress(each, uid.JPEGLSLossless, generate_instance_uid=False)
    made[4].PixelData = encapsulate([b"\xff\xd8" + bytes(60)])
    made[4]["PixelData"].is_undefined_length = True
    assert "file 6 of 10" in refused(dicom_made.save(made, tmp_path / "x"), "E_FORMAT")


@here
def test_an_image_without_pixels_is_cut_off(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[0].PixelData
    refused(dicom_made.save(made, tmp_path / "x"), "E_TRUNCATED")


@here
def test_files_that_are_called_dicom_and_are_none(tmp_path, dicom_made):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    (folder / "IM9999.dcm").write_bytes(b"<html>" * 40)
    assert "file 11 of 11 by name is no DICOM file" in refused_by_name(folder, "E_FORMAT")
    (folder / "IM9999.dcm").write_bytes(b"")
    assert "is empty" in refused_by_name(folder, "E_TRUNCATED")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "E_FORMAT")
    refused(tmp_path / "gone.dcm", "E_NOT_FOUND")


def refused_by_name(path, code):
    with pytest.raises(InputError) as caught:
        dicom.read(path)
    assert caught.value.code == code
    return str(caught.value)


@here
def test_files_without_uids_are_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[2].SeriesInstanceUID
    refused(dicom_made.save(made, tmp_path / "x"), "E_FORMAT")


# ---------------------------------------------------------------- harm


def test_deep_nesting_is_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[0]
    # A sequence with an item, both of undefined length, again and again: parsed at once.
    start = bytes.fromhex("0800 1011 5351 0000 ffffffff feff 00e0 ffffffff")
    whole = victim.read_bytes()
    at = whole.index(bytes.fromhex("0800200044410800"))  # StudyDate, the next element
    victim.write_bytes(whole[:at] + start * 50_000 + whole[at:])
    assert "nested" in refused(folder, "E_FORMAT")


def deflated(tmp_path, made, extra):
    """Write a series deflated, with so many bytes of zeros in a private element of the first."""
    folder = tmp_path / "x"
    folder.mkdir()
    for number, each in enumerate(made):
        each.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        if number == 0:
            each.add_new(0x00091001, "OB", bytes(extra))
        each.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@here
def test_a_deflated_bomb_is_refused_by_its_size(tmp_path, dicom_made, monkeypatch):
    folder = deflated(tmp_path, dicom_made.slices(), 8 << 20)
    assert (folder / "0.dcm").stat().st_size < 20_000
    assert dicom.read(folder).shape == (16, 16, 10)
    monkeypatch.setattr(dicom_instance, "DEFLATED_BYTES", 4 << 20)
    assert "decompresses to more than 4 MB" in refused(folder, "E_TOO_LARGE")


@here
def test_a_cut_deflated_file_is_refused(tmp_path, dicom_made):
    folder = deflated(tmp_path, dicom_made.slices(), 10)
    cut(folder / "3.dcm", -9)
    refused(folder, "E_TRUNCATED")


def test_the_process_takes_no_more_memory_than_it_may(tmp_path, dicom_made, monkeypatch):
    folder = deflated(tmp_path, dicom_made.slices(), 256 << 20)
    monkeypatch.setattr(dicom, "LIMIT_BYTES", 64 << 20)
    assert "more than 0.1 GB of memory" in refused(folder, "E_TOO_LARGE")


@here
def test_more_voxels_than_a_scan_may_have(tmp_path, dicom_made, monkeypatch):
    monkeypatch.setattr(dicom, "VOXELS_BYTES", 1000)
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    assert "for its voxels" in refused(folder, "E_TOO_LARGE")


def test_a_process_that_takes_too_long_is_ended(tmp_path, dicom_made, monkeypatch):
    monkeypatch.setattr(dicom, "DEADLINE_S", 0.05)
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    assert "took more than 0.05 s" in refused(folder, "E_DEADLINE")


def instead(monkeypatch, code):
    """Run this code in the process that should read, without a deadline."""
    run = dicom.subprocess.run

    def other(words, **options):
        return run([words[0], "-c", code], **{**options, "timeout": None})

    monkeypatch.setattr(dicom.subprocess, "run", other)


def test_a_process_that_dies_is_one_refused_scan(tmp_path, dicom_made, monkeypatch):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "exit -9" in refused(folder, "E_WORKER")


def test_the_processor_time_is_limited_too(tmp_path, dicom_made, monkeypatch):
    """It ends a process that nobody waits for any more."""
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    limits = "from wholesight.io.dicom_child import _limit; _limit(1 << 30, 1)"
    instead(monkeypatch, f"{limits}\nwhile True: pass")
    refused(folder, "E_DEADLINE")
