"""Judging maps of other tools: plain files, on a suite's terms, and what a user gets wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wholesight.calibration import Terms
from wholesight.cohort.run_file import asked_alike
from wholesight.datasets import open_dataset
from wholesight.io import nifti, reading

SUITE = """
summary: terms
question: which?
reference: floor
methods: [floor]
slices: [3, 8]
exclude: {min_lesion_share: 0.02}
subset: validation
alpha: 0.1
"""


@pytest.fixture
def theirs(heads, tmp_path) -> Path:
    """Maps as another tool would leave them: the brightness of every scan that can be judged."""
    folder = tmp_path / "other tool"
    folder.mkdir()
    for case in open_dataset(heads).cases:
        if case.split in ("test", "validation"):
            image = reading.read_image(case.image)
            nifti.write(image.like(image.voxels.astype(np.float32)), folder / f"{case.id}.nii.gz")
    return folder


def told(report: Path) -> dict:
    return json.loads((report / "metrics.json").read_text())


@pytest.mark.slow
def test_maps_of_another_tool_are_judged_and_nothing_is_written_over(
    wholesight, heads, theirs, tmp_path
):
    out = tmp_path / "out"
    ended = wholesight("evaluate", theirs, heads, "--out", out)
    assert ended.code == 0, ended.err
    assert "other tool: maps alone, so there is no mask to judge" in " ".join(ended.out.split())
    assert list(told(out)["deployable"]) == ["other tool", "intensity floor"]
    page = (out / "report.html").read_text()
    assert page.count(">untrained<") < page.count("intensity floor")
    before = (out / "metrics.json").read_bytes()
    again = wholesight("evaluate", theirs, heads, "--out", out)
    assert again.code == 2
    assert "nothing is written over" in again.err
    assert (out / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_a_suite_s_terms_hold_for_other_tools(wholesight, heads, theirs, tmp_path):
    """Its subjects, slices, exclusions and alpha; maps of the whole grid are cut as scans are."""
    (tmp_path / "terms.yaml").write_text(SUITE)
    terms = ("--suite", tmp_path / "terms.yaml")
    ended = wholesight("evaluate", theirs, heads, *terms, "--out", tmp_path / "on-terms")
    assert ended.code == 0, ended.err
    on_terms = told(tmp_path / "on-terms")
    plain = tmp_path / "plain"
    wholesight("evaluate", theirs, heads, "--subset", "validation", "--out", plain)
    everything = told(plain)
    judged = {row["case"] for row in on_terms["cases"]}
    left_out = {each["case"] for each in on_terms["exclusions"]}
    assert left_out
    assert judged | left_out == {row["case"] for row in everything["cases"]}
    assert all("under 2.000%" in each["reason"] for each in on_terms["exclusions"])
    share = on_terms["counts"]["body_voxels"] / everything["counts"]["body_voxels"]
    assert 0 < share < 0.9
    assert on_terms["facts"]["slices"] == "3 to 8, counted from 0"
    assert "90 %" in on_terms["thresholds"]["intensity floor"]


FOLDED = SUITE.replace("subset: validation", "folds: {number: 2, calibration: 3}").replace(
    "exclude: {min_lesion_share: 0.02}\n", ""
)


@pytest.mark.slow
def test_on_the_terms_of_folds_all_subjects_are_judged(wholesight, heads, theirs, tmp_path):
    """And the floor has a threshold in each fold, from subjects that are judged in the other."""
    (tmp_path / "folded.yaml").write_text(FOLDED)
    line = ("evaluate", theirs, heads, "--suite", tmp_path / "folded.yaml", "--out")
    ended = wholesight(*line, tmp_path / "too few")
    assert ended.code == 3, ended.out
    for case in open_dataset(heads).cases:
        image = reading.read_image(case.image)
        nifti.write(image.like(image.voxels.astype(np.float32)), theirs / f"{case.id}.nii.gz")
    ended = wholesight(*line, tmp_path / "out")
    assert ended.code == 0, ended.err
    found = told(tmp_path / "out")
    assert {row["subject"] for row in found["cases"]} == {
        case.subject for case in open_dataset(heads).cases
    }
    assert found["facts"]["subset"] == "all subjects in 2 folds"
    assert "one a fold, 2 in all" in found["thresholds"]["intensity floor"]
    said = " ".join(found["statements"])
    assert "with a threshold from 3 calibration subjects of each fold's own" in said


def test_with_folds_evaluate_has_no_subset(wholesight, heads, theirs, tmp_path):
    (tmp_path / "folded.yaml").write_text(FOLDED)
    terms = ("--suite", tmp_path / "folded.yaml", "--subset", "test")
    ended = wholesight("evaluate", theirs, heads, *terms, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "judges all subjects, in 2 folds. Leave out --subset" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_mask_that_is_missing_is_named(wholesight, heads, theirs, tmp_path):
    tests = [case for case in open_dataset(heads).cases if case.split == "test"]
    for case in tests:
        (theirs / f"{case.id}.nii.gz").rename(theirs / f"{case.id}_anomaly.nii.gz")
    image = reading.read_image(tests[0].image)
    nifti.write(image.like(image.voxels > 0), theirs / f"{tests[0].id}_mask.nii.gz")
    ended = wholesight("evaluate", theirs, heads, "--out", tmp_path / "out")
    assert ended.code == 3
    assert f"case {tests[1].id} has a map and no mask" in ended.err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- the floor beside runs of ours

# What run.json said of a threshold before there were promises.
OLD = {
    "value": 0.5,
    "rule": "percentile",
    "alpha": 0.1,
    "subjects": 2,
    "slices": 20,
    "voxels": 999,
    "statement": "percentile: 90 % lie below.",
}


def ours(theirs: Path, **told: object) -> Path:
    """Let run.json say that `wholesight segment` wrote these maps."""
    run = {"wholesight": "0.1.0", "recipe": "quick", "model": "0123", **told}
    (theirs / "run.json").write_text(json.dumps(run))
    return theirs


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"rule": "percentile", "alpha": 0.1}),
        ({"rule": "crc", "min_lesion_mm3": 100.0}, {"rule": "crc", "alpha": 0.1}),
        ({"rule": "fwe", "share": 0.02}, {"rule": "fwe", "alpha": 0.1, "share": 0.02}),
        (
            {"rule": "tolerance", "confidence": 0.9, "share": 0.0, "min_lesion_mm3": 100.0},
            {"rule": "tolerance", "alpha": 0.1, "confidence": 0.9, "min_lesion_mm3": 100.0},
        ),
        # A value in the unit of the maps: what the user asks for stands in.
        ({"rule": "fixed", "alpha": None}, {"rule": "percentile", "alpha": 0.3}),
        ({"rule": "fwe", "share": None}, {"rule": "percentile", "alpha": 0.3}),
    ],
)
def test_the_floor_s_threshold_is_asked_for_as_the_run_s_was(change, options):
    asked = asked_alike({"threshold": {**OLD, **change}}, alpha=0.3)
    assert asked.terms == Terms(**options)
    assert bool(asked.why) == (options["alpha"] == 0.3)
    assert asked_alike({}, alpha=0.3) == (Terms(rule="percentile", alpha=0.3), "")


@pytest.mark.parametrize(
    ("change", "floor", "note"),
    [
        ({"rule": "crc", "alpha": 0.4}, "crc: on average at most 40 %", None),
        (
            {"rule": "crc", "alpha": 0.05},
            "percentile: at least 95 %",
            "The percentile stands in: crc at alpha 0.05 needs 19 calibration subjects, there are",
        ),
        (
            {"rule": "fixed", "alpha": None},
            "percentile: at least 80 %",
            "fixed set a value in the unit of the maps, which means nothing on",
        ),
    ],
)
def test_the_floor_is_thresholded_as_the_run_was_as_far_as_it_can_be(
    wholesight, heads, theirs, tmp_path, change, floor, note
):
    folder = ours(theirs, threshold={**OLD, "doubts": ["It is far."], **change})
    ended = wholesight("evaluate", folder, heads, "--alpha", "0.2", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    found = told(tmp_path / "out")
    assert floor in found["thresholds"]["intensity floor"]
    assert found["facts"].get("alpha") == (str(change["alpha"]) if change["alpha"] else None)
    for said in (" ".join(ended.out.split()), (tmp_path / "out" / "report.html").read_text()):
        assert (f"intensity floor: {note}" if note else "") in said
        assert ("percentile stands in" in said) == bool(note)
        assert "quick: It is far." in said


def test_of_a_run_by_site_every_site_is_told(wholesight, heads, theirs, tmp_path):
    each = {"A": {**OLD, "alpha": 0.4, "rule": "crc"}, "B": {**OLD, "subjects": 5}}
    folder = ours(theirs, by_site=each)
    ended = wholesight("evaluate", folder, heads, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    found = told(tmp_path / "out")
    assert found["facts"]["subjects"] == "2 (A), 5 (B)"
    assert "B: percentile: 90 % lie below." in found["thresholds"]["quick"]
    (folder / "run.json").unlink()
    damaged = ours(folder, by_site={**each, "B": {"rule": "guess"}})
    assert wholesight("evaluate", damaged, heads, "--out", tmp_path / "no").code == 3
