"""`threshold`: another threshold for a run of `segment`, as if it had been segmented with it."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from wholesight.calibration import Normals, Terms
from wholesight.cohort.plan import Job
from wholesight.cohort.run import segment_cohort
from wholesight.datasets import Case
from wholesight.detector import Detector
from wholesight.errors import OutputError
from wholesight.io import nifti
from wholesight.methods.intensity import SmoothedIntensity
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

SITES = ("north", "south")
# Oblique, so that a voxel's volume is no round number.
AFFINE = np.array([[2.1, 0.3, 0.0, 5.0], [-0.3, 2.1, 0.0, 7.0], [0.0, 0.2, 3.3, 9.0], [0, 0, 0, 1]])
CASES = [f"c{number}" for number in range(4)]


class Signed(SmoothedIntensity):
    """Below 0 where it is darker than usual; no voxel is exactly 0."""

    def anomaly_map(self, slices, inside):
        return (super().anomaly_map(slices, inside) - 1.0000001) * inside


class Rounded(SmoothedIntensity):
    """Whole and half numbers, so that much of the body is exactly 0."""

    def anomaly_map(self, slices, inside):
        return ((super().anomaly_map(slices, inside) - 1) * 4).round() / 2 * inside


class PerSlice(SmoothedIntensity):
    """Says of itself that it scales every slice by itself."""

    scaled_per_slice = True


class Made(NamedTuple):
    """A run of segment, and what it was made with."""

    detector: Detector
    jobs: list[Job]
    maps: Path
    model: Path


def head(seed: int, *, lesion: bool = False) -> Volume:
    """A body of blobs; a lesion is a bright shell around a dark core."""
    rng = np.random.default_rng(seed)
    grid = np.indices((20, 22, 10)) - np.array([9.5, 10.5, 4.5])[:, None, None, None]
    distance = np.sqrt(((grid / np.array([9, 10, 4.4])[:, None, None, None]) ** 2).sum(axis=0))
    image = 100 + 200 * gaussian_filter(rng.normal(size=distance.shape), 1.2)
    if lesion:
        apart = np.sqrt(((grid - np.array([2, -2, 0])[:, None, None, None]) ** 2).sum(axis=0))
        image = np.where(apart < 4, np.where(apart < 2, 5, image + 250), image)
    voxels = np.where(distance < 1, image.clip(5), 0)
    return Volume(voxels.astype(np.float32), AFFINE)


def normals_of(detector: Detector, count: int = 24) -> Normals:
    scans = [
        detector.normal_scan(f"n{number}", SITES[number % 2], Scan(head(number)))
        for number in range(count)
    ]
    return Normals(scan for scan in scans if scan is not None)


def jobs_in(folder: Path, sites: Sequence[str | None] = SITES) -> list[Job]:
    folder.mkdir()
    jobs = []
    for number, name in enumerate(CASES):
        path = folder / f"{name}.nii.gz"
        nifti.write(head(100 + number, lesion=number % 2 == 0), path)
        case = Case(id=name, subject=name, image=path, site=sites[number % len(sites)])
        jobs.append(Job(case, name))
    return jobs


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[..., Made]:
    """A maker of runs of segment by the intensity floor, which needs no training; each once."""

    @cache
    def made(
        terms: Terms,
        *,
        method: type[SmoothedIntensity] = SmoothedIntensity,
        fill_holes: bool = False,
        by_site: bool = False,
        void: str = "",
        sites: Sequence[str | None] = SITES,
    ) -> Made:
        folder = tmp_path_factory.mktemp("made")
        options = ["cleanup.min_lesion_mm3=30.0", f"cleanup.fill_holes={json.dumps(fill_holes)}"]
        recipe = Recipe.load("floor", ["method.sigma_px=0.6", *options])
        recipe = replace(recipe, method=method(sigma_px=0.6))
        detector = Detector(recipe=recipe).save(folder / "model")
        normals = normals_of(detector)
        detector = detector.with_normals(normals, terms, by_site=by_site, void=void)
        detector.save_calibration(folder / "model")
        jobs, maps = jobs_in(folder / "scans", sites), folder / "maps"
        segmented(detector, jobs, maps)
        return Made(detector, jobs, maps, folder / "model")

    return made


@pytest.fixture
def make(made_once, tmp_path) -> Callable[..., Made]:
    """As `made_once`, in a copy that a test may change."""

    def made(terms: Terms, **options) -> Made:
        once = made_once(terms, **options)
        maps, model = tmp_path / "maps", tmp_path / "model"
        shutil.copytree(once.maps, maps)
        shutil.copytree(once.model, model)
        return once._replace(maps=maps, model=model)

    return made


@pytest.fixture
def run(make) -> Made:
    return make(Terms(alpha=0.1))


def segmented(detector: Detector, jobs: list[Job], out: Path) -> None:
    ended = segment_cohort(detector, jobs, out, resume=False, fdr=0.05, tell=lambda *_: None)
    assert ended.outcome.exit_code == 0


def options_of(terms: Terms, *, by_site: bool = False) -> list[str]:
    words = ["--rule", terms.rule, "--alpha", str(terms.alpha), "--share", str(terms.share)]
    words += ["--confidence", str(terms.confidence)] * (terms.rule == "tolerance")
    words += [] if terms.level is None else ["--level", str(terms.level)]
    words += [] if terms.min_lesion_mm3 is None else ["--min-lesion", str(terms.min_lesion_mm3)]
    return words + ["--by", "site"] * by_site


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def require_same_run(found: Path, expected: Path) -> None:
    """All files alike, byte for byte, but for when and how long; and for where from."""
    assert {path.name for path in found.iterdir()} == {path.name for path in expected.iterdir()}
    for path in sorted(expected.iterdir()):
        other = found / path.name
        if path.suffix == ".json":
            timed = {"seconds", "started", "maps"}
            one, two = (
                {k: v for k, v in json_of(p).items() if k not in timed} for p in (path, other)
            )
            assert two == one
        elif path.name == "results.tsv":
            one, two = ([{**row, "seconds": ""} for row in table(p)] for p in (path, other))
            assert two == one
        else:
            assert other.read_bytes() == path.read_bytes(), path.name


TERMS = [
    (Terms(alpha=0.3, min_lesion_mm3=0.0), False),
    (Terms(alpha=0.1), True),
    (Terms(alpha=0.1, min_lesion_mm3="normals"), False),
    (Terms(rule="percentile", alpha=0.02, min_lesion_mm3=200.0), False),
    (Terms(rule="fwe", alpha=0.2, share=0.02), True),
    (Terms(rule="fwe", alpha=0.1, level=1.2), False),
    (Terms(rule="tolerance", alpha=0.2, confidence=0.8), False),
]


# ---------------------------------------------------------------- as segment would have it


def test_the_scans_here_are_worth_a_threshold(run):
    """Masks that are empty, or all alike, would prove nothing below."""
    flagged = [float(row["flagged_ml"]) for row in table(run.maps / "results.tsv")]
    assert min(flagged) > 0
    assert len({*flagged}) == len(CASES)


@pytest.mark.parametrize(("terms", "by_site"), TERMS)
def test_other_terms_give_what_segmenting_with_them_gives(
    wholesight, run, tmp_path, terms, by_site
):
    ended = wholesight(
        "threshold", run.maps, *options_of(terms, by_site=by_site), "--out", tmp_path / "o"
    )
    assert ended.code == 0, ended.err
    normals = run.detector.normals
    anew = run.detector.with_normals(normals, terms, by_site=by_site)
    segmented(anew, run.jobs, tmp_path / "anew")
    require_same_run(tmp_path / "o", tmp_path / "anew")


@pytest.mark.parametrize(
    ("terms", "options"),
    [
        (Terms(alpha=0.1), {}),
        (Terms(alpha=0.1), {"by_site": True}),
        (Terms(alpha=0.2), {"fill_holes": True}),
        (Terms(rule="fwe", alpha=0.1, level=-0.1), {"method": Signed}),
        (
            Terms(rule="percentile", alpha=0.6),
            {"method": Signed, "fill_holes": True},
        ),
        (Terms(alpha=0.2), {"method": Rounded}),
        (Terms(rule="percentile", alpha=0.1), {"method": PerSlice}),
    ],
    ids=["plain", "by-site", "holes", "below-0", "below-0-and-holes", "zeros", "per-slice"],
)
def test_the_runs_own_terms_give_its_own_masks(wholesight, make, tmp_path, terms, options):
    run = make(terms, **options)
    words = options_of(terms, by_site="by_site" in options)
    ended = wholesight("threshold", run.maps, *words, "--out", tmp_path / "o")
    assert ended.code == 0, ended.err
    require_same_run(tmp_path / "o", run.maps)


def test_holes_are_there_to_be_filled(make, tmp_path):
    """Else the two tests with holes above would prove nothing."""
    run = make(Terms(alpha=0.2), fill_holes=True)
    level = run.detector.calibrated_threshold.value
    anomaly = nifti.read(run.maps / "c0_anomaly.nii.gz").voxels
    assert nifti.read_mask(run.maps / "c0_mask.nii.gz").voxels.sum() > (anomaly > level).sum()


# ---------------------------------------------------------------- zeros in the body


@pytest.mark.parametrize(
    ("fill_holes", "words"),
    [
        (False, ("--rule", "fwe", "--alpha", "0.1", "--level", "-0.5")),
        (True, ("--alpha", "0.2")),
    ],
    ids=["below-0", "holes"],
)
def test_what_cannot_be_told_from_outside_is_refused(wholesight, make, tmp_path, fill_holes, words):
    run = make(Terms(alpha=0.2), method=Rounded, fill_holes=fill_holes)
    ended = wholesight("threshold", run.maps, *words, "--out", tmp_path / "o")
    assert ended.code == 7
    codes = [row["code"] for row in table(tmp_path / "o" / "failures.tsv")]
    assert codes == ["E_BODY"] * len(CASES)


# ---------------------------------------------------------------- the maps


def test_the_maps_are_not_stored_twice_and_the_source_stays_as_it_was(wholesight, run, tmp_path):
    before = content(run.maps)
    out = tmp_path / "o"
    assert wholesight("threshold", run.maps, "--alpha", "0.2", "--out", out).code == 0
    assert content(run.maps) == before
    for name in CASES:
        linked, own = out / f"{name}_anomaly.nii.gz", run.maps / f"{name}_anomaly.nii.gz"
        assert linked.samefile(own)
    # Each folder stands by itself.
    kept = content(out)
    shutil.rmtree(run.maps)
    assert wholesight("threshold", out, "--alpha", "0.2", "--out", tmp_path / "again").code == 0
    assert content(out) == kept
    require_same_run(tmp_path / "again", out)


@pytest.mark.parametrize("why", ["no links here", "a link itself"])
def test_maps_are_copied_where_they_cannot_be_linked(wholesight, run, tmp_path, monkeypatch, why):
    if why == "no links here":

        def refuse(*_):
            raise OSError("another file system")

        monkeypatch.setattr(os, "link", refuse)
    else:
        stored = tmp_path / "annex"
        stored.mkdir()
        for path in sorted(run.maps.glob("*_anomaly.nii.gz")):
            shutil.move(path, stored / path.name)
            path.symlink_to(Path("..") / "annex" / path.name)
    out = tmp_path / "deeper" / "o"
    assert wholesight("threshold", run.maps, "--alpha", "0.1", "--out", out).code == 0
    for name in CASES:
        copied, own = out / f"{name}_anomaly.nii.gz", run.maps / f"{name}_anomaly.nii.gz"
        assert not copied.is_symlink()
        assert not copied.samefile(own)
        assert copied.read_bytes() == own.read_bytes()


@pytest.mark.slow
def test_evaluate_judges_maps_and_masks_of_it(wholesight, heads, model, tmp_path):
    maps, out, report = tmp_path / "maps", tmp_path / "o", tmp_path / "report"
    assert wholesight("segment", model, heads, "--subset", "test", "--out", maps).code == 0
    words = ("--rule", "percentile", "--alpha", "0.3")
    assert wholesight("threshold", maps, *words, "--out", out).code == 0
    ended = wholesight("evaluate", out, heads, "--out", report)
    assert ended.code == 0, ended.err
    found = json_of(report / "metrics.json")["figures"]["quick"]
    assert found["auroc"]["mean"] is not None  # of the maps
    assert found["flagged_share"]["mean"] is not None  # of the masks


# ---------------------------------------------------------------- what fails, and the rest goes on


def without_map(maps: Path) -> None:
    (maps / "c1_anomaly.nii.gz").unlink()


def other_map(maps: Path) -> None:
    shutil.copy(maps / "c0_anomaly.nii.gz", maps / "c1_anomaly.nii.gz")


def cut_map(maps: Path) -> None:
    path = maps / "c1_anomaly.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])


def without_record(maps: Path) -> None:
    (maps / "c1.json").unlink()


def broken_record(maps: Path) -> None:
    (maps / "c1.json").write_text("{")


def poor_record(maps: Path) -> None:
    record = json_of(maps / "c1.json")
    (maps / "c1.json").write_text(json.dumps({k: record[k] for k in ("model", "outputs")}))


def record_of_another_model(maps: Path) -> None:
    (maps / "c1.json").write_text(json.dumps({**json_of(maps / "c1.json"), "model": "other"}))


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (without_map, "E_NOT_FOUND"),
        (other_map, "E_CHANGED"),
        (cut_map, "E_CHANGED"),
        (without_record, "E_NOT_FOUND"),
        (broken_record, "E_FORMAT"),
        (poor_record, "E_FORMAT"),
        (record_of_another_model, "E_FORMAT"),
    ],
)
def test_a_damaged_case_fails_and_the_rest_goes_on(wholesight, run, tmp_path, harm, code):
    harm(run.maps)
    out = tmp_path / "o"
    ended = wholesight("threshold", run.maps, "--alpha", "0.1", "--out", out)
    assert ended.code == 4
    assert "3 of 4 scans segmented, 1 failed" in ended.out
    assert [(row["case"], row["code"]) for row in table(out / "failures.tsv")] == [("c1", code)]
    assert [row["case"] for row in table(out / "results.tsv")] == ["c0", "c2", "c3"]
    assert not list(out.glob("c1*"))
    assert json_of(out / "run.json")["failed"] == 1


def test_a_scan_of_no_known_site_fails_alone(wholesight, make, tmp_path):
    run = make(Terms(alpha=0.1), sites=("north", None, "nroth", "south"))
    out = tmp_path / "o"
    words = ("--alpha", "0.1", "--by", "site", "--out", out)
    ended = wholesight("threshold", run.maps, *words)
    assert ended.code == 4
    failed = {row["case"]: row for row in table(out / "failures.tsv")}
    assert {row["code"] for row in failed.values()} == {"E_SITE"}
    assert "no site is named" in failed["c1"]["message"]
    assert "Did you mean 'north'" in failed["c2"]["message"]
    assert [row["case"] for row in table(out / "results.tsv")] == ["c0", "c3"]


def test_scans_that_have_no_map_are_counted(wholesight, run, tmp_path):
    path = run.maps / "run.json"
    path.write_text(json.dumps({**json_of(path), "scans": 6}))
    ended = wholesight("threshold", run.maps, "--alpha", "0.1", "--out", tmp_path / "o")
    assert "2 scans of" in ended.out
    assert "without a map" in ended.out


# ---------------------------------------------------------------- where the normals come from


def test_a_later_calibration_of_the_model_can_be_taken(wholesight, run, tmp_path):
    more = run.detector.with_normals(normals_of(run.detector, 40), Terms(alpha=0.1))
    more.save_calibration(run.model)
    words = ("--alpha", "0.05", "--normals", run.model)
    assert wholesight("threshold", run.maps, *words, "--out", tmp_path / "o").code == 0
    anew = run.detector.with_normals(normals_of(run.detector, 40), Terms(alpha=0.05))
    segmented(anew, run.jobs, tmp_path / "anew")
    require_same_run(tmp_path / "o", tmp_path / "anew")
    assert json_of(tmp_path / "o" / "c0.json")["normal_subjects"] == 40


def forget(maps: Path) -> None:
    (maps / "normals.safetensors").unlink()
    run = json_of(maps / "run.json")
    (maps / "run.json").write_text(json.dumps({**run, "normals": None}))


def lose(maps: Path) -> None:
    (maps / "normals.safetensors").unlink()


def spoil(maps: Path) -> None:
    path = maps / "normals.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)


@pytest.mark.parametrize("harm", [forget, lose, spoil])
def test_a_run_without_its_normals_takes_those_of_its_model(wholesight, run, tmp_path, harm):
    kept = tmp_path / "kept"
    shutil.copytree(run.maps, kept)
    harm(run.maps)
    words = ("threshold", run.maps, "--alpha", "0.1", "--out", tmp_path / "o")
    ended = wholesight(*words)
    assert ended.code == 3
    assert "--normals MODEL" in ended.err
    assert not (tmp_path / "o").exists()
    assert wholesight(*words, "--normals", run.model).code == 0
    require_same_run(tmp_path / "o", kept)


def test_the_normals_of_another_model_are_refused(wholesight, run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run.model, other)
    record = json_of(other / "record.json")
    (other / "record.json").write_text(json.dumps({**record, "digest": "another"}))
    words = ("threshold", run.maps, "--alpha", "0.1", "--out", tmp_path / "o", "--normals")
    for place, why in ((other, "is model another"), (tmp_path, "no model folder")):
        ended = wholesight(*words, place)
        assert ended.code == 6
        assert why in ended.err
    (run.model / "threshold.json").unlink()
    ended = wholesight(*words, run.model)
    assert ended.code == 6
    assert "not calibrated" in ended.err


# ---------------------------------------------------------------- what is refused


def test_a_promise_that_was_void_stays_void(wholesight, make, tmp_path):
    """Also where the run's own rule promised nothing anyway."""
    void = "All of the calibration subjects served the training."
    run = make(Terms(rule="percentile", alpha=0.1), void=void)
    for number, words in enumerate([(), ("--normals", run.model)]):
        out = tmp_path / f"o{number}"
        ended = wholesight("threshold", run.maps, "--alpha", "0.1", *words, "--out", out)
        assert void in ended.out
        threshold = json_of(out / "run.json")["threshold"]
        assert threshold["rule"] == "crc"
        assert threshold["guarantee"] == "none"
        assert threshold["doubts"] == [void]
    # From there on too.
    again = wholesight("threshold", tmp_path / "o0", "--alpha", "0.1", "--out", tmp_path / "p")
    assert void in again.out


def test_no_promise_on_maps_that_are_scaled_slice_by_slice(wholesight, make, tmp_path):
    run = make(Terms(rule="percentile", alpha=0.1), method=PerSlice)
    for rule in ("crc", "fwe", "tolerance"):
        words = ("--rule", rule, "--alpha", "0.3", "--out", tmp_path / "o")
        ended = wholesight("threshold", run.maps, *words)
        assert ended.code == 2
        assert "scales the map of every slice" in ended.err
    words = ("--rule", "percentile", "--alpha", "0.2", "--out", tmp_path / "o")
    assert wholesight("threshold", run.maps, *words).code == 0
    record = json_of(tmp_path / "o" / "c0.json")
    assert record["p_value"] is None
    assert "N_NO_P" in [note["code"] for note in record["notes"]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--alpha", "0.01"), "needs 99 calibration subjects, there are 24"),
        (("--alpha", "0.05", "--by", "site"), "needs 19 calibration subjects, there are 12"),
        (("--alpha", "1.5"), "--alpha 1.5"),
        (("--alpha", "0.1", "--min-lesion", "-3"), "--min-lesion -3"),
        (("--alpha", "0.1", "--min-lesion", "small"), "--min-lesion small"),
        (("--alpha", "0.1", "--level", "1"), "--level is of the rule fwe"),
        (("--alpha", "0.1", "--fdr", "0"), "--fdr 0"),
        (("--rule", "fixed"), "scaled to 0..1"),
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
    words = ("threshold", run.maps, "--alpha", "0.1", "--out")
    assert wholesight(*words, out).code == 0
    for place in (out, run.maps):
        before = content(place)
        ended = wholesight(*words, place)
        assert ended.code == 2
        assert "nothing is written over" in ended.err
        assert content(place) == before


def test_what_is_no_run_of_ours_is_refused(wholesight, run, tmp_path):
    words = ("--alpha", "0.1", "--out", tmp_path / "o")

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
    (run.maps / "results.tsv").write_text(kept.replace("c1", "../c1"))
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

    def write(volume: Volume, path: Path) -> None:
        written.append(path)
        if len(written) == 3:
            assert len(list(out.glob("*.json"))) == 2
            raise stop
        nifti.write(volume, path)

    monkeypatch.setattr("wholesight.cohort.rethreshold.write", write)
    ended = wholesight("threshold", run.maps, "--alpha", "0.1", "--out", out)
    assert ended.code == code
    assert len(written) == 3
    assert out.exists() is was_there
    assert not list(out.glob("*"))
    monkeypatch.undo()
