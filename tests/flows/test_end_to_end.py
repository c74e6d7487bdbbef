"""From normal scans to judged masks on the phantom, and a user's mistakes on the way."""

import csv
import json
import resource
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from wholesight.methods import METHODS
from wholesight.recipe_file import shipped

GEOMETRY = [
    *("dim", "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
]


def scans_of(heads: Path, subset: str) -> list[Path]:
    subjects = json.loads((heads / "split.json").read_text())[subset]
    return [heads / name / f"{name}_flair.nii.gz" for name in sorted(subjects)]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def threshold_of(model: Path) -> dict:
    return json.loads((model / "threshold.json").read_text())["thresholds"]["all"]


def test_segment_writes_map_mask_and_json_in_the_scans_geometry(wholesight, heads, model, tmp_path):
    out = tmp_path / "maps"
    ended = wholesight("segment", model, heads, "--subset", "test", "--out", out)
    assert ended.code == 0
    scans = scans_of(heads, "test")
    assert f"{len(scans)} of {len(scans)} scans segmented" in ended.out
    threshold = threshold_of(model)["value"]
    for scan in scans:
        name = scan.name.removesuffix(".nii.gz")
        image = nib.load(scan)
        anomaly = nib.load(out / f"{name}_anomaly.nii.gz")
        mask = nib.load(out / f"{name}_mask.nii.gz")
        assert anomaly.get_data_dtype() == np.float32
        assert mask.get_data_dtype() == np.uint8
        for field in GEOMETRY:
            for other in (anomaly, mask):
                assert other.header[field].tobytes() == image.header[field].tobytes(), field
        flagged = np.asarray(mask.dataobj) > 0
        assert (anomaly.get_fdata()[flagged] > threshold).all()
        # Ventricles of intensity 0 are holes that count as body; what lies around it does not.
        bright = np.asarray(image.dataobj) > 0
        for k in range(bright.shape[2]):
            outside = ~binary_fill_holes(bright[..., k])
            assert not np.asarray(anomaly.dataobj)[..., k][outside].any()
        record = json.loads((out / f"{name}.json").read_text())
        voxel_ml = np.prod(image.header.get_zooms()) / 1000
        assert record["flagged_ml"] == pytest.approx(flagged.sum() * voxel_ml, abs=1e-3)
        assert record["threshold"]["rule"] == "percentile"
        assert "Nothing is promised" in record["threshold"]["statement"]
    assert len(table(out / "results.tsv")) == len(scans)
    assert table(out / "failures.tsv") == []


def test_evaluate_keeps_deployable_and_oracle_apart(wholesight, heads, model, tmp_path):
    maps, report = tmp_path / "maps", tmp_path / "report"
    wholesight("segment", model, heads, "--subset", "test", "--out", maps)
    ended = wholesight("evaluate", maps, heads, "--subset", "test", "--out", report)
    assert ended.code == 0
    assert "best Dice (oracle)" in ended.out
    metrics = json.loads((report / "metrics.json").read_text())
    assert list(metrics["deployable"]) == list(metrics["oracle"])
    assert len(metrics["deployable"]) == 2  # the detector, and the floor beside it
    for name, found in metrics["deployable"].items():
        assert 0 <= found["set"]["auroc"] <= 1
        assert found["set"]["dice"] <= metrics["oracle"][name]["set"]["best_dice"] + 1e-6
    page = (report / "report.html").read_text()
    for told in ("wholesight segment wrote them", "with a threshold from", "judged in one body"):
        assert told in page


def test_the_threshold_is_the_percentile_of_calibration_normals(wholesight, heads, model, tmp_path):
    """Counted anew from the maps on disk: at most alpha of the body lies above it, not fewer."""
    out = tmp_path / "maps"
    wholesight("segment", model, heads, "--subset", "calibration", "--out", out)
    values = []
    for scan in scans_of(heads, "calibration"):
        image = np.asarray(nib.load(scan).dataobj)
        name = scan.name.replace(".nii.gz", "_anomaly.nii.gz")
        anomaly = np.asarray(nib.load(out / name).dataobj)
        # Ventricles of intensity 0 count as body but are not seen here: a small share.
        values.append(anomaly[image > 0])
    threshold = threshold_of(model)["value"]
    above = float((np.concatenate(values) > threshold).mean())
    assert above == pytest.approx(0.05, abs=0.003)


def test_a_bad_scan_is_listed_and_the_rest_goes_on(wholesight, heads, model, tmp_path):
    good = scans_of(heads, "test")[0]
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:2000])
    ended = wholesight("segment", model, cut, good, tmp_path / "no.nii.gz", "--out", tmp_path / "o")
    assert ended.code == 4
    assert "1 of 3 scans segmented, 2 failed" in ended.out
    failures = table(tmp_path / "o" / "failures.tsv")
    assert [row["code"] for row in failures] == ["E_TRUNCATED", "E_NOT_FOUND"]
    assert "Traceback" not in ended.out + ended.err
    assert not (tmp_path / "o" / "cut.json").exists()


def test_only_bad_scans_is_7(wholesight, model, tmp_path):
    (tmp_path / "x.nii").write_bytes(b"<html>")
    assert wholesight("segment", model, tmp_path / "x.nii", "--out", tmp_path / "o").code == 7


def test_a_second_run_is_refused_and_resumes_what_is_missing(wholesight, heads, model, tmp_path):
    scans, out = scans_of(heads, "test"), tmp_path / "o"
    assert wholesight("segment", model, *scans, "--out", out).code == 0
    refused = wholesight("segment", model, *scans, "--out", out)
    assert refused.code == 2
    assert "--resume" in refused.err
    first = scans[0].name.removesuffix(".nii.gz")
    (out / f"{first}_mask.nii.gz").unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    resumed = wholesight("segment", model, *scans, "--out", out, "--resume")
    assert resumed.code == 0
    assert f"{len(scans) - 1} of them before" in resumed.out
    assert (out / f"{first}_mask.nii.gz").exists()
    for name, written in kept.items():
        if not name.startswith(first):
            assert (out / name).stat().st_mtime_ns == written
    assert len(table(out / "results.tsv")) == len(scans)


def test_two_inputs_with_one_name_are_refused_before_any_work(wholesight, heads, model, tmp_path):
    scan = scans_of(heads, "test")[0]
    shutil.copy(scan, tmp_path / scan.name)
    ended = wholesight("segment", model, scan, tmp_path / scan.name, "--out", tmp_path / "o")
    assert ended.code == 2
    assert "more than once" in ended.err
    assert not (tmp_path / "o").exists()


def test_an_uncalibrated_model_says_which_command_to_run(wholesight, heads, model, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    (copy / "threshold.json").unlink()
    ended = wholesight("segment", copy, heads, "--out", tmp_path / "o")
    assert ended.code == 6
    assert "wholesight calibrate" in ended.err


def spoil(folder: Path, how: str) -> None:
    """Damage a model folder in one of the ways that happen."""
    weights, record = folder / "weights.safetensors", folder / "record.json"
    if how == "no record":
        record.unlink()
    elif how == "bit flipped":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "newer format":
        record.write_text(json.dumps({**json.loads(record.read_text()), "format_version": 99}))
    elif how == "recipe edited":
        recipe = folder / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("beta: 1.0", "beta: 2.0"))
    elif how == "threshold of another model":
        path = folder / "threshold.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "model": "0" * 16}))
    elif how == "threshold of other normals":
        path = folder / "normals.safetensors"
        path.write_bytes(path.read_bytes() + b" ")
    elif how == "threshold without normals":
        (folder / "normals.safetensors").unlink()
    elif how == "threshold of an earlier version":
        path = folder / "threshold.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({"model": content["model"], **content["thresholds"]["all"]}))
    elif how == "threshold damaged":
        path = folder / "threshold.json"
        content = json.loads(path.read_text())
        del content["thresholds"]["all"]["statement"]
        path.write_text(json.dumps(content))
    else:
        record.write_text("{")


@pytest.mark.parametrize(
    "how",
    [
        "no record",
        "bit flipped",
        "truncated",
        "newer format",
        "recipe edited",
        "threshold of another model",
        "threshold of other normals",
        "threshold without normals",
        "threshold of an earlier version",
        "threshold damaged",
        "record damaged",
    ],
)
def test_a_damaged_model_is_refused(wholesight, heads, model, tmp_path, how):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    spoil(copy, how)
    ended = wholesight("segment", copy, heads, "--out", tmp_path / "o")
    assert ended.code == 6
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    if how.startswith("threshold"):
        assert "wholesight calibrate again" in ended.err


def test_output_in_the_way_of_a_file_is_5(wholesight, heads, model, tmp_path):
    (tmp_path / "file").write_text("")
    ended = wholesight("segment", model, *scans_of(heads, "test"), "--out", tmp_path / "file" / "o")
    assert ended.code == 5


def test_a_full_disk_is_5_and_leaves_nothing_half_written(wholesight, heads, model, tmp_path):
    """A limit on the size of files stands in for the disk: the system call fails alike."""
    out = tmp_path / "o"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        ended = wholesight("segment", model, *scans_of(heads, "test"), "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ended.code == 5
    assert "room" in ended.err
    assert {path.name for path in out.iterdir()} == {"results.tsv", "failures.tsv", "run.json"}
    again = wholesight("segment", model, *scans_of(heads, "test"), "--out", out, "--resume")
    assert again.code == 0


def test_calibrating_on_training_subjects_is_refused(wholesight, heads, model, tmp_path):
    other = tmp_path / "heads"
    shutil.copytree(heads, other)
    split = json.loads((heads / "split.json").read_text())
    split["train"], split["calibration"] = split["calibration"], split["train"]
    (other / "split.json").write_text(json.dumps(split))
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    ended = wholesight("calibrate", copy, other)
    assert ended.code == 2
    assert "served the training" in ended.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fit", "no-such-folder", "--out", "x"], 3, "Check the path"),
        (["fit", "HEADS", "--recipe", "qick", "--out", "x"], 2, "Did you mean 'quick'?"),
        (["fit", "HEADS", "--set", "training.epoch=3", "--out", "x"], 2, "Did you mean 'epochs'?"),
        (["fit", "HEADS", "--out", "MODEL"], 2, "already holds a finished model"),
        (["fit", "HEADS", "--out", "x", "--resume"], 6, "nothing to resume"),
        (["calibrate", "no-such-model", "HEADS"], 6, "no such model"),
        (["calibrate", "MODEL", "HEADS", "--alpha", "5"], 2, "0 < alpha < 1"),
        (["segment", "MODEL", "no-such.nii.gz", "--out", "x"], 3, "no such file"),
        (["segment", "MODEL", "HEADS", "--subset", "tset", "--out", "x"], 2, "Did you mean 'test'"),
        (["evaluate", "no-such-maps", "HEADS", "--out", "x"], 3, "no such folder"),
        (["evaluate", "MODEL", "HEADS", "--out", "x"], 3, "Segment all cases"),
        (["info", "no-such-file.nii"], 3, "Check the path"),
        (["phantom", "HEADS"], 5, "not an empty folder"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else None,
)
def test_a_mistake_gets_a_message_and_an_exit_code(
    wholesight, heads, model, tmp_path, monkeypatch, words, code, said
):
    monkeypatch.chdir(tmp_path)
    places = {"HEADS": heads, "MODEL": model}
    ended = wholesight(*(places.get(word, word) for word in words))
    assert ended.code == code, ended.err
    assert said in (ended.out + ended.err).replace("\n", " ")
    assert "Traceback" not in ended.err


def test_info_of_a_model_and_of_a_scan(wholesight, heads, model):
    assert "normal slices of 4 subjects" in wholesight("info", model).out.replace("\n", " ")
    assert "LPS" in wholesight("info", scans_of(heads, "test")[0]).out


def test_version_and_help(wholesight):
    assert wholesight("--version").out.startswith("wholesight 0.")
    assert "calibrate" in wholesight("--help").out


def test_info_lists_every_method_with_source_needs_and_recipes(wholesight, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = wholesight("info", "--methods").out
    assert max(map(len, told.splitlines())) <= 80
    lines = [line.split() for line in told.splitlines()]
    assert [line for line in lines if line[:2] == ["bmvc2021", "days"]]
    assert [line for line in lines if line[:2] == ["normative", "seconds"]]
    assert {kind for kind in METHODS if [kind] in lines} == set(METHODS)
    assert {name for name in shipped() if any(line[:1] == [name] for line in lines)} == {*shipped()}
    assert told.count("needs:") == len(METHODS)
    both = wholesight("info", "somewhere", "--methods")
    assert both.code == 2
    assert "Name one thing" in both.err


@pytest.mark.slow
def test_a_recipe_of_days_says_so_before_it_starts(wholesight, heads, tmp_path):
    small = ["size=32", "training.epochs=1", "training.batch=4", "method.network.width_top=8"]
    changes = [word for change in small for word in ("--set", change)]
    words = ["fit", heads, "--recipe", "vae-residual-paper", "--out", tmp_path / "m"]
    told = wholesight(*words, *changes, "--device", "cpu")
    assert told.code == 0, told.err
    assert "takes days on a CPU" in told.out
