"""How rare each scan is among normal ones, and which scans of a cohort are called abnormal.

The scans are small blocks of noise with a brighter corner, mapped by intensity alone; the normal
scans are made-up scores, so that every p-value is known beforehand.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from wholesight.calibration import Normals, Terms, summarise
from wholesight.cohort import run as cohort_run
from wholesight.cohort.plan import plan
from wholesight.detector import NORMALS, Detector
from wholesight.errors import OutputError
from wholesight.io import nifti
from wholesight.recipe import Recipe
from wholesight.volume import Volume

# How much brighter the corner is: the scans' scores rise from about 1 to 1.7.
STEPS = (0.0, 1.0, 2.0, 3.0)
# One brick of 2 x 2 x 2 voxels is all that is kept of a normal scan.
BRICK = np.ones((2, 2, 2), bool)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number, step in enumerate(STEPS):
        voxels = np.random.default_rng(number).uniform(1, 2, (10, 12, 6)).astype(np.float32)
        voxels[2:5, 3:6, 2:4] += step
        nifti.write(Volume(voxels, np.diag([4.0, 4.0, 12.0, 1.0])), folder / f"x{number}.nii.gz")
    return folder


def normals(
    scores: Sequence[float] | np.ndarray,
    *,
    sites: Sequence[str] | None = None,
    scored: bool = True,
    whole: bool = True,
) -> Normals:
    """A normal scan of a subject of its own for every score."""
    return Normals(
        summarise(
            BRICK * np.float32(score),
            BRICK,
            subject=f"n{number}",
            site=sites[number] if sites else None,
            slices=2,
            whole=whole,
            voxel_mm3=8.0,
            scored=scored,
        )
        for number, score in enumerate(scores)
    )


@pytest.fixture
def calibrated(tmp_path) -> Callable[..., Path]:
    """Make a model folder of the intensity floor, calibrated on made-up normals."""

    def make(found: Normals, *, name: str = "model", by_site: bool = False, **told: str) -> Path:
        folder = tmp_path / name
        bare = Detector(recipe=Recipe.load("floor")).save(folder)
        terms = Terms(rule="percentile")
        bare.with_normals(found, terms, by_site=by_site, **told).save_calibration(folder)
        return folder

    return make


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


def untimed(out: Path) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in table(out / "results.tsv")]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flat(printed: str) -> str:
    return " ".join(printed.split())


# ---------------------------------------------------------------- p-values and the decision


def test_p_values_and_calls_are_those_of_the_formula(wholesight, scans, calibrated, tmp_path):
    """Bates et al. and Benjamini-Hochberg counted out by hand from the scores on disk."""
    known, out = np.linspace(0.5, 1.4, 99), tmp_path / "o"
    ended = wholesight("segment", calibrated(normals(known)), scans, "--out", out)
    assert ended.code == 0, ended.err
    rows = table(out / "results.tsv")
    expected = [
        (1 + sum(normal >= float(row["score"]) for normal in known.astype(np.float32))) / 100
        for row in rows
    ]
    assert [float(row["p_value"]) for row in rows] == expected
    assert expected == sorted(expected, reverse=True)
    assert expected[0] > 0.3
    assert expected[-2:] == [0.01, 0.01]
    ranked = sorted(expected)
    passed = [p for k, p in enumerate(ranked, 1) if p <= 0.05 * k / len(ranked)]
    assert [row["abnormal"] for row in rows] == [
        "yes" if p <= max(passed) else "no" for p in expected
    ]
    assert f"{len(passed)} of 4 scans called abnormal at FDR 5 %." in ended.out
    run = json_of(out / "run.json")
    assert (run["fdr"], run["tested"], run["abnormal"]) == (0.05, 4, len(passed))
    assert run["notes"] == []


def test_a_case_says_what_its_threshold_and_its_p_value_rest_on(
    wholesight, scans, calibrated, tmp_path
):
    model, out = calibrated(normals(np.linspace(0.5, 1.4, 39))), tmp_path / "o"
    ended = wholesight("segment", model, scans / "x3.nii.gz", "--out", out)
    record = json_of(out / "x3.json")
    assert record["threshold"] == json_of(model / "threshold.json")["thresholds"]["all"]
    assert record["threshold"].keys() >= {"rule", "alpha", "subjects", "guarantee"}
    assert (record["p_value"], record["normal_subjects"]) == (1 / 40, 39)
    map_ = nifti.read(out / "x3_anomaly.nii.gz").voxels.ravel()  # all of the block is body
    odd = round(0.01 * map_.size)
    assert record["score"] == pytest.approx(np.sort(map_)[-odd:].mean(), rel=1e-6)
    assert "ml flagged in 1 place  p 0.025" in ended.out
    assert json_of(out / "run.json")["normals"] == sha(out / NORMALS) == sha(model / NORMALS)


def test_failed_scans_do_not_count(wholesight, scans, calibrated, tmp_path):
    """One scan at p = 1/40 is called alone, and would not be as one of two."""
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"<html>")
    words = (calibrated(normals(np.linspace(0.5, 1.4, 39))), broken, scans / "x3.nii.gz")
    ended = wholesight("segment", *words, "--fdr", "0.03", "--out", tmp_path / "o")
    assert ended.code == 4
    assert "1 of 1 scan called abnormal at FDR 3 %." in ended.out
    assert json_of(tmp_path / "o" / "run.json")["notes"] == []


def test_too_few_normals_are_said_in_words(wholesight, scans, calibrated, tmp_path):
    out = tmp_path / "o"
    ended = wholesight("segment", calibrated(normals([0.5] * 10)), scans, "--out", out)
    assert ended.code == 0
    (note,) = json_of(out / "run.json")["notes"]
    assert note["code"] == "N_FEW_NORMALS"
    assert "10 normal subjects is never below 1/11 = 0.091" in note["text"]
    assert "none of these 4 scans can be called abnormal" in note["text"]
    assert "79 normal subjects" in note["text"]
    assert note["text"] in flat(ended.out)
    assert "0 of 4 scans called abnormal at FDR 5 %." in ended.out


def test_doubts_and_scans_of_one_subject_are_said(wholesight, scans, calibrated, tmp_path):
    rows = ["case\tsubject\timage", *(f"c{k}\ts{k // 2}\t{scans}/x{k}.nii.gz" for k in range(4))]
    (tmp_path / "cases.tsv").write_text("\n".join(rows) + "\n")
    model = calibrated(normals([0.5] * 99), doubts=("The scanner was another one.",))
    wholesight("segment", model, tmp_path / "cases.tsv", "--out", tmp_path / "o")
    said = {note["code"]: note["text"] for note in json_of(tmp_path / "o" / "run.json")["notes"]}
    assert said.keys() == {"N_SUBJECTS", "N_DOUBT"}
    assert "4 scans are of 2 subjects" in said["N_SUBJECTS"]
    assert said["N_DOUBT"].endswith("The scanner was another one.")


def test_p_values_are_doubted_where_normals_are_parts_of_scans(
    wholesight, scans, calibrated, tmp_path
):
    """By a rule too that promises nothing itself, and in what another threshold is set for."""
    model, out = calibrated(normals([0.5] * 99, whole=False)), tmp_path / "o"
    assert json_of(model / "threshold.json")["thresholds"]["all"]["doubts"] == []
    assert wholesight("segment", model, scans, "--out", out).code == 0
    words = ("--rule", "percentile", "--out", tmp_path / "again")
    assert wholesight("threshold", out, *words).code == 0
    for folder in (out, tmp_path / "again"):
        (note,) = json_of(folder / "run.json")["notes"]
        assert note["code"] == "N_DOUBT"
        assert "99 of 99 scans had abnormal slices left out" in note["text"]


def test_without_scores_there_is_no_p_value_and_no_call(wholesight, scans, calibrated, tmp_path):
    model, out = calibrated(normals([0.5] * 9, scored=False)), tmp_path / "o"
    ended = wholesight("segment", model, scans, "--out", out)
    assert ended.code == 0
    assert "called abnormal at" not in ended.out
    record = json_of(out / "x0.json")
    assert (record["p_value"], record["normal_subjects"]) == (None, None)
    assert {(row["p_value"], row["abnormal"]) for row in table(out / "results.tsv")} == {("", "")}
    (note,) = json_of(out / "run.json")["notes"]
    assert note["code"] == "N_NO_P"
    assert "holds no scores" in note["text"]


@pytest.mark.parametrize("fdr", ["0", "1", "nan"])
def test_an_fdr_that_is_none_is_refused(wholesight, scans, fdr, tmp_path):
    ended = wholesight("segment", tmp_path, scans, "--fdr", fdr, "--out", tmp_path / "o")
    assert ended.code == 2
    assert "0 < fdr < 1" in ended.err


# ---------------------------------------------------------------- resumed


def stopped(model: Path, scans: Path, out: Path, *, after: int) -> None:
    """Segment until somebody presses Ctrl-C after so many scans."""
    told: list[str] = []

    def tell(case: str, _: str) -> None:
        told.append(case)
        if len(told) == after:
            raise KeyboardInterrupt

    jobs = plan([scans]).jobs
    with pytest.raises(KeyboardInterrupt):
        cohort_run.segment_cohort(
            Detector.load(model), jobs, out, resume=False, fdr=0.05, tell=tell
        )


def test_stopped_and_resumed_decides_as_if_never_stopped(wholesight, scans, calibrated, tmp_path):
    model = calibrated(normals(np.linspace(0.5, 1.4, 99)))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert wholesight("segment", model, scans, "--out", whole).code == 0
    stopped(model, scans, cut, after=3)
    assert len(untimed(cut)) == json_of(cut / "run.json")["tested"] == 3
    ended = wholesight("segment", model, scans, "--out", cut, "--resume")
    assert "4 of 4 scans segmented, 3 of them before" in ended.out
    assert untimed(cut) == untimed(whole)
    times = ("started", "seconds")
    first, second = (json_of(out / "run.json") for out in (whole, cut))
    assert {k: v for k, v in first.items() if k not in times} == {
        k: v for k, v in second.items() if k not in times
    }


def test_resuming_with_another_fdr_decides_anew(wholesight, scans, calibrated, tmp_path):
    words = ("segment", calibrated(normals(np.linspace(0.5, 1.4, 99))), scans, "--out")
    wholesight(*words, tmp_path / "o", "--fdr", "0.001")
    assert {row["abnormal"] for row in table(tmp_path / "o" / "results.tsv")} == {"no"}
    ended = wholesight(*words, tmp_path / "o", "--fdr", "0.9", "--resume")
    assert "4 of them before" in ended.out
    assert {row["abnormal"] for row in table(tmp_path / "o" / "results.tsv")} == {"yes"}


def test_a_run_with_other_normals_is_not_resumed(wholesight, scans, calibrated, tmp_path):
    """The threshold is the same to the last digit; the p-values would not be."""
    out = tmp_path / "o"
    first = calibrated(normals([0.5] * 9 + [1.0]))
    other = calibrated(normals([0.7] * 9 + [1.0]), name="other")
    values = [Detector.load(folder).calibrated_threshold.value for folder in (first, other)]
    assert values[0] == values[1]
    assert wholesight("segment", first, scans, "--out", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "run.json").unlink()  # as after a power cut
    ended = wholesight("segment", other, scans, "--out", out, "--resume")
    assert ended.code == 2
    assert "another calibration" in ended.err
    before.pop("run.json")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_resuming_with_fewer_scans_is_refused(wholesight, scans, calibrated, tmp_path):
    words = ("segment", calibrated(normals([0.5] * 9)), "--out", tmp_path / "o")
    assert wholesight(*words, scans).code == 0
    ended = wholesight(*words, scans / "x0.nii.gz", scans / "x1.nii.gz", "--resume")
    assert ended.code == 2
    assert "not named now: x2, x3" in ended.err


def test_normals_are_there_before_the_first_scan(
    wholesight, scans, calibrated, tmp_path, monkeypatch
):
    def full(*_, **__):
        assert (tmp_path / "o" / NORMALS).exists()
        raise OutputError("the disk is full.")

    monkeypatch.setattr(cohort_run, "segment_case", full)
    ended = wholesight("segment", calibrated(normals([0.5] * 9)), scans, "--out", tmp_path / "o")
    assert ended.code == 5


def test_a_models_own_folder_is_no_place_for_maps(wholesight, scans, calibrated):
    """Another model's normals would be written over."""
    model = calibrated(normals([0.5] * 9))
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    ended = wholesight("segment", model, scans, "--out", model)
    assert ended.code == 2
    assert NORMALS in ended.err
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


# ---------------------------------------------------------------- by site


@pytest.fixture
def of_two_sites(calibrated) -> Path:
    """A model that knows 9 normal subjects of A, all less odd than those 19 of B."""
    scores = [0.5] * 9 + [1.3] * 19
    return calibrated(normals(scores, sites=["A"] * 9 + ["B"] * 19), by_site=True)


def of_sites(scans: Path, folder: Path, sites: str) -> Path:
    """A manifest of the scans with a site each; - is none."""
    rows = [
        f"c{k}\t{scans}/x{k}.nii.gz\t{site.replace('-', '')}\ttest" for k, site in enumerate(sites)
    ]
    (folder / "cases.tsv").write_text("\n".join(["case\timage\tsite\tsplit", *rows]) + "\n")
    return folder / "cases.tsv"


def test_every_scan_has_the_threshold_and_the_normals_of_its_site(
    wholesight, scans, of_two_sites, tmp_path
):
    out = tmp_path / "o"
    data = of_sites(scans, tmp_path, "ABB")
    ended = wholesight("segment", of_two_sites, data, "--out", out)
    assert ended.code == 0, ended.err
    records = [json_of(out / f"x{k}.json") for k in range(3)]
    assert [record["site"] for record in records] == ["A", "B", "B"]
    assert [record["threshold"]["value"] for record in records] == [0.5, *[np.float32(1.3)] * 2]
    assert [record["p_value"] for record in records] == [0.1, 1.0, 0.05]
    run = json_of(out / "run.json")
    assert "threshold" not in run
    assert run["by_site"] == json_of(of_two_sites / "threshold.json")["thresholds"]
    few = [note["text"] for note in run["notes"] if note["code"] == "N_FEW_NORMALS"]
    assert [["1/10", "1/20"][k] in text for k, text in enumerate(few)] == [True, True]
    assert "none of site A can be called abnormal" in few[0]
    assert "none of site B is called abnormal unless" in few[1]
    again = wholesight("segment", of_two_sites, data, "--out", out, "--resume")
    assert "3 of them before" in again.out


def test_a_scan_of_an_unknown_site_fails_and_the_rest_goes_on(
    wholesight, scans, of_two_sites, tmp_path
):
    data = of_sites(scans, tmp_path, "AC-B")
    ended = wholesight("segment", of_two_sites, data, "--out", tmp_path / "o")
    assert ended.code == 4
    failed = table(tmp_path / "o" / "failures.tsv")
    assert [(row["case"], row["code"]) for row in failed] == [("x1", "E_SITE"), ("x2", "E_SITE")]
    assert "Legal: A, B" in failed[0]["message"]
    assert "--site" in failed[1]["message"]
    assert json_of(tmp_path / "o" / "run.json")["tested"] == 2


def test_site_names_the_site_of_scans_that_have_none(wholesight, scans, of_two_sites, tmp_path):
    data = of_sites(scans, tmp_path, "A-")
    wholesight("segment", of_two_sites, data, "--site", "B", "--out", tmp_path / "o")
    assert [json_of(tmp_path / "o" / f"x{k}.json")["site"] for k in range(2)] == ["A", "B"]


@pytest.mark.parametrize(
    ("sites", "site", "message"),
    [("A-", "C", "Legal: A, B"), ("AB", "A", "names the site of every scan itself")],
)
def test_a_site_that_cannot_be_meant_is_refused(
    wholesight, scans, of_two_sites, tmp_path, sites, site, message
):
    data = of_sites(scans, tmp_path, sites)
    ended = wholesight("segment", of_two_sites, data, "--site", site, "--out", tmp_path / "o")
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "o").exists()


def test_with_one_threshold_a_data_sets_sites_are_no_concern_and_site_is_refused(
    wholesight, scans, calibrated, tmp_path
):
    words = ("segment", calibrated(normals([0.5] * 9)), of_sites(scans, tmp_path, "AC"))
    assert wholesight(*words, "--out", tmp_path / "o").code == 0
    ended = wholesight(*words[:2], scans, "--site", "A", "--out", tmp_path / "no")
    assert ended.code == 2
    assert "one threshold for all sites" in ended.err


def test_resuming_with_another_threshold_of_one_site_is_refused(
    wholesight, scans, of_two_sites, calibrated, tmp_path
):
    data, out = of_sites(scans, tmp_path, "AB"), tmp_path / "o"
    assert wholesight("segment", of_two_sites, data, "--out", out).code == 0
    (out / NORMALS).unlink()
    scores = [0.5] * 9 + [1.4] * 19
    other = calibrated(normals(scores, sites=["A"] * 9 + ["B"] * 19), name="o2", by_site=True)
    ended = wholesight("segment", other, data, "--out", out, "--resume")
    assert ended.code == 2
    assert "another threshold" in ended.err
    assert "(B)" in ended.err
