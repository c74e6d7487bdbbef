"""A BIDS folder from check to evaluate, and what `segment` makes of it: a valid derivative."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from wholesight.io import nifti
from wholesight.io.bids_name import parse
from wholesight.io.formats import stem

OWN_FILES = {"run.json", "results.tsv", "failures.tsv", "normals.safetensors"}


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def bids(heads, tmp_path_factory) -> Path:
    """The phantom's heads as BIDS: every other subject with a session, a T1w beside each FLAIR.

    Their parts are told by participants.tsv, the last test subject has two runs.
    """
    root = tmp_path_factory.mktemp("bids") / "heads"
    parts = json_of(heads / "split.json")
    lines = ["participant_id\tsite\tsplit"]
    for number, (split, subject) in enumerate((s, name) for s in parts for name in parts[s]):
        label, files = f"{number:02d}", heads / subject
        ses = "_ses-a" if number % 2 else ""
        runs = ["_run-1", "_run-2"] if subject == parts["test"][-1] else [""]
        place = root / f"sub-{label}" / ses[1:] / "anat"
        masks = root / "derivatives" / "drawn" / f"sub-{label}" / ses[1:] / "anat"
        for folder in (place, masks):
            folder.mkdir(parents=True)
        for run in runs:
            name = f"sub-{label}{ses}{run}"
            shutil.copy(files / f"{subject}_flair.nii.gz", place / f"{name}_FLAIR.nii.gz")
            shutil.copy(files / f"{subject}_flair.nii.gz", place / f"{name}_T1w.nii.gz")
            truth = masks / f"{name}_label-lesion_mask.nii.gz"
            shutil.copy(files / f"{subject}_seg.nii.gz", truth)
        lines.append(f"sub-{label}\tA\t{split}")
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    description = {"Name": "Made-up heads", "BIDSVersion": "1.11.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


@pytest.fixture
def segmented(bids, model, wholesight, tmp_path) -> tuple[Path, Path]:
    """The data set, and the derivative in it that `segment` made of its test subjects."""
    data = tmp_path / "heads"
    shutil.copytree(bids, data)
    out = data / "derivatives" / "wholesight"
    words = ["--modality", "flair", "--subset", "test", "--out", out]
    assert wholesight("segment", model, data, *words).code == 0
    return data, out


def files_of(out: Path) -> list[str]:
    """Every file of a data set, but for those that .bidsignore names and the hidden ones."""
    ignored = (out / ".bidsignore").read_text().split()
    assert set(ignored) == OWN_FILES
    names = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]
    return [name for name in names if name not in ignored and name[0] != "."]


def require_valid(out: Path, is_bids) -> None:
    """Hold a derivative against the schema: names, and the fields that it requires."""
    files = files_of(out)
    assert [name for name in files if not is_bids(name)] == []
    description = json_of(out / "dataset_description.json")
    assert description.keys() >= {"Name", "BIDSVersion", "DatasetType", "GeneratedBy"}
    assert description["DatasetType"] == "derivative"
    images = [Path(name) for name in files if name.endswith(".nii.gz")]
    for image in images:
        sidecar = json_of(out / image.with_name(f"{stem(image)}.json"))
        assert sidecar["SpatialReference"] == "orig"
        masks = ("mask", "probseg")
        assert isinstance(sidecar.get("SkullStripped"), bool) != stem(image).endswith(masks)
        for uri in sidecar.get("Sources", ()):
            _, dataset, path = uri.split(":")
            assert (out / description["DatasetLinks"][dataset] / path).is_file()


# ---------------------------------------------------------------- the whole way


def test_check_fit_calibrate_segment_evaluate(bids, wholesight, tiny, tmp_path, is_bids):
    model, out = tmp_path / "model", tmp_path / "maps"
    assert wholesight("check", bids).code == 2  # FLAIR or T1w?
    checked = wholesight("check", bids, "--modality", "FLAIR")
    assert (checked.code, "layout: bids" in checked.out) == (0, True), checked.out
    flair = ("--modality", "FLAIR")
    fitted = wholesight("fit", bids, *tiny, *flair, "--out", model)
    assert fitted.code == 0
    assert fitted.out.split("Next:")[1].rstrip().endswith("--modality FLAIR")
    rule = ("--rule", "percentile", "--no-cost", "--by", "site")
    assert wholesight("calibrate", model, bids, *flair, *rule).code == 0
    assert wholesight("segment", model, bids, *flair, "--out", out).code == 0
    require_valid(out, is_bids)
    judged = wholesight("evaluate", out, bids, *flair, "--out", tmp_path / "report")
    assert judged.code == 0
    assert (tmp_path / "report" / "metrics.json").is_file()


def test_the_derivative_is_valid_and_says_what_it_is(segmented, is_bids):
    data, out = segmented
    require_valid(out, is_bids)
    masks = sorted(out.rglob("*_mask.nii.gz"))
    images = sorted(
        path for path in data.glob("sub-*/**/*_FLAIR.nii.gz")
        if "test" in (data / "participants.tsv").read_text().split(path.name[:6])[1].split("\n")[0]
    )  # fmt: skip
    assert len(masks) == len(images) == len(json_of_results(out))
    for image, mask in zip(images, masks, strict=True):
        entities = parse(stem(image)).id
        assert mask.name == f"{entities}_space-orig_label-anomaly_mask.nii.gz"
        assert mask.parent.relative_to(out) == image.parent.relative_to(data)
        anomaly = mask.with_name(f"{entities}_space-orig_desc-anomaly_FLAIR.nii.gz")
        scan = nifti.read(image)
        assert nifti.read(mask).same_grid(scan)
        assert nifti.read(anomaly).same_grid(scan)
        record = json_of(mask.with_name(stem(mask) + ".json"))
        assert record["subject"] == image.name[4:6]
        assert record["Sources"] == [f"bids:scans:{image.relative_to(data).as_posix()}"]
        assert set(record["outputs"]) == {
            path.relative_to(out).as_posix()
            for path in (mask, anomaly, anomaly.with_name(stem(anomaly) + ".json"))
        }
    description = json_of(out / "dataset_description.json")
    assert description["Name"] == "Anomaly maps of Made-up heads"
    assert description["DatasetLinks"] == {"scans": "../.."}
    assert description["GeneratedBy"][0]["Name"] == "wholesight"
    assert {path.name for path in out.iterdir() if path.is_file()} == {
        *OWN_FILES, "dataset_description.json", ".bidsignore"
    }  # fmt: skip


def json_of_results(out: Path) -> list[dict[str, str]]:
    with (out / "results.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_name_that_no_rule_has_would_be_found(segmented, is_bids):
    out = segmented[1]
    mask = next(out.rglob("*_mask.nii.gz"))
    mask.rename(mask.with_name(mask.name.replace("_space-orig", "")[:-7] + "_anomaly.nii.gz"))
    with pytest.raises(AssertionError):
        require_valid(out, is_bids)


def test_no_path_of_the_disk_is_told(bids, model, wholesight, tmp_path, is_bids):
    """Results beside the data set, and far from it."""
    near, far = bids.parent / "maps", tmp_path / "maps"
    words = ["--modality", "FLAIR", "--participant-label", "09"]
    for out in (near, far):
        assert wholesight("segment", model, bids, *words, "--out", out).code == 0
        require_valid(out, is_bids)
        told = [path.read_text() for path in out.rglob("*.json")]
        assert not [text for text in told if str(bids.parent) in text or str(tmp_path) in text]
    assert json_of(near / "dataset_description.json")["DatasetLinks"] == {"scans": "../heads"}
    assert "DatasetLinks" not in json_of(far / "dataset_description.json")
    assert not [path for path in far.rglob("*.json") if "Sources" in json_of(path)]


def test_a_map_in_0_to_1_is_a_probseg(bids, heads, tiny, wholesight, tmp_path, is_bids):
    model, out = tmp_path / "model", tmp_path / "maps"
    scaled = ("--set", "method.map_normalisation=min-max")
    assert wholesight("fit", heads, *tiny, *scaled, "--out", model).code == 0
    rule = ("--rule", "percentile", "--no-cost")
    assert wholesight("calibrate", model, heads, *rule).code == 0
    words = ["--modality", "FLAIR", "--subset", "test", "--out", out]
    assert wholesight("segment", model, bids, *words).code == 0
    require_valid(out, is_bids)
    maps = sorted(out.rglob("*_space-orig_label-anomaly_probseg.nii.gz"))
    assert len(maps) == len(json_of_results(out))
    assert not list(out.rglob("*desc-anomaly*"))
    values = np.concatenate([nifti.read(path).voxels.ravel() for path in maps])
    assert 0 <= values.min() < values.max() <= 1 + 1e-6
    assert wholesight("segment", model, bids, *words, "--resume").out.count("before") == 1
    report = tmp_path / "report"
    judged = wholesight("evaluate", out, bids, "--modality", "FLAIR", "--out", report)
    assert judged.code == 0
    fixed = ("--rule", "fixed", "--out", tmp_path / "fixed")
    assert wholesight("threshold", out, *fixed).code == 0
    require_valid(tmp_path / "fixed", is_bids)


# ---------------------------------------------------------------- again


def test_resume_segments_what_is_missing_or_changed(segmented, model, wholesight):
    data, out = segmented
    words = ["segment", model, data, "--modality", "FLAIR", "--subset", "test", "--out", out]
    refused = wholesight(*words)
    assert refused.code == 2
    assert "--resume" in refused.err
    sidecar = next(out.rglob("*desc-anomaly_FLAIR.json"))
    sidecar.unlink()
    (out / "dataset_description.json").write_text(
        (out / "dataset_description.json").read_text().replace("{", '{"License": "CC0",', 1)
    )
    scans = len(json_of_results(out))
    again = wholesight(*words, "--resume")
    assert again.code == 0
    assert f"{scans} of {scans} scans segmented, {scans - 1} of them before" in again.out
    assert sidecar.is_file()
    assert json_of(out / "dataset_description.json")["License"] == "CC0"


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_nothing_is_added_to_somebody_elses_data_set(bids, model, wholesight, tmp_path, resume):
    data = tmp_path / "heads"
    shutil.copytree(bids, data)
    before = sorted(data.rglob("*"))
    ended = wholesight("segment", model, data, "--modality", "FLAIR", "--out", data, *resume)
    assert ended.code == 2
    assert "derivatives/wholesight" in ended.err
    assert sorted(data.rglob("*")) == before


def test_results_are_no_scans_of_the_next_run(segmented, model, wholesight):
    """Nor are they masks to judge by."""
    data, out = segmented
    checked = wholesight("check", data, "--modality", "FLAIR")
    assert checked.code == 0
    assert "anomaly" not in checked.out
    ended = wholesight("segment", model, out, "--out", data.parent / "o")
    assert ended.code == 3


# ---------------------------------------------------------------- another threshold


def test_another_threshold_makes_a_derivative_too(segmented, wholesight, is_bids, tmp_path_factory):
    data, out = segmented
    new = data / "derivatives" / "other"
    ended = wholesight("threshold", out, "--rule", "percentile", "--alpha", "0.2", "--out", new)
    assert ended.code == 0, ended.err
    require_valid(new, is_bids)
    assert files_of(new) == files_of(out)
    assert json_of(new / "dataset_description.json")["DatasetLinks"] == {"scans": "../.."}
    more = [float(row["flagged_ml"]) for row in json_of_results(new)]
    less = [float(row["flagged_ml"]) for row in json_of_results(out)]
    assert sum(more) > sum(less)
    far = tmp_path_factory.mktemp("far") / "maps"
    assert wholesight("threshold", new, "--rule", "percentile", "--out", far).code == 0
    require_valid(far, is_bids)
    assert "DatasetLinks" not in json_of(far / "dataset_description.json")
    assert not [path for path in far.rglob("*.json") if "Sources" in json_of(path)]


def test_a_threshold_that_cannot_be_finished_leaves_nothing(segmented, wholesight, monkeypatch):
    import wholesight.cohort.rethreshold as module

    def stopped(*_, **__):
        raise KeyboardInterrupt

    data, out = segmented
    new = data.parent / "new"
    monkeypatch.setattr(module, "mask_facts", stopped)
    ended = wholesight("threshold", out, "--rule", "percentile", "--out", new)
    assert ended.code == 130
    assert not new.exists()


def test_a_table_that_names_something_else_is_refused(segmented, wholesight):
    out = segmented[1]
    table = out / "results.tsv"
    case = json_of_results(out)[0]["case"]
    table.write_text(table.read_text().replace(case, case.replace("FLAIR", "flair")))
    ended = wholesight("threshold", out, "--rule", "percentile", "--out", out.parent / "new")
    assert ended.code == 3
    assert "results.tsv: damaged" in ended.err


# ---------------------------------------------------------------- who


def test_participants_by_label(bids, model, wholesight, tmp_path):
    words = ["--modality", "FLAIR", "--participant-label", "sub-08", "--participant-label", "09"]
    out = tmp_path / "o"
    assert wholesight("segment", model, bids, *words, "--out", out).code == 0
    assert {row["case"][:6] for row in json_of_results(out)} == {"sub-08", "sub-09"}
    ended = wholesight("segment", model, bids, *words[:2], "--participant-label", "9", "--out", out)
    assert ended.code == 2
    assert "Did you mean '09'" in ended.err


def test_participants_of_any_data_set(heads, model, wholesight, tmp_path):
    subject = json_of(heads / "split.json")["test"][0]
    words = ["--participant-label", subject, "--out", tmp_path / "o"]
    assert wholesight("segment", model, heads, *words).code == 0
    (row,) = json_of_results(tmp_path / "o")
    assert row["case"] == f"{subject}_flair"
    scan = heads / subject / f"{subject}_flair.nii.gz"
    ended = wholesight("segment", model, scan, "--participant-label", subject, "--out", "o")
    assert ended.code == 2
    assert "an input is no data set" in ended.err


# ---------------------------------------------------------------- beside other inputs


def test_beside_other_inputs_results_lie_flat(bids, heads, model, wholesight, tmp_path):
    subject = json_of(heads / "split.json")["test"][0]
    scan = heads / subject / f"{subject}_flair.nii.gz"
    words = [bids, scan, "--modality", "T1w", "--subset", "test", "--out", tmp_path / "o"]
    assert wholesight("segment", model, *words).code == 0
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert {f"{subject}_flair_mask.nii.gz", "sub-08_T1w_mask.nii.gz"} <= names
    assert "dataset_description.json" not in names
    assert not [name for name in names if name.startswith("sub-") and "." not in name]
