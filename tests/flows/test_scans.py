"""Scans that are odd, as a user meets them: `info` says so, and so does the JSON of a result."""

import json

import nibabel as nib
import numpy as np
import pytest

from wholesight.io import nifti, reading
from wholesight.volume import Volume


@pytest.fixture
def head(heads):
    """One test scan of the phantom, in memory."""
    subject = sorted(json.loads((heads / "split.json").read_text())["test"])[0]
    return reading.read_image(heads / subject / f"{subject}_flair.nii.gz")


def without_orientation(image):
    """The image's voxels under a header that tells their size alone."""
    header = nib.Nifti1Header(image.header)
    header["sform_code"] = header["qform_code"] = 0
    return Volume(image.voxels, header.get_base_affine(), image.name, header.binaryblock)


@pytest.fixture
def series(head, tmp_path):
    """A 4-D file whose second volume is the head; the first is its mirror image, half as bright."""
    voxels = np.stack([head.voxels[::-1] / 2, head.voxels], axis=3)
    nib.save(nib.Nifti1Image(voxels, head.affine), tmp_path / "series.nii.gz")
    return tmp_path / "series.nii.gz"


def test_info_says_what_a_scan_is_and_what_is_odd(wholesight, head, tmp_path):
    path = tmp_path / "odd.nii"
    nib.save(nib.Nifti1Image(head.voxels, head.affine), tmp_path / "odd.nii.gz")
    (tmp_path / "odd.nii.gz").rename(path)
    ended = wholesight("info", path)
    assert ended.code == 0
    assert "N_NAME" in ended.out
    assert "yes, with notes" in ended.out
    told = json.loads(wholesight("info", path, "--json").out)
    assert told["refused"] is None
    assert told["voxels"] == list(head.shape)
    assert [note["code"] for note in told["notes"]] == ["N_NAME"]
    assert "rename it" in told["notes"][0]["text"]


def test_info_says_why_a_scan_is_refused(wholesight, series):
    ended = wholesight("info", series)
    assert ended.code == 3
    assert "holds 2 volumes" in ended.err
    ended = wholesight("info", series, "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["refused"]["code"] == "E_DIMS"
    ended = wholesight("info", series, "--volume", "1", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["refused"] is None


def test_a_model_is_told_as_json_too(wholesight, model):
    told = json.loads(wholesight("info", model, "--json").out)
    assert told["recipe"].startswith("quick")


def test_a_volume_of_a_series_is_segmented_like_the_scan_itself(
    wholesight, model, head, series, tmp_path
):
    nifti.write(head, tmp_path / "single.nii.gz")
    out = tmp_path / "out"
    ended = wholesight("segment", model, tmp_path / "single.nii.gz", "--out", out / "a")
    assert ended.code == 0, ended.err
    ended = wholesight("segment", model, series, "--volume", "1", "--out", out / "b")
    assert ended.code == 0, ended.err
    one, other = out / "a" / "single_anomaly.nii.gz", out / "b" / "series_anomaly.nii.gz"
    np.testing.assert_array_equal(nifti.read(one).voxels, nifti.read(other).voxels)
    assert nib.load(other).shape == head.shape
    assert json.loads((out / "b" / "series.json").read_text())["volume"] == 1
    # Of another volume it is another result.
    again = wholesight("segment", model, series, "--volume", "0", "--out", out / "b", "--resume")
    assert "0 segmented" not in again.out
    assert json.loads((out / "b" / "series.json").read_text())["volume"] == 0


def test_a_series_without_a_choice_fails_alone(wholesight, model, series, tmp_path):
    ended = wholesight("segment", model, series, "--out", tmp_path / "out")
    assert ended.code == 7
    assert "E_DIMS" in (tmp_path / "out" / "failures.tsv").read_text()
    assert "Choose one by --volume, 0 to 1 " in ended.out.replace("\n", " ")


def test_a_manifest_names_the_volume(wholesight, model, series, tmp_path):
    rows = ["case\timage\tvolume", "a\tseries.nii.gz\t0", "b\tseries.nii.gz\t1"]
    (tmp_path / "cases.tsv").write_text("\n".join(rows))
    assert wholesight("segment", model, tmp_path, "--out", tmp_path / "out").code == 0
    maps = [nifti.read(tmp_path / "out" / f"{case}_anomaly.nii.gz").voxels for case in "ab"]
    assert not np.array_equal(*maps)
    for cell, told in (("x", "'x' is no whole number"), ("0", "is in line 2 too")):
        (tmp_path / "cases.tsv").write_text("\n".join([*rows[:2], f"b\tseries.nii.gz\t{cell}"]))
        ended = wholesight("segment", model, tmp_path, "--out", tmp_path / "out2")
        assert ended.code == 3
        assert told in ended.err


def test_what_was_odd_about_a_scan_stands_beside_its_result(wholesight, model, head, tmp_path):
    voxels = head.voxels.copy()
    voxels[0, 0, 0] = np.nan
    nifti.write(without_orientation(head.like(voxels)), tmp_path / "odd.nii.gz")
    ended = wholesight("segment", model, tmp_path / "odd.nii.gz", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    notes = json.loads((tmp_path / "out" / "odd.json").read_text())["notes"]
    assert {"N_FILLED", "N_NO_ORIENTATION"} <= {note["code"] for note in notes}
    assert "N_NO_ORIENTATION" in ended.out


def test_a_hole_in_the_head_fails_the_scan(wholesight, model, head, tmp_path):
    voxels = head.voxels.copy()
    middle = tuple(n // 2 for n in head.shape)
    assert voxels[middle] > 0
    voxels[middle] = np.inf
    nib.save(nib.Nifti1Image(voxels, head.affine), tmp_path / "odd.nii.gz")
    ended = wholesight("segment", model, tmp_path / "odd.nii.gz", "--out", tmp_path / "out")
    assert ended.code == 7
    failures = (tmp_path / "out" / "failures.tsv").read_text()
    assert "E_NONFINITE" in failures
    assert "1 of the body's voxels" in failures


def test_check_tells_what_is_odd(wholesight, head, tmp_path):
    (tmp_path / "train").mkdir()
    nifti.write(without_orientation(head), tmp_path / "train" / "x.nii.gz")
    ended = wholesight("check", tmp_path)
    assert ended.code == 0
    assert "N_NO_ORIENTATION" in ended.out
