"""Maps and masks as DICOM: what comes back, whose they are, what they say, and dciodvfy's word."""

import shutil
import subprocess
import warnings

import highdicom
import numpy as np
import pytest
from pydicom import dcmread, uid

from wholesight.errors import InputError, OutputError
from wholesight.io import dicom, nifti, reading
from wholesight.volume import Volume

TILTED = (0.0, 0.8, 3.0)
OBLIQUE = (0.8, 0.6, 0, -0.36, 0.48, 0.8)


def results_of(volume):
    """A map and a mask that are other in every slice; one slice of the mask is empty."""
    draw = np.random.default_rng(11)
    anomaly = draw.normal(size=volume.shape).astype(np.float32) * np.float32(1e-3)
    mask = draw.random(volume.shape) > 0.7
    mask[..., 2] = False
    return {"anomaly": volume.like(anomaly), "mask": volume.like(mask)}


@pytest.fixture
def written(tmp_path, dicom_made, dicom_here):
    """A maker: instances -> (the scan, {role: what was written}, {role: its file})."""

    def make(instances, name="scan"):
        folder = dicom_made.save(instances, tmp_path / name)
        scan = dicom.read(folder)
        results = results_of(scan)
        files = {role: tmp_path / f"{name}_{role}.dcm" for role in results}
        for role, volume in results.items():
            dicom.write(volume, files[role], folder)
        return scan, results, files

    return make


# ---------------------------------------------------------------- what goes in comes back


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (10, 16, 16)),
        ({}, (4, 5, 7)),
        ({"step": TILTED}, (5, 6, 9)),
        ({"orientation": OBLIQUE}, (5, 9, 6)),
        ({"orientation": OBLIQUE, "step": (1.1, -2.0, 2.0)}, (5, 9, 6)),
    ],
    ids=["axial", "odd", "sheared", "oblique", "oblique and sheared"],
)
def test_voxels_and_grid_come_back(written, dicom_made, options, shape):
    scan, results, files = written(dicom_made.slices(dicom_made.some_voxels(shape), **options))
    for role, volume in results.items():
        back = dicom.read(files[role])
        np.testing.assert_array_equal(back.voxels, volume.voxels, role)
        np.testing.assert_array_equal(back.affine, scan.affine)
        assert back.notes == ()
    mask = reading.read_mask(files["mask"])
    assert mask.voxels.dtype == bool
    assert mask.same_grid(scan)


@pytest.mark.parametrize("order", [range(10), (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)])
def test_results_of_an_enhanced_scan_come_back(written, dicom_made, order):
    scan, results, files = written([dicom_made.enhanced(dicom_made.slices(), order)])
    for role, volume in results.items():
        back = dicom.read(files[role])
        np.testing.assert_array_equal(back.voxels, volume.voxels, role)
        np.testing.assert_array_equal(back.affine, scan.affine)


def test_others_read_the_same(written, dicom_made):
    scan, results, files = written(dicom_made.slices(orientation=OBLIQUE))
    mask = highdicom.seg.segread(files["mask"]).get_volume(combine_segments=True)
    anomaly = highdicom.imread(files["anomaly"]).get_volume(dtype=np.float32)
    for theirs, role in ((mask, "mask"), (anomaly, "anomaly")):
        turned = theirs[::-1]  # their slices run the other way, see test_dicom
        np.testing.assert_array_equal(turned.array.transpose(2, 1, 0), results[role].voxels)
        ours = np.diag([-1, -1, 1, 1]) @ turned.affine[:, [2, 1, 0, 3]]
        np.testing.assert_allclose(ours, scan.affine, atol=1e-6)


def test_a_new_mask_is_written_beside_a_map_that_was_read_again(written, dicom_made, tmp_path):
    scan, _, files = written(dicom_made.slices(step=TILTED))
    anomaly = dicom.read(files["anomaly"])
    new = anomaly.like(anomaly.voxels > 0.001)
    dicom.write(new, tmp_path / "new.dcm", files["anomaly"])
    back = dicom.read(tmp_path / "new.dcm")
    np.testing.assert_array_equal(back.voxels, new.voxels)
    np.testing.assert_array_equal(back.affine, scan.affine)
    referenced = dcmread(tmp_path / "new.dcm").SourceImageSequence
    assert [item.ReferencedSOPInstanceUID for item in referenced] == [
        dcmread(files["anomaly"]).SOPInstanceUID
    ]


def test_a_map_of_one_value_and_a_mask_of_none(tmp_path, dicom_made, dicom_here):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    scan = dicom.read(folder)
    for name, voxels in {"map": np.zeros(scan.shape, np.float32), "mask": scan.voxels < 0}.items():
        dicom.write(scan.like(voxels), tmp_path / f"{name}.dcm", folder)
        np.testing.assert_array_equal(dicom.read(tmp_path / f"{name}.dcm").voxels, voxels)


# ---------------------------------------------------------------- whose it is, what it says


def test_results_belong_to_the_study_and_reference_every_slice(written, dicom_made):
    made = dicom_made.slices()
    _, _, files = written(made)
    for file in files.values():
        result = dcmread(file)
        for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert result[name].value == made[0][name].value
        referenced = {item.ReferencedSOPInstanceUID for item in result.SourceImageSequence}
        assert referenced == {each.SOPInstanceUID for each in made}
        (series,) = result.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == made[0].SeriesInstanceUID
        own = [
            frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for frame in result.PerFrameFunctionalGroupsSequence
        ]
        at = [
            frame.PlanePositionSequence[0].ImagePositionPatient
            for frame in result.PerFrameFunctionalGroupsSequence
        ]
        by_uid = {each.SOPInstanceUID: list(each.ImagePositionPatient) for each in made}
        assert [by_uid[one] for one in own] == [list(position) for position in at]


def test_results_say_that_they_are_for_research(written, dicom_made):
    _, _, files = written(dicom_made.slices())
    anomaly, mask = dcmread(files["anomaly"]), dcmread(files["mask"])
    for result in (anomaly, mask):
        assert "research use only" in result.SeriesDescription
        assert "research use only" in result.ContentDescription
        assert result.Manufacturer == "wholesight"
    assert anomaly.SOPClassUID == uid.ParametricMapStorage
    assert anomaly.ContentQualification == "RESEARCH"
    assert anomaly.BitsAllocated == 32
    assert "FloatPixelData" in anomaly
    assert mask.SOPClassUID == uid.SegmentationStorage
    assert mask.SegmentationType == "BINARY"
    assert "research use only" in mask.SegmentSequence[0].SegmentLabel
    assert mask.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_the_same_gives_the_same_bytes_and_something_else_another_uid(written, dicom_made):
    scan, results, files = written(dicom_made.slices())
    folder, again = files["mask"].with_name("scan"), files["mask"].with_name("again.dcm")
    for role, volume in results.items():
        dicom.write(volume, again, folder)
        assert again.read_bytes() == files[role].read_bytes()
    dicom.write(scan.like(~results["mask"].voxels), again, folder)
    first, second = dcmread(files["mask"]), dcmread(again)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert dcmread(files["anomaly"]).SeriesInstanceUID != first.SeriesInstanceUID
    assert first.ContentDate == "20200102"
    assert uid.UID(first.SOPInstanceUID).is_valid


def test_an_anonymised_scan_lacks_much_and_gets_results(written, dicom_made):
    made = dicom_made.slices()
    for each in made:
        for name in (
            *("PatientName", "PatientID", "PatientBirthDate", "StudyID", "AccessionNumber"),
            *("StudyTime", "ContentDate", "SeriesDate", "SliceThickness", "FrameOfReferenceUID"),
            *("PositionReferenceIndicator", "ReferringPhysicianName"),
        ):
            delattr(each, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom knows that this is no date
            each.PatientSex, each.StudyDate = "X", "unknown"
    scan, results, files = written(made)
    for role, volume in results.items():
        back = dicom.read(files[role])
        np.testing.assert_array_equal(back.voxels, volume.voxels)
        np.testing.assert_array_equal(back.affine, scan.affine)


# ---------------------------------------------------------------- what cannot be written


def test_nothing_half_written_is_left(written, dicom_made, tmp_path):
    _, results, _ = written(dicom_made.slices())
    with pytest.raises(OutputError):
        dicom.write(results["mask"], tmp_path / "gone" / "x.dcm", tmp_path / "scan")
    (tmp_path / "scan" / "IM0900.dcm").unlink()
    with pytest.raises(InputError) as caught:
        dicom.write(results["mask"], tmp_path / "x.dcm", tmp_path / "scan")
    assert caught.value.code == "E_READ"
    assert not (tmp_path / "x.dcm").exists()


def test_a_volume_of_another_kind_of_file_is_a_bug_of_the_caller(tmp_path, voxels, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(nifti_bytes())
    for volume in (nifti.read(tmp_path / "x.nii"), Volume(voxels.astype(np.float32))):
        with pytest.raises(ValueError, match="does not come from a DICOM series"):
            dicom.write(volume, tmp_path / "x.dcm", tmp_path)


def test_the_process_writes_the_same(written, dicom_made, monkeypatch, tmp_path):
    _, results, files = written(dicom_made.slices())
    monkeypatch.undo()
    for role, volume in results.items():
        dicom.write(volume, tmp_path / "there.dcm", tmp_path / "scan")
        assert (tmp_path / "there.dcm").read_bytes() == files[role].read_bytes()


# ---------------------------------------------------------------- the validator


@pytest.mark.parametrize("part", [None, "HEAD"])
@pytest.mark.parametrize("kind", ["classic", "enhanced", "sheared"])
def test_dciodvfy_finds_no_error(written, dicom_made, tmp_path, part, kind):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    made = dicom_made.slices(step=TILTED if kind == "sheared" else None)
    made = [dicom_made.enhanced(made)] if kind == "enhanced" else made
    for each in made:
        if part:
            each.BodyPartExamined = part
            if "Laterality" in each:
                del each.Laterality
    _, _, files = written(made)
    anomaly = dicom.read(files["anomaly"])
    files["again"] = tmp_path / "again.dcm"
    dicom.write(anomaly.like(anomaly.voxels > 0), files["again"], files["anomaly"])
    for file in files.values():
        done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert "Segmentation" in said or "ParametricMap" in said  # it knew what it looked at
        assert [line for line in said.splitlines() if line.startswith("Error")] == []
