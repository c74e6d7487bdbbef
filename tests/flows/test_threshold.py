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
from wholesight.io import nifti, reading
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


def normals_of(detector: Detector, count: int) -> Normals:
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
        subjects: int = 24,
    ) -> Made:
        folder = tmp_path_factory.mktemp("made")
        options = ["cleanup.min_lesion_mm3=30.0", f"cleanup.fill_holes={json.dumps(fill_holes)}"]
        recipe = Recipe.load("floor", ["method.sigma_px=0.6", *options])
        recipe = replace(recipe, method=method(sigma_px=0.6))
        detector = Detector(recipe=recipe).save(folder / "model")
        normals = normals_of(detector, subjects)
        detector = detector.with_normals(normals, terms, by_site=by_site, void=void)
        detector.save_calibration(folder / "model")
        jobs, maps = jobs_in(folder / "scans", sites), folder / "maps"
        segmented(detector, jobs, maps)
        return Made(detector, jobs, maps, folder / "model")

    return made


@pytest.fixture
def run(made_once, tmp_path) -> Made:
    """A copy of a run, which a test may change."""
    once = made_once(Terms(alpha=0.1))
    maps, model = tmp_path / "maps", tmp_path / "model"
    shutil.copytree(once.maps, maps)
    shutil.copytree(once.model, model)
    return once._replace(maps=maps, model=model)


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


# ---------------------------------------------------------------- as segment would have it


def test_the_scans_here_are_worth_a_threshold(run, made_once):
    """Masks that are empty, or all alike, or without holes, would prove nothing below."""
    flagged = [float(row["flagged_ml"]) for row in table(run.maps / "results.tsv")]
    assert min(flagged) > 0
    assert len({*flagged}) == len(CASES)
    holes = made_once(Terms(alpha=0.2), fill_holes=True, subjects=10)
    level = holes.detector.calibrated_threshold.value
    anomaly = nifti.read(holes.maps / "c0_anomaly.nii.gz").voxels
    assert reading.read_mask(holes.maps / "c0_mask.nii.gz").voxels.sum() > (anomaly > level).sum()


@pytest.mark.parametrize(
    ("terms", "by_site"),
    [
        (Terms(alpha=0.1), False),  # its own
        (Terms(alpha=0.3, min_lesion_mm3=0.0), False),
        (Terms(alpha=0.1), True),
        (Terms(alpha=0.1, min_lesion_mm3="normals"), False),
        (Terms(rule="percentile", alpha=0.02, min_lesion_mm3=200.0), False),
        (Terms(rule="fwe", alpha=0.2, share=0.02), True),
        (Terms(rule="fwe", alpha=0.1, level=1.2), False),
        (Terms(rule="tolerance", alpha=0.2, confidence=0.8), False),
    ],
)
def test_other_terms_give_what_segmenting_with_them_gives(
    wholesight, made_once, tmp_path, terms, by_site
):
    run = made_once(Terms(alpha=0.1))
    words = options_of(terms, by_site=by_site)
    ended = wholesight("threshold", run.maps, *words, "--out", tmp_path / "o")
    assert ended.code == 0, ended.err
    anew = run.detector.with_normals(run.detector.normals, terms, by_site=by_site)
    segmented(anew, run.jobs, tmp_path / "anew")
    require_same_run(tmp_path / "o", tmp_path / "anew")


@pytest.mark.parametrize(
    ("terms", "options"),
    [
        (Terms(alpha=0.3), {"by_site": True}),
        (Terms(alpha=0.2), {"fill_holes": True}),
        (Terms(rule="fwe", alpha=0.1, level=-0.1), {"method": Signed}),
        (Terms(rule="percentile", alpha=0.6), {"method": Signed, "fill_holes": True}),
        (Terms(alpha=0.2), {"method": Rounded}),
        (Terms(rule="percentile", alpha=0.1), {"method": PerSlice}),
    ],
    ids=["by-site", "holes", "below-0", "below-0-and-holes", "zeros", "per-slice"],
)
def test_the_runs_own_terms_give_its_own_masks(wholesight, made_once, tmp_path, terms, options):
    run = made_once(terms, **options, subjects=10)
    words = options_of(terms, by_site="by_site" in options)
    ended = wholesight("threshold", run.maps, *words, "--out", tmp_path / "o")
    assert ended.code == 0, ended.err
    require_same_run(tmp_path / "o", run.maps)


# ---------------------------------------------------------------- zeros in the body


@pytest.mark.parametrize(
    ("fill_holes", "words"),
    [
        (False, ("--rule", "fwe", "--alpha", "0.1", "--level", "-0.5")),
        (True, ("--alpha", "0.2")),
    ],
    ids=["below-0", "holes"],
)
def test_what_cannot_be_told_from_outside_is_refused(
    wholesight, made_once, tmp_path, fill_holes, words
):
    run = made_once(Terms(alpha=0.2), method=Rounded, fill_holes=fill_holes, subjects=10)
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


# ---------------------------------------------------------------- what fails, and the rest goes on


def test_a_scan_of_no_known_site_fails_alone(wholesight, made_once, tmp_path):
    run = made_once(Terms(alpha=0.1), sites=("north", None, "nroth", "south"))
    out = tmp_path / "o"
    words = ("--alpha", "0.1", "--by", "site", "--out", out)
    ended = wholesight("threshold", run.maps, *words)
    assert ended.code == 4
    failed = {row["case"]: row for row in table(out / "failures.tsv")}
    assert {row["code"] for row in failed.values()} == {"E_SITE"}
    assert "no site is named" in failed["c1"]["message"]
    assert "Did you mean 'north'" in failed["c2"]["message"]
    assert [row["case"] for row in table(out / "results.tsv")] == ["c0", "c3"]


# ---------------------------------------------------------------- where the normals come from


def test_a_later_calibration_of_the_model_can_be_taken(wholesight, run, tmp_path):
    later = run.detector.with_normals(normals_of(run.detector, 19), Terms(alpha=0.05))
    later.save_calibration(run.model)
    words = ("--alpha", "0.05", "--normals", run.model)
    assert wholesight("threshold", run.maps, *words, "--out", tmp_path / "o").code == 0
    segmented(later, run.jobs, tmp_path / "anew")
    require_same_run(tmp_path / "o", tmp_path / "anew")
    assert json_of(tmp_path / "o" / "c0.json")["normal_subjects"] == 19


# ---------------------------------------------------------------- what is refused


def test_a_promise_that_was_void_stays_void(wholesight, made_once, tmp_path):
    """Also where the run's own rule promised nothing anyway."""
    void = "All of the calibration subjects served the training."
    run = made_once(Terms(rule="percentile", alpha=0.1), void=void, subjects=10)
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


def test_no_promise_on_maps_that_are_scaled_slice_by_slice(wholesight, made_once, tmp_path):
    run = made_once(Terms(rule="percentile", alpha=0.1), method=PerSlice, subjects=10)
    for rule in ("crc", "fwe", "tolerance"):
        words = ("--rule", rule, "--alpha", "0.3", "--out", tmp_path / "o")
        ended = wholesight("threshold", run.maps, *words)
        assert ended.code == 2
        assert "scales the map of every slice" in ended.err
    words = ("--rule", "percentile", "--alpha", "0.2", "--out", tmp_path / "o")
    assert wholesight("threshold", run.maps, *words).code == 0
    for folder in (run.maps, tmp_path / "o"):
        record = json_of(folder / "c0.json")
        assert (record["score"], record["p_value"]) == (None, None)
        said = {note["code"]: note["text"] for note in record["notes"]}
        assert "scales the map of every slice by itself" in said["N_NO_P"]
