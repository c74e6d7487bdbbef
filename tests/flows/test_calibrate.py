"""`wholesight calibrate`: what it promises, what it refuses, and what it leaves on the disk."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

import wholesight.detector.folder as folders
from wholesight.calibration import RULES, Terms
from wholesight.cli.options import RuleName
from wholesight.datasets import open_dataset
from wholesight.detector import Detector
from wholesight.errors import ModelError, OutputError, UsageError
from wholesight.io import nifti
from wholesight.volume import Volume

FILES = ("normals.safetensors", "threshold.json", "calibration.json")
PERCENTILE = ("--rule", "percentile", "--no-cost")


class Row(NamedTuple):
    """A case of a manifest."""

    case: str
    split: str
    site: str = ""
    subject: str = ""
    lesion: bool = False


def write_set(folder: Path, rows: Iterable[Row]) -> Path:
    """Write small bright blocks in the dark, of 196 voxels: every voxel has its rank kept."""
    folder.mkdir(parents=True)
    lines = ["case\tsubject\timage\tmask\tsplit\tsite"]
    for row in rows:
        voxels = np.zeros((9, 9, 4), np.float32)
        voxels[1:8, 1:8] = 50 + np.random.default_rng([*row.case.encode()]).gamma(3, 10, (7, 7, 4))
        image = Volume(voxels, np.diag([-5.0, -5.0, 5.0, 1.0]))
        nifti.write(image, folder / f"{row.case}.nii.gz")
        mask = ""
        if row.lesion:
            mask = f"{row.case}_seg.nii.gz"
            abnormal = np.zeros(image.shape, bool)
            abnormal[3:5, 3:5, 1] = True
            nifti.write(image.like(abnormal), folder / mask)
        subject = row.subject or row.case
        lines.append(f"{row.case}\t{subject}\t{row.case}.nii.gz\t{mask}\t{row.split}\t{row.site}")
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    return folder


def normals(count: int, *, site: str = "", prefix: str = "s", lesions: int = 0) -> list[Row]:
    return [
        Row(f"{prefix}{number:02d}", "calibration", site, lesion=number < lesions)
        for number in range(count)
    ]


TRAINED = [Row(f"t{number}", "train", "a") for number in range(3)]


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Three subjects to train on and 24 to calibrate on."""
    return write_set(tmp_path_factory.mktemp("data") / "set", [*TRAINED, *normals(24)])


@pytest.fixture(scope="module")
def fitted(scans, tmp_path_factory) -> Path:
    """The intensity floor as a model, not calibrated."""
    from wholesight.datasets.scans import Scans, file_hashes
    from wholesight.recipe import Recipe
    from wholesight.training.fit import fit
    from wholesight.training.record import training_data

    cases = open_dataset(scans).subset("train")
    record = {"data": training_data(file_hashes(cases))}
    out = tmp_path_factory.mktemp("fitted") / "model"
    fit(Recipe.load("floor"), Scans(cases), out, device="cpu", record=record)
    return out


@pytest.fixture
def model(fitted, tmp_path) -> Path:
    """A copy that a test may calibrate."""
    return shutil.copytree(fitted, tmp_path / "model")


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


def words_of(text: str) -> str:
    """A text as it reads, wherever it was wrapped."""
    return " ".join(text.split())


# ---------------------------------------------------------------- what is promised


def test_without_options_it_is_conformal_risk_control(wholesight, scans, model, tmp_path):
    """By hand: the lowest value of any map with n / (n + 1) R + 1 / (n + 1) <= alpha."""
    ended = wholesight("calibrate", model, scans, "--no-cost", "--alpha", "0.1")
    assert ended.code == 0, ended.err
    wholesight("segment", model, scans, "--subset", "calibration", "--out", tmp_path / "maps")
    values = []
    for path in sorted((tmp_path / "maps").glob("*_anomaly.nii.gz")):
        body = nifti.read(scans / path.name.replace("_anomaly", "")).voxels > 0
        values.append(nifti.read(path).voxels[body])
    n = len(values)
    levels = np.unique(np.concatenate(values))
    risk = np.array([np.mean([(each > level).mean() for each in values]) for level in levels])
    fits = n / (n + 1) * risk + 1 / (n + 1) <= 0.1 + 1e-12
    threshold = json_of(model / "threshold.json")["thresholds"]["all"]
    assert threshold["value"] == levels[fits].min()
    assert (threshold["rule"], threshold["subjects"]) == ("crc", n)
    assert threshold["guarantee"].startswith("on average at most 10 % of a healthy body")
    assert threshold["doubts"] == []


def test_the_report_is_printed_and_kept(wholesight, scans, model):
    wholesight("calibrate", model, scans, *PERCENTILE)
    before = json_of(model / "threshold.json")["thresholds"]["all"]["value"]
    ended = wholesight("calibrate", model, scans, "--no-cost")
    told = words_of(ended.out)
    report = json_of(model / "calibration.json")
    group = report["groups"]["all"]
    assert group["threshold"] == json_of(model / "threshold.json")["thresholds"]["all"]
    assert group["threshold"]["statement"] in told
    assert report["replaced"] == [{"site": None, "rule": "percentile", "value": before}]
    assert f"percentile, {before:.6g}" in told
    low, high = group["spread"]
    assert group["realised"]["subjects"] == 24
    assert 0 < low < group["realised"]["mean_share"] < high < 1
    assert group["realised"]["mean_share"] < 0.05
    assert "The finest alpha that so many can support is 0.04." in told
    assert "24 subjects, 24 scans, 96 slices" in told
    assert "wholesight segment" in ended.out.splitlines()[-1]
    assert ended.err == ""


def test_it_is_the_same_when_it_is_done_again(wholesight, scans, model):
    wholesight("calibrate", model, scans, "--no-cost")
    first = [(model / name).read_bytes() for name in FILES[:2]]
    wholesight("calibrate", model, scans, "--no-cost")
    assert [(model / name).read_bytes() for name in FILES[:2]] == first


def test_what_is_loaded_is_what_was_set(wholesight, scans, model):
    wholesight("calibrate", model, scans, "--no-cost")
    detector = Detector.load(model)
    again = detector.with_normals(detector.normals, Terms())
    assert again.threshold == detector.threshold
    assert detector.p_value(1e9) == pytest.approx(1 / 25)
    assert detector.p_value(-1e9) == 1
    assert detector.p_value(None) is None
    highest = float(np.max(detector.normals.scores))
    assert detector.p_value(highest) == pytest.approx(2 / 25)


def test_the_score_of_a_scan_is_that_of_its_normal_summary(wholesight, scans, model):
    """What is compared must be the same quantity, also where holes are filled for the mask."""
    wholesight("calibrate", model, scans, *PERCENTILE)
    detector = Detector.load(model)
    detector.recipe.cleanup.fill_holes = True
    scan = open_dataset(scans).subset("calibration")[0].read()
    summary = detector.normal_scan("s", None, scan)
    assert detector.segment(scan.image).score == summary.score
    assert summary.whole
    assert summary.slices == 4


def test_no_name_is_in_what_thresholds_are_worked_out_from(wholesight, tmp_path, model):
    data = write_set(tmp_path / "set", normals(4, prefix="patient-"))
    assert wholesight("calibrate", model, data, *PERCENTILE).code == 0
    assert b"patient-" not in (model / FILES[0]).read_bytes()


def test_scans_with_slices_left_out_are_a_doubt(wholesight, tmp_path, model):
    data = write_set(tmp_path / "set", normals(20, lesions=3))
    ended = wholesight("calibrate", model, data, "--no-cost")
    assert ended.code == 0, ended.err
    (doubt,) = json_of(model / "threshold.json")["thresholds"]["all"]["doubts"]
    assert doubt.startswith("3 of 20 scans had abnormal slices left out")
    assert doubt in words_of(ended.out)


def test_an_odd_subject_is_named_and_kept(wholesight, tmp_path, model):
    data = write_set(tmp_path / "set", normals(20))
    image = nifti.read(data / "s07.nii.gz")
    voxels = image.voxels.copy()
    voxels[2:7, 2:7, 1:3] += 2000
    nifti.write(image.like(voxels), data / "s07.nii.gz")
    ended = wholesight("calibrate", model, data, "--no-cost")
    group = json_of(model / "calibration.json")["groups"]["all"]
    assert [odd["subject"] for odd in group["sticking_out"]] == ["s07"]
    assert "s07 (score" in ended.out
    assert group["threshold"]["subjects"] == 20


def test_what_it_costs(wholesight, heads, tmp_path):
    """A threshold that nothing reaches is silent, and says so."""
    model = tmp_path / "model"
    assert wholesight("fit", heads, "--recipe", "floor", "--out", model).code == 0
    ended = wholesight("calibrate", model, heads, "--rule", "fwe", "--alpha", "0.4", "--cost")
    assert ended.code == 0, ended.err
    group = json_of(model / "calibration.json")["groups"]["all"]
    assert {cost["volume_ml"] for cost in group["cost"]} == {1.0, 8.0}
    assert "8 ml" in ended.out
    assert group["silent"] is ("silent detector" in ended.out)
    level = ("--rule", "fwe", "--alpha", "0.4", "--level", "1e6")
    ended = wholesight("calibrate", model, heads, *level)
    assert ended.code == 0, ended.err
    assert json_of(model / "calibration.json")["groups"]["all"]["silent"] is True
    assert "silent detector" in ended.out


def test_a_finest_alpha_is_printed_as_the_rule_has_it(wholesight, scans, model):
    """With a confidence it is coarser than 1 / (n + 1), and without a promise there is none."""
    options = ("--rule", "tolerance", "--alpha", "0.15", "--no-cost")
    assert "1/25" not in wholesight("calibrate", model, scans, *options).out
    assert json_of(model / "threshold.json")["thresholds"]["all"]["finest"] > 0.11
    assert "finest alpha" not in wholesight("calibrate", model, scans, *PERCENTILE).out


def test_the_names_on_the_command_line_are_those_of_the_rules():
    assert [*RuleName] == [*RULES]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--alpha", "0.02"), 2, ["needs 49 calibration subjects, there are 24", "--alpha 0.04"]),
        (("--alpha", "0.02"), 2, ["--rule percentile, which promises nothing"]),
        (("--rule", "tolerance"), 2, ["needs 59 calibration subjects, there are 24"]),
        (("--rule", "fwe", "--min-lesion", "normals"), 2, ["that needs 38 subjects"]),
        (("--rule", "guess"), 2, ["guess"]),
        (("--alpha", "1"), 2, ["0 < alpha < 1"]),
        (("--min-lesion", "small"), 2, ["--min-lesion small", "in mm3"]),
        (("--min-lesion", "-1"), 2, ["--min-lesion -1", "0 or more"]),
        (("--confidence", "0.9"), 2, ["of the rule tolerance"]),
        (("--share", "0.1"), 2, ["of the rules fwe and tolerance"]),
        (("--level", "0.1"), 2, ["of the rule fwe"]),
        (("--rule", "fixed"), 2, ["on a map that is scaled to 0..1"]),
        (("--by", "site"), 2, ["--by site", "s00", "column 'site'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_kept_is_refused(wholesight, scans, model, options, code, said):
    ended = wholesight("calibrate", model, scans, *options)
    assert ended.code == code
    for words in said:
        assert words in words_of(ended.err), ended.err
    assert not (model / "threshold.json").exists()


def test_too_few_are_refused_before_a_scan_is_mapped(wholesight, scans, model, monkeypatch):
    monkeypatch.setattr(Detector, "normal_scan", lambda *_: pytest.fail("it was mapped"))
    assert wholesight("calibrate", model, scans, "--alpha", "0.02").code == 2


@pytest.mark.parametrize("rule", ["crc", "fwe", "tolerance"])
def test_a_map_scaled_slice_by_slice_gets_no_promise(wholesight, scans, model, monkeypatch, rule):
    from wholesight.methods.intensity import SmoothedIntensity

    monkeypatch.setattr(SmoothedIntensity, "scaled_per_slice", True)
    ended = wholesight("calibrate", model, scans, "--rule", rule)
    assert ended.code == 2
    assert "scales the map of every slice by itself" in ended.err
    assert wholesight("calibrate", model, scans, *PERCENTILE).code == 0
    detector = Detector.load(model)
    assert detector.normals.scores is None
    scan = open_dataset(scans).cases[0].read()
    assert detector.segment(scan.image).score is None


def test_one_scan_does_not_count_as_two_subjects(wholesight, model, tmp_path):
    data = write_set(tmp_path / "set", normals(20))
    nib.save(nib.load(data / "s03.nii.gz"), data / "s11.nii.gz")  # other bytes, the same voxels
    ended = wholesight("calibrate", model, data)
    assert ended.code == 2
    assert "s11: the same image is there for subject s03" in ended.err


def test_a_folder_that_cannot_be_written_is_said_first(wholesight, scans, model, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr("wholesight.io.files.write_bytes", full)
    monkeypatch.setattr(Detector, "normal_scan", lambda *_: pytest.fail("it was mapped"))
    assert wholesight("calibrate", model, scans).code == 5


def test_ctrl_c_says_that_the_old_threshold_holds(wholesight, scans, model, monkeypatch):
    assert wholesight("calibrate", model, scans, "--no-cost").code == 0
    before = (model / "threshold.json").read_bytes()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "normal_scan", stopped)
    ended = wholesight("calibrate", model, scans, "--alpha", "0.1")
    assert ended.code == 130
    assert "the threshold that it had still holds" in ended.err
    assert (model / "threshold.json").read_bytes() == before


@pytest.mark.parametrize(("stem", "part"), [("t0", "training"), ("s03", "calibration")])
def test_segment_says_of_a_scan_that_it_served(wholesight, scans, model, tmp_path, stem, part):
    """Whatever it is called now, and however it is stored."""
    wholesight("calibrate", model, scans, "--no-cost")
    nib.save(nib.load(scans / f"{stem}.nii.gz"), tmp_path / "another.nii.gz")
    ended = wholesight("segment", model, tmp_path / "another.nii.gz", "--out", tmp_path / "o")
    assert ended.code == 0, ended.err
    [note] = [n for n in json_of(tmp_path / "o/another.json")["notes"] if n["code"] == "N_SEEN"]
    assert f"served the {part} of this model" in note["text"]
    [told] = [n for n in json_of(tmp_path / "o/run.json")["notes"] if n["code"] == "N_SEEN"]
    assert "1 of 1 scan" in told["text"]


@pytest.mark.parametrize("how", ["subject", "file"])
def test_training_subjects_are_refused_or_void_the_promise(wholesight, scans, model, tmp_path, how):
    """By name, and by file under another name."""
    rows = [*normals(20), Row("t0" if how == "subject" else "zz", "calibration")]
    data = write_set(tmp_path / "set", rows)
    if how == "file":
        nib.save(nib.load(scans / "t0.nii.gz"), data / "zz.nii.gz")  # other bytes
    refused = wholesight("calibrate", model, data)
    assert refused.code == 2
    assert "served the training of this model" in refused.err
    ended = wholesight("calibrate", model, data, "--allow-training-subjects", "--no-cost")
    assert ended.code == 0, ended.err
    threshold = json_of(model / "threshold.json")["thresholds"]["all"]
    assert threshold["guarantee"] == "none"
    assert threshold["doubts"][0].startswith("1 of the 21 calibration subjects served the training")
    assert threshold["doubts"][0] in words_of(ended.out)
    assert json_of(model / "calibration.json")["groups"]["all"]["spread"] is None


def test_without_a_calibration_split_it_says_what_to_do(wholesight, model, tmp_path):
    data = write_set(tmp_path / "set", [Row(f"t{number}", "train") for number in range(3)])
    refused = wholesight("calibrate", model, data)
    assert refused.code == 3
    for words in ("split.json", '"calibration"', "--allow-training-subjects"):
        assert words in refused.err
    ended = wholesight("calibrate", model, data, *PERCENTILE, "--allow-training-subjects")
    assert ended.code == 0, ended.err
    assert json_of(model / "threshold.json")["thresholds"]["all"]["subjects"] == 3


# ---------------------------------------------------------------- by site


def test_a_threshold_for_each_site(wholesight, model, tmp_path):
    rows = [*normals(5, site="a"), *normals(9, site="b", prefix="u")]
    data = write_set(tmp_path / "set", rows)
    few = wholesight("calibrate", model, data, "--by", "site", "--alpha", "0.1")
    assert few.code == 2
    assert "site a: crc at alpha 0.1 needs 9 calibration subjects, there are 5" in few.err
    ended = wholesight("calibrate", model, data, "--by", "site", "--alpha", "0.2", "--no-cost")
    assert ended.code == 0, ended.err
    content = json_of(model / "threshold.json")
    assert content["by"] == "site"
    assert {site: each["subjects"] for site, each in content["thresholds"].items()} == {
        "a": 5,
        "b": 9,
    }
    assert "a: threshold" in ended.out
    assert "--site a" in ended.out
    assert json_of(model / "calibration.json")["groups"].keys() == {"a", "b"}

    detector = Detector.load(model)
    alone = write_set(tmp_path / "alone", normals(9, prefix="u"))
    assert wholesight("calibrate", model, alone, "--alpha", "0.2", "--no-cost").code == 0
    of_b = detector.at_site("b")
    assert of_b.calibrated_threshold.value == Detector.load(model).calibrated_threshold.value
    assert of_b.p_value(1e9) == pytest.approx(1 / 10)
    assert of_b.at_site("anything") is of_b
    with pytest.raises(UsageError, match="Legal: a, b"):
        detector.at_site("c")
    with pytest.raises(UsageError, match="--site"):
        detector.at_site(None)
    with pytest.raises(ModelError, match="--site NAME"):
        detector.segment(open_dataset(data).cases[0].read().image)
    info = wholesight("info", model)
    assert info.code == 0


def brighter(path: Path, by: float) -> None:
    """Put an odd voxel in a corner of a scan's body, where no large lesion fits."""
    image = nifti.read(path)
    voxels = image.voxels.copy()
    voxels[1, 1, 0] *= by
    nifti.write(image.like(voxels), path)


def test_a_site_whose_threshold_is_silent_is_said(wholesight, model, tmp_path):
    """Another site that finds its lesions does not make up for it."""
    data = write_set(tmp_path / "set", [*normals(4, site="a"), *normals(4, site="b", prefix="u")])
    for number in range(4):
        brighter(data / f"u{number:02d}.nii.gz", 500)
    options = ("--by", "site", "--rule", "fwe", "--alpha", "0.2")
    ended = wholesight("calibrate", model, data, *options)
    assert ended.code == 0, ended.err
    groups = json_of(model / "calibration.json")["groups"]
    assert {site: group["silent"] for site, group in groups.items()} == {"a": False, "b": True}
    assert [cost["scans"] for cost in groups["a"]["cost"]] == [4] * 6
    of_a, of_b = ended.out.split("b: threshold")
    assert "silent detector" in of_b
    assert "silent detector" not in of_a
    told = wholesight("info", model).out.splitlines()
    costs = {line.split("  ")[0]: line for line in told if line.startswith("made-up lesions of")}
    assert "Silent detector" in costs["made-up lesions of b"]
    assert "Silent detector" not in costs["made-up lesions of a"]


def abnormal_throughout(data: Path, *cases: str) -> None:
    for case in cases:
        mask = nifti.read(data / f"{case}_seg.nii.gz")
        nifti.write(mask.like(np.ones(mask.shape, bool)), data / f"{case}_seg.nii.gz")


def test_a_site_without_a_normal_slice_has_no_threshold(wholesight, model, tmp_path):
    """Its scans are left out of the cost, too."""
    rows = [*normals(2, site="a"), *normals(2, site="b", prefix="u", lesions=2)]
    data = write_set(tmp_path / "set", rows)
    abnormal_throughout(data, "u00", "u01")
    options = ("--by", "site", "--rule", "percentile", "--alpha", "0.2")
    ended = wholesight("calibrate", model, data, *options)
    assert ended.code == 0, ended.err
    assert json_of(model / "threshold.json")["thresholds"].keys() == {"a"}
    assert "Left out: u00, u01: no slice is normal." in ended.out
    (group,) = json_of(model / "calibration.json")["groups"].values()
    assert [cost["scans"] for cost in group["cost"]] == [2] * 6


def test_who_is_too_few_hears_what_did_not_count(wholesight, model, tmp_path):
    data = write_set(tmp_path / "set", normals(19, lesions=1))
    abnormal_throughout(data, "s00")
    ended = wholesight("calibrate", model, data, "--no-cost")
    assert ended.code == 2
    assert "needs 19 calibration subjects, there are 18" in ended.err
    assert "No slice is normal in: s00." in ended.err


def test_a_subject_of_two_sites_is_an_error(wholesight, model, tmp_path):
    rows = [
        *normals(5, site="a"),
        Row("one", "calibration", "a", subject="p"),
        Row("two", "calibration", "b", subject="p"),
    ]
    data = write_set(tmp_path / "set", rows)
    ended = wholesight("calibrate", model, data, "--by", "site", *PERCENTILE)
    assert ended.code == 2
    assert "subject p has scans of two sites, a and b" in ended.err


# ---------------------------------------------------------------- on the disk


def stopped_after(count: int, monkeypatch, fault: BaseException) -> None:
    """Let so many files be written, and raise in place of the next."""
    written = []
    for name in ("write_bytes", "write_json"):
        write: Callable = getattr(folders, name)

        def counting(path: Path, content: object, write: Callable = write) -> None:
            if len(written) == count:
                raise fault
            written.append(path)
            write(path, content)

        monkeypatch.setattr(folders, name, counting)


@pytest.mark.parametrize(
    ("fault", "code", "count", "other"),
    [
        (KeyboardInterrupt(), 130, 0, True),
        (KeyboardInterrupt(), 130, 1, True),
        (KeyboardInterrupt(), 130, 1, False),
        (KeyboardInterrupt(), 130, 2, True),
        (OutputError("the disk is full"), 5, 1, True),
        (OutputError("the disk is full"), 5, 2, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_interruption_leaves_one_calibration_or_none(
    wholesight, scans, model, tmp_path, monkeypatch, fault, code, count, other
):
    """Never a threshold with another one's normals or report."""
    assert wholesight("calibrate", model, scans, *PERCENTILE).code == 0
    before = Detector.load(model).threshold
    data = write_set(tmp_path / "set", normals(21, prefix="u")) if other else scans
    with monkeypatch.context() as patch:
        stopped_after(count, patch, fault)
        assert wholesight("calibrate", model, data, "--no-cost").code == code
    if count == 1 and other:
        with pytest.raises(ModelError, match="interrupted"):
            Detector.load(model)
    else:
        assert (Detector.load(model).threshold == before) is (count < 2)
    assert (model / "calibration.json").exists() is (count == 0)
    assert not [path for path in model.iterdir() if path.name.endswith(".tmp")]
    assert wholesight("calibrate", model, data, "--no-cost").code == 0
    assert Detector.load(model).calibrated_threshold.rule == "crc"


def test_the_order_is_normals_threshold_report(wholesight, scans, model, monkeypatch):
    written = []
    for name in ("write_bytes", "write_json"):
        write: Callable = getattr(folders, name)

        def noting(path: Path, content: object, write: Callable = write) -> None:
            written.append(path.name)
            write(path, content)

        monkeypatch.setattr(folders, name, noting)
    wholesight("calibrate", model, scans, *PERCENTILE)
    assert written == list(FILES)


def test_without_a_report_none_of_an_earlier_one_stays(wholesight, scans, model):
    wholesight("calibrate", model, scans, *PERCENTILE)
    Detector.load(model).save_calibration(model)
    assert not (model / "calibration.json").exists()
    assert Detector.load(model).calibrated_threshold.rule == "percentile"
    with pytest.raises(ValueError, match="either one threshold"):
        Detector.load(model, with_threshold=False).save_calibration(model)


def test_a_threshold_of_an_earlier_version_is_said_to_be_replaced(wholesight, scans, model):
    old = {"model": Detector.load(model).digest, "value": 1.25, "rule": "percentile"}
    (model / "threshold.json").write_text(json.dumps(old))
    with pytest.raises(ModelError, match="calibrate again"):
        Detector.load(model)
    ended = wholesight("calibrate", model, scans, "--no-cost")
    assert ended.code == 0
    assert "Replaced: percentile, 1.25" in words_of(ended.out)
