"""What `segment` takes for a scan, how it calls the outputs, and when a case counts as done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wholesight.cohort.inputs import left_out
from wholesight.cohort.plan import plan
from wholesight.errors import UsageError
from wholesight.io import formats, nifti
from wholesight.methods.constrained_vae import ConstrainedVAE


def scan_of(heads: Path, subset: str = "test", number: int = 0) -> Path:
    subjects = sorted(json.loads((heads / "split.json").read_text())[subset])
    return heads / subjects[number] / f"{subjects[number]}_flair.nii.gz"


def manifest(folder: Path, *rows: str, columns: str = "case\timage\tinside\tmask") -> Path:
    (folder / "cases.tsv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


def with_body(heads: Path, folder: Path) -> Path:
    """A manifest of one scan with a body mask that covers its brighter half."""
    folder.mkdir()
    shutil.copy(scan_of(heads), folder / "x.nii.gz")
    image = nifti.read(folder / "x.nii.gz")
    inside = image.voxels > np.median(image.voxels[image.voxels > 0])
    nifti.write(image.like(inside), folder / "inside.nii.gz")
    return manifest(folder, "x\tx.nii.gz\tinside.nii.gz\tn/a")


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


# ---------------------------------------------------------------- what is read


def test_a_body_mask_on_another_grid_fails_the_scan(wholesight, heads, model, tmp_path):
    data = with_body(heads, tmp_path / "data")
    mask = nib.load(data / "inside.nii.gz")
    moved = mask.affine.copy()
    moved[:3, 3] += 40
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), moved), data / "inside.nii.gz")
    ended = wholesight("segment", model, data, "--out", tmp_path / "o")
    assert ended.code == 7
    assert "E_GRID" in (tmp_path / "o" / "failures.tsv").read_text()


def test_the_truth_is_not_read(wholesight, heads, model, tmp_path):
    data = tmp_path / "heads"
    shutil.copytree(heads, data)
    truth = scan_of(data).with_name(scan_of(data).name.replace("_flair", "_seg"))
    truth.write_bytes(b"<html>")
    ended = wholesight("segment", model, data, "--subset", "test", "--out", tmp_path / "o")
    assert ended.code == 0


def test_a_scan_whose_map_is_not_finite_fails_alone(
    wholesight, heads, model, tmp_path, monkeypatch
):
    whole = ConstrainedVAE.anomaly_map
    calls = []

    def overflowing(self, slices, inside):
        calls.append(slices)
        return whole(self, slices, inside) * (float("inf") if len(calls) == 1 else 1)

    monkeypatch.setattr(ConstrainedVAE, "anomaly_map", overflowing)
    ended = wholesight("segment", model, heads, "--subset", "test", "--out", tmp_path / "o")
    assert ended.code == 4
    failed = (tmp_path / "o" / "failures.tsv").read_text()
    assert "\tE_MODEL\tThe network's map of this scan is not finite." in failed


# ---------------------------------------------------------------- what is a scan


@pytest.fixture
def scans(tmp_path) -> Path:
    """A folder of empty files, which only names tell apart."""
    folder = tmp_path / "scans"
    folder.mkdir()
    names = ["a.nii.gz", "b_flair.nii.gz", "._a.nii.gz", "a_seg.nii.gz", "b_seg.nii.gz"]
    for name in [*names, "a_anomaly.nii.gz", "a_mask.nii.gz", "b-inside.nii", "c_mask.nii.gz"]:
        (folder / name).write_bytes(b"")
    return folder


def test_masks_and_maps_of_a_folder_are_no_scans(scans):
    found = plan([scans])
    assert [job.stem for job in found.jobs] == [
        "a",
        "b_flair",
        "c_mask",
    ]  # c has no scan: it is one
    assert len(found.left_out) == 5


def test_masks_among_named_files_are_no_scans(scans):
    found = plan(sorted(scans.glob("[ab]*.nii*")))
    assert [job.stem for job in found.jobs] == ["a", "b_flair"]
    with pytest.raises(UsageError, match="Name the scans"):
        plan([scans / "a_seg.nii.gz"])


def test_outputs_of_other_inputs_are_no_scans(scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a_anomaly.nii.gz", "a_mask.nii.gz"):
        (out / name).write_bytes(b"")
    found = plan([scans / "a.nii.gz", out])
    assert [job.stem for job in found.jobs] == ["a"]
    (out / "a.json").write_text("{}")
    with pytest.raises(UsageError, match="Name the scans"):
        plan([out])
    assert left_out([scans / "b_flair.nii.gz"]) == []


@pytest.mark.parametrize("separator", ["_", "-"])
def test_a_case_folder_is_its_image(tmp_path, monkeypatch, separator):
    case = tmp_path / "case7"
    case.mkdir()
    for role in ("flair", "seg", "inside"):
        (case / f"case7{separator}{role}.nii.gz").write_bytes(b"")
    monkeypatch.chdir(case)
    for path in (case, Path()):
        ((found, name, _),) = plan([path]).jobs
        assert name == f"case7{separator}flair"
        assert found.inside is not None
        assert found.mask is None
    (case / f"case7{separator}t1.nii.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="flair, t1"):
        plan([case])
    with pytest.raises(UsageError, match="Did you mean 't1'"):
        plan([case], modality="t1c")
    assert plan([case], modality="t1").jobs[0].stem == f"case7{separator}t1"


@pytest.mark.parametrize("option", [{"subset": "test"}, {"modality": "flair"}])
def test_an_option_that_applies_to_no_input_is_refused(scans, option):
    with pytest.raises(UsageError, match=f"--{next(iter(option))}"):
        plan([scans, scans / "a.nii.gz"], **option)


def test_a_manifest_beside_its_images_is_a_data_set(scans):
    manifest(scans, "one\ta.nii.gz\t\t")
    assert [job.case.id for job in plan([scans]).jobs] == ["one"]


# ---------------------------------------------------------------- what outputs are called


@pytest.mark.slow
def test_images_of_one_name_get_the_names_of_their_cases(wholesight, heads, model, tmp_path):
    rows = []
    for number in range(2):
        scan = scan_of(heads, number=number)
        place = tmp_path / f"s{number}"
        place.mkdir()
        shutil.copy(scan, place / "T1.nii.gz")
        shutil.copy(scan.with_name(scan.name.replace("flair", "seg")), place / "seg.nii.gz")
        rows.append(f"s{number}\ts{number}/T1.nii.gz\t\ts{number}/seg.nii.gz\ttest")
    columns = "case\timage\tinside\tmask\tsplit"
    data = manifest(tmp_path, *rows, columns=columns) / "cases.tsv"
    assert wholesight("segment", model, data, "--out", tmp_path / "o").code == 0
    assert (tmp_path / "o" / "s0_mask.nii.gz").exists()
    report = tmp_path / "report"
    assert wholesight("evaluate", tmp_path / "o", data, "--out", report).code == 0
    wholesight("segment", model, heads, "--subset", "test", "--out", tmp_path / "own")
    wholesight("evaluate", tmp_path / "own", heads, "--out", tmp_path / "own-report")
    named, own = (
        [row["flagged_voxels"] for row in json_of(folder / "metrics.json")["cases"][:2]]
        for folder in (report, tmp_path / "own-report")
    )
    assert named == own
    assert len(set(named)) == len(named)


def test_an_image_called_like_another_case_gets_the_name_of_its_own(tmp_path):
    for name in "xy":
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    data = manifest(tmp_path, "x\ty.nii.gz\t\t", "y\tx.nii.gz\t\t")
    assert [(job.case.id, job.stem) for job in plan([data]).jobs] == [("x", "x"), ("y", "y")]


def test_a_scan_called_run_is_refused(tmp_path):
    (tmp_path / "run.nii.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"run\.json"):
        plan([tmp_path / "run.nii.gz"])


def test_a_mask_that_somebody_drew_is_not_written_over(wholesight, heads, model, tmp_path):
    shutil.copy(scan_of(heads), tmp_path / "x.nii.gz")
    (tmp_path / "x_mask.nii.gz").write_bytes(b"drawn by hand")
    ended = wholesight("segment", model, tmp_path / "x.nii.gz", "--out", tmp_path)
    assert ended.code == 2
    assert "written over" in ended.err
    assert (tmp_path / "x_mask.nii.gz").read_bytes() == b"drawn by hand"


# ---------------------------------------------------------------- what counts as done


def test_resume_sees_a_changed_body_mask_and_a_changed_output(wholesight, heads, model, tmp_path):
    data, out = with_body(heads, tmp_path / "data"), tmp_path / "o"
    command = ("segment", model, data, "--out", out)
    assert wholesight(*command).code == 0
    assert "1 of them before" in wholesight(*command, "--resume").out
    body_ml = json_of(out / "x.json")["body_ml"]
    image = nifti.read(data / "x.nii.gz")
    nifti.write(image.like(image.voxels > 0), data / "inside.nii.gz")
    assert "before" not in wholesight(*command, "--resume").out
    assert json_of(out / "x.json")["body_ml"] > 1.5 * body_ml
    whole = (out / "x_mask.nii.gz").read_bytes()
    (out / "x_mask.nii.gz").write_bytes(whole[:-20])
    assert "before" not in wholesight(*command, "--resume").out
    assert (out / "x_mask.nii.gz").read_bytes() == whole


# ---------------------------------------------------------------- what is noted


def changed_model(model: Path, folder: Path, *, threshold: float, record: dict) -> Path:
    shutil.copytree(model, folder)
    set_threshold(folder, threshold)
    (folder / "record.json").write_text(json.dumps({**json_of(folder / "record.json"), **record}))
    return folder


def set_threshold(model: Path, value: float) -> None:
    content = json_of(model / "threshold.json")
    content["thresholds"]["all"]["value"] = value
    (model / "threshold.json").write_text(json.dumps(content))


def codes(wholesight, model: Path, scan: Path, out: Path) -> set[str]:
    wholesight("segment", model, scan, "--out", out)
    record = json_of(out / f"{formats.stem(scan)}.json")
    assert all(note["text"].endswith(".") for note in record["notes"])
    return {note["code"] for note in record["notes"]}


def test_notes(wholesight, heads, model, tmp_path):
    scan = scan_of(heads)  # 4 x 4 x 12 mm
    known = {"low": [4.0, 4.0, 12.0], "high": [4.0, 4.0, 12.0]}
    body = {"low": 800.0, "high": 2000.0}
    kind = {"spacing_mm": known, "body_ml": body}
    alike = changed_model(model, tmp_path / "alike", threshold=1e9, record=kind)
    assert codes(wholesight, alike, scan, tmp_path / "a") == {"N_EMPTY"}
    other = {"spacing_mm": {**known, "high": [4.0, 4.0, 7.9]}, "body_ml": {"low": 1, "high": 50}}
    finer = changed_model(model, tmp_path / "finer", threshold=-1e9, record=other)
    assert codes(wholesight, finer, scan, tmp_path / "b") == {"N_MUCH", "N_SPACING", "N_BODY"}
    assert "N_MUCH,N_SPACING,N_BODY" in (tmp_path / "b" / "results.tsv").read_text()


def test_voxels_that_the_model_cannot_know_are_refused_unless_forced(
    wholesight, heads, model, tmp_path
):
    scan = scan_of(heads)  # 4 x 4 x 12 mm
    known = {"low": [1.0, 1.0, 1.0], "high": [4.0, 4.0, 3.9]}
    thin = changed_model(
        model, tmp_path / "thin", threshold=1e9, record={"spacing_mm": known, "body_ml": {}}
    )
    ended = wholesight("segment", thin, scan, "--out", tmp_path / "a")
    assert ended.code == 7
    failed = (tmp_path / "a" / "failures.tsv").read_text()
    assert all(said in failed for said in ("E_VOXEL_SIZE", "4 x 4 x 12 mm", "--force"))
    ended = wholesight("segment", thin, scan, "--out", tmp_path / "b", "--force")
    assert ended.code == 0
    record = json_of(tmp_path / "b" / f"{formats.stem(scan)}.json")
    assert "N_SPACING" in {note["code"] for note in record["notes"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "set to flag 5 % of a healthy one"),
        ({"rule": "fwe", "share": 0.0}, "hardly any lesion is as large"),
        ({"rule": "fixed", "alpha": None}, "hardly any lesion is as large"),
    ],
)
def test_much_is_compared_with_what_the_rule_aims_at(
    wholesight, heads, model, tmp_path, change, said
):
    flags_all = changed_model(model, tmp_path / "m", threshold=-1e9, record={})
    found = json_of(flags_all / "threshold.json")
    found["thresholds"]["all"] |= change
    (flags_all / "threshold.json").write_text(json.dumps(found))
    ended = wholesight("segment", flags_all, scan_of(heads), "--out", tmp_path / "o")
    assert said in " ".join(ended.out.split())


def test_spacing_is_compared_along_the_bodys_axes(wholesight, heads, model, tmp_path):
    """The same scan stored from the side is no other kind of scan."""
    image = nifti.read(scan_of(heads))
    turned = nib.Nifti1Image(image.voxels.transpose(2, 0, 1), image.affine[:, [2, 0, 1, 3]])
    nib.save(turned, tmp_path / "x.nii.gz")
    known = {"spacing_mm": {"low": [4.0, 4.0, 12.0], "high": [4.0, 4.0, 12.0]}}
    alike = changed_model(model, tmp_path / "alike", threshold=1e9, record=known)
    assert codes(wholesight, alike, tmp_path / "x.nii.gz", tmp_path / "o") == {"N_EMPTY"}


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept_and_resumes(wholesight, heads, model, tmp_path):
    out = tmp_path / "o"
    for number in range(400):
        os.link(scan_of(heads), tmp_path / f"s{number}.nii.gz")
    # Ctrl-C is ignored in what a shell's background job starts, unless it is asked for.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from wholesight.cli.main import run; run()"
    )
    words = [
        sys.executable,
        "-c",
        code,
        "segment",
        model,
        *sorted(tmp_path.glob("s*")),
        "--out",
        out,
    ]
    with subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(out.glob("s*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("Stopped. What was finished is kept")
    assert "--resume" in said
    assert len((out / "results.tsv").read_text().splitlines()) > 1


def test_resuming_with_another_threshold_is_refused(wholesight, heads, model, tmp_path):
    out, copy = tmp_path / "o", tmp_path / "model"
    assert wholesight("segment", model, heads, "--subset", "test", "--out", out).code == 0
    shutil.copytree(model, copy)
    options = ("--rule", "percentile", "--alpha", "0.2", "--no-cost")
    assert wholesight("calibrate", copy, heads, *options).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    ended = wholesight("segment", copy, heads, "--subset", "test", "--out", out, "--resume")
    assert ended.code == 2
    assert "another threshold" in ended.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_outputs_beside_the_scans_do_not_become_modalities(wholesight, heads, model, tmp_path):
    data = tmp_path / "heads"
    shutil.copytree(heads, data)
    case = sorted(path for path in data.iterdir() if path.is_dir())[0]
    scan = case / f"{case.name}_flair.nii.gz"
    assert wholesight("segment", model, scan, "--out", case).code == 0
    assert (case / f"{case.name}_flair_anomaly.nii.gz").exists()
    assert wholesight("check", data).code == 0


def test_a_note_is_explained_once(wholesight, heads, model, tmp_path):
    data = tmp_path / "heads"
    shutil.copytree(heads, data)
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    set_threshold(copy, 1e9)
    ended = wholesight("segment", copy, data, "--subset", "test", "--out", tmp_path / "o")
    assert ended.code == 0
    assert ended.out.count("The mask is empty") == 1
    assert ended.out.count("N_EMPTY") > 2
