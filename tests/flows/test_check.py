"""`wholesight check`: what it counts, what it finds, what it prints and how it ends."""

import gzip
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from wholesight.cli.check import check as command
from wholesight.datasets.check import check
from wholesight.errors import OutputError, UsageError
from wholesight.io import nifti
from wholesight.volume import Volume

SPLITS = {"train": ["a", "b"], "calibration": ["c"], "validation": ["d"]}


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(command)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def findings(report, code):
    return [finding for finding in report.findings if finding.code == code]


# ---------------------------------------------------------------- the report


def test_counts(tiny_brats):
    report = check(tiny_brats(SPLITS))
    assert (report.layout, report.usable, report.unusable) == ("brats", 4, 0)
    assert list(report.splits) == ["train", "calibration", "validation"]
    train = report.splits["train"]
    assert (train.cases, train.subjects, train.slices) == (2, 2, 12)
    assert (train.normal_slices, train.abnormal_slices, train.unmarked_slices) == (8, 4, 0)
    assert train.lesion_ml == pytest.approx(2 * 18 * 4 / 1000)
    assert report.shapes == {(10, 12, 6): 4}
    assert report.spacings_mm == {(1.0, 1.0, 4.0): 4}
    assert report.orientations == {"LPS": 4}
    assert report.findings == ()


def test_slices_are_axial_whichever_way_they_are_stored(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    for role in ("flair", "seg"):
        path = root / "a" / f"a_{role}.nii.gz"
        volume = nifti.read(path)
        turned = volume.affine[:, [2, 0, 1, 3]]  # foot to head is now the first axis
        nifti.write(Volume(volume.voxels.transpose(2, 0, 1), turned), path)
    report = check(root)
    assert report.orientations == {"SLP": 1}
    assert (report.splits["train"].slices, report.splits["train"].normal_slices) == (6, 4)


def test_cases_without_a_mask(tiny_brats):
    root = tiny_brats(SPLITS)
    for case in "ad":
        (root / case / f"{case}_seg.nii.gz").unlink()
    report = check(root)
    train = report.splits["train"]
    assert (train.slices, train.normal_slices, train.unmarked_slices) == (12, 4, 6)
    assert train.abnormal_slices == 2
    texts = [finding.text for finding in findings(report, "N_NO_MASK")]
    assert "taken as normal" in texts[0]
    assert "nothing to score" in texts[1]
    assert report.errors == []


def test_nothing_normal_to_learn_from(tiny_brats):
    root = tiny_brats({"train": ["a"], "validation": ["b"]})
    for case in "ab":
        image = nifti.read(root / case / f"{case}_flair.nii.gz")
        nifti.write(image.like(image.voxels > 0), root / case / f"{case}_seg.nii.gz")
    assert [finding.where for finding in findings(check(root), "E_NO_NORMAL")] == ["train"]


def test_lesion_outside_the_body_mask(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    image = nifti.read(root / "a/a_flair.nii.gz")
    nifti.write(image.like(image.voxels > 0.9), root / "a/a_inside.nii.gz")
    assert len(findings(check(root), "N_OUTSIDE")) == 1


@pytest.mark.parametrize("packed_again", [False, True])
@pytest.mark.parametrize("other", ["b", "d"])  # another subject of train, one of validation
def test_one_scan_under_two_names_is_a_leak(tiny_brats, other, packed_again):
    root = tiny_brats(SPLITS)
    copy = root / other / f"{other}_flair.nii.gz"
    shutil.copy(root / "a/a_flair.nii.gz", copy)
    if packed_again:
        copy.write_bytes(gzip.compress(gzip.decompress(copy.read_bytes()), 1))
    (leak,) = check(root).errors
    assert leak.code == "E_LEAK"
    assert leak.text.startswith(f"a, {other}: ")


def test_one_scan_twice_for_one_subject_is_a_note(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    shutil.copy(root / "a/a_flair.nii.gz", root / "copy.nii.gz")
    rows = ["case\tsubject\timage\tsplit", "1\ta\ta/a_flair.nii.gz\ttrain"]
    (root / "cases.tsv").write_text("\n".join([*rows, "2\ta\tcopy.nii.gz\ttrain"]))
    report = check(root)
    assert report.errors == []
    assert len(findings(report, "N_DUPLICATE")) == 1


def broken(root):
    """Spoil b (image and mask) and c (grid), and name a subject that is not there."""
    whole = (root / "b/b_flair.nii.gz").read_bytes()
    (root / "b/b_flair.nii.gz").write_bytes(whole[: len(whole) // 2])
    (root / "b/b_seg.nii.gz").write_bytes(b"<html>")
    nifti.write(Volume(np.zeros((10, 12, 5), bool)), root / "c/c_seg.nii.gz")
    (root / "split.json").write_text(json.dumps(SPLITS | {"test": ["zz"]}))
    return root


def test_nothing_stops_at_the_first_bad_file(tiny_brats):
    report = check(broken(tiny_brats(SPLITS)))
    assert (report.usable, report.unusable) == (2, 2)
    found = [(finding.code, finding.where) for finding in report.errors]
    assert found == [
        ("E_SPLIT", "split.json"),
        ("E_TRUNCATED", "b"),
        ("E_FORMAT", "b"),
        ("E_GRID", "c"),
    ]


# ---------------------------------------------------------------- the command


def test_all_well(tiny_brats, run):
    result = run(tiny_brats(SPLITS))
    assert result.exit_code == 0, result.output
    assert "train            2         2      12       8         4        -" in result.output
    assert "10 x 12 x 6" in result.output
    assert "1 x 1 x 4 mm" in result.output
    assert "LPS (4)" in result.output
    assert "4 cases can be used; no fault." in result.output


def test_some_cases_cannot_be_used(tiny_brats, run):
    root = broken(tiny_brats(SPLITS, name="a [bold] name"))
    result = run(root)
    assert result.exit_code == 4
    assert f"  {root}/b/b_seg.nii.gz: not a NIfTI file" in result.output
    assert "2 cases of 4 can be used; 4 errors." in result.output


def test_no_case_can_be_used(tiny_brats, run):
    root = tiny_brats({"train": ["a"]})
    (root / "a/a_flair.nii.gz").write_bytes(b"")
    result = run(root)
    assert result.exit_code == 3
    assert "0 cases of 1 can be used; 1 error." in result.output


def test_many_faults_of_one_kind_are_not_all_printed(tiny_brats, run, tmp_path):
    root = tiny_brats({"train": [f"p{n:02}" for n in range(15)]})
    for mask in root.glob("*/*_seg.nii.gz"):
        mask.write_bytes(b"")
    result = run(root, "--json", tmp_path / "report.json")
    assert result.output.count("0 bytes") == 10
    assert "and 5 more of E_TRUNCATED" in result.output
    assert len(json.loads((tmp_path / "report.json").read_text())["findings"]) == 15


def test_json(tiny_brats, run, tmp_path):
    root = broken(tiny_brats(SPLITS))
    result = run(root, "--json", "-")
    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert content["splits"]["train"]["normal_slices"] == 4
    assert content["spacings_mm"] == {"1.0 x 1.0 x 4.0": 2}
    assert content["findings"][0]["code"] == "E_SPLIT"
    run(root, "--json", tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert isinstance(run(root, "--json", tmp_path / "no" / "x.json").exception, OutputError)


def test_a_modality_is_chosen(tiny_brats, run):
    root = tiny_brats({"train": ["a"]})
    shutil.copy(root / "a/a_flair.nii.gz", root / "a/a_t2.nii.gz")
    assert isinstance(run(root).exception, UsageError)
    assert run(root, "--modality", "t2").exit_code == 0


def test_the_command_is_loaded_without_what_it_needs_to_run():
    heavy = "{'numpy', 'nibabel', 'torch', 'scipy', 'rich.table'}"
    code = f"import sys, wholesight.cli.check; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.slow
def test_real_data(lgg_flair):
    report = check(lgg_flair)
    assert (report.usable, report.unusable, report.errors) == (85, 0, [])
    figures = {
        split: (counts.subjects, counts.slices, counts.normal_slices)
        for split, counts in report.splits.items()
    }
    assert figures == {
        "train": (55, 926, 357),
        "calibration": (10, 216, 92),
        "validation": (20, 254, 79),
    }
    (repeats,) = report.findings
    assert repeats.where == "with-skull"
    assert "left out 6 cases" in repeats.text
