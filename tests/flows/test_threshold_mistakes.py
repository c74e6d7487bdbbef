"""`threshold`: what is damaged, missing or meant otherwise; nothing half-done is left."""

import csv
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from wholesight.cohort.plan import plan
from wholesight.cohort.run import segment_cohort
from wholesight.detector import Detector
from wholesight.errors import OutputError
from wholesight.io import nifti
from wholesight.volume import Volume


class Made(NamedTuple):
    """A run of segment and its model, which a test may change. cases : how they are called."""

    maps: Path
    model: Path
    cases: list[str]


@pytest.fixture(scope="module")
def maps(heads, model, tmp_path_factory) -> Path:
    out, jobs = tmp_path_factory.mktemp("run") / "maps", plan([heads], subset="test").jobs
    detector = Detector.load(model)
    segment_cohort(detector, jobs, out, resume=False, fdr=0.05, tell=lambda *_: None)
    return out


@pytest.fixture
def run(maps, model, tmp_path) -> Made:
    shutil.copytree(maps, tmp_path / "maps")
    shutil.copytree(model, tmp_path / "model")
    cases = [row["case"] for row in table(maps / "results.tsv")]
    return Made(tmp_path / "maps", tmp_path / "model", cases)


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


def change_json(path: Path, **change: object) -> None:
    path.write_text(json.dumps({**json_of(path), **change}))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ---------------------------------------------------------------- what fails, and the rest goes on


def drop(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def impoverish(path: Path) -> None:
    record = json_of(path)
    path.write_text(json.dumps({name: record[name] for name in ("model", "outputs")}))


def rename_model(path: Path) -> None:
    change_json(path, model="other")


@pytest.mark.parametrize(
    ("name", "harm", "code"),
    [
        ("{}_anomaly.nii.gz", drop, "E_NOT_FOUND"),
        ("{}_anomaly.nii.gz", cut_off, "E_CHANGED"),
        ("{}.json", drop, "E_NOT_FOUND"),
        ("{}.json", cut_off, "E_FORMAT"),
        ("{}.json", impoverish, "E_FORMAT"),
        ("{}.json", rename_model, "E_FORMAT"),
    ],
)
def test_a_damaged_case_fails_and_the_rest_goes_on(wholesight, run, tmp_path, name, harm, code):
    bad, good = run.cases
    harm(run.maps / name.format(bad))
    out = tmp_path / "o"
    ended = wholesight("threshold", run.maps, "--alpha", "0.4", "--out", out)
    assert ended.code == 4
    assert "1 of 2 scans segmented, 1 failed" in ended.out
    assert [(row["case"], row["code"]) for row in table(out / "failures.tsv")] == [(bad, code)]
    assert [row["case"] for row in table(out / "results.tsv")] == [good]
    assert not list(out.glob(f"{bad}*"))
    assert json_of(out / "run.json")["failed"] == 1


def test_scans_that_failed_are_listed_on_and_those_that_are_missing_counted(
    wholesight, run, tmp_path
):
    change_json(run.maps / "run.json", scans=4)
    failed = (run.maps / "failures.tsv").read_text() + "c9\tscans/c9.nii.gz\tE_GRID\tSo it is.\n"
    (run.maps / "failures.tsv").write_text(failed)
    out = tmp_path / "o"
    ended = wholesight("threshold", run.maps, "--alpha", "0.4", "--out", out)
    assert ended.code == 4
    assert "2 scans of" in ended.out
    assert "without a map" in ended.out
    assert (out / "failures.tsv").read_text() == failed
    facts = json_of(out / "run.json")
    assert (facts["scans"], facts["segmented"], facts["failed"]) == (4, 2, 1)


# ---------------------------------------------------------------- normals that are not there


def forget(maps: Path) -> None:
    (maps / "normals.safetensors").unlink()
    change_json(maps / "run.json", normals=None)


def lose(maps: Path) -> None:
    (maps / "normals.safetensors").unlink()


def spoil(maps: Path) -> None:
    path = maps / "normals.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)


@pytest.mark.parametrize("harm", [forget, lose, spoil])
def test_a_run_without_its_normals_takes_those_of_its_model(wholesight, run, tmp_path, harm):
    harm(run.maps)
    out = tmp_path / "o"
    words = ("threshold", run.maps, "--rule", "percentile", "--alpha", "0.05", "--out", out)
    ended = wholesight(*words)
    assert ended.code == 3
    assert "--normals MODEL" in ended.err
    assert not out.exists()
    assert wholesight(*words, "--normals", run.model).code == 0
    for case in run.cases:
        name = f"{case}_mask.nii.gz"
        assert (out / name).read_bytes() == (run.maps / name).read_bytes()


def test_the_normals_of_another_model_are_refused(wholesight, run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run.model, other)
    change_json(other / "record.json", digest="another")
    words = ("threshold", run.maps, "--alpha", "0.4", "--out", tmp_path / "o", "--normals")
    for place, why in ((other, "is model another"), (tmp_path, "no model folder")):
        ended = wholesight(*words, place)
        assert ended.code == 6
        assert why in ended.err
    (run.model / "threshold.json").unlink()
    ended = wholesight(*words, run.model)
    assert ended.code == 6
    assert "not calibrated" in ended.err


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--alpha", "0.05"), "needs 19 calibration subjects, there are 2"),
        (
            ("--alpha", "0.4", "--by", "site"),
            "--by site: of some calibration scans the site was not known",
        ),
        (("--alpha", "1.5"), "--alpha 1.5"),
        (("--alpha", "0.4", "--fdr", "0"), "--fdr 0"),
    ],
)
def test_terms_that_cannot_be_are_refused_before_anything_is_written(
    wholesight, run, tmp_path, words, why
):
    ended = wholesight("threshold", run.maps, *words, "--out", tmp_path / "o")
    assert ended.code == 2
    assert why in ended.err
    assert not (tmp_path / "o").exists()


def test_only_a_new_folder_is_written_to(wholesight, run, tmp_path):
    out = tmp_path / "o"
    words = ("threshold", run.maps, "--alpha", "0.4", "--out")
    assert wholesight(*words, out).code == 0
    for place in (out, run.maps):
        before = content(place)
        ended = wholesight(*words, place)
        assert ended.code == 2
        assert "nothing is written over" in ended.err
        assert content(place) == before


def test_what_is_no_run_of_ours_is_refused(wholesight, run, tmp_path):
    words = ("--alpha", "0.4", "--out", tmp_path / "o")

    def refused(folder: Path) -> str:
        ended = wholesight("threshold", folder, *words)
        assert ended.code == 3
        return ended.err

    assert "no such folder" in refused(tmp_path / "nowhere")
    facts, path = json_of(run.maps / "run.json"), run.maps / "run.json"
    path.write_text(json.dumps({k: v for k, v in facts.items() if k != "cleanup"}))
    assert "earlier wholesight" in refused(run.maps)
    path.write_text(json.dumps({**facts, "cleanup": {"min_lesion_mm3": -1}}))
    assert "cleanup makes no sense" in refused(run.maps)
    path.write_text(json.dumps(facts))
    kept = (run.maps / "results.tsv").read_text()
    (run.maps / "results.tsv").write_text(kept.replace(run.cases[1], "../c1"))
    assert "a case is called '../c1'" in refused(run.maps)
    (run.maps / "results.tsv").unlink()
    assert "lists no scan" in refused(run.maps)
    path.unlink()
    assert "wholesight segment" in refused(run.maps)


# ---------------------------------------------------------------- stopped on the way


@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (OutputError("the disk is full."), 5)]
)
def test_what_is_stopped_leaves_nothing(
    wholesight, run, tmp_path, monkeypatch, stop, code, was_there
):
    out = tmp_path / "o"
    if was_there:
        out.mkdir()
    written = []
    real = nifti.write

    def write(volume: Volume, path: Path) -> None:
        written.append(path)
        if len(written) == 2:
            assert len(list(out.glob("*.json"))) == 1
            raise stop
        real(volume, path)

    monkeypatch.setattr(nifti, "write", write)
    ended = wholesight("threshold", run.maps, "--alpha", "0.4", "--out", out)
    assert ended.code == code
    assert len(written) == 2
    assert out.exists() is was_there
    assert not list(out.glob("*"))
    monkeypatch.undo()
