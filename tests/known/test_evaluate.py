"""Evaluation of four small heads whose figures can be worked out by hand."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from wholesight.benchmark.judge import stored
from wholesight.benchmark.judge.evaluate import Evaluation, Scored, evaluate
from wholesight.benchmark.judge.strata import size_names, strata_of
from wholesight.benchmark.judge.thumbnail import LIMIT_PX, thumbnail
from wholesight.errors import InputError
from wholesight.metrics.ranking import Steps
from wholesight.metrics.tally import Tally

SHAPE = (20, 24, 3)
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])


def heads(*, masked: bool = True, noise: float = 0.0, bar: float = 0.5) -> Iterator[Scored]:
    """Two lesions, one normal and silent, one normal with four false flags of its 320 pixels."""
    rng = np.random.default_rng(0)
    for number in range(4):
        inside, truth = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        inside[2:18, 2:22, 1] = True
        truth[4:8, 4:8, 1] = number < 2
        image = inside * rng.uniform(50, 100, SHAPE) + 40 * truth
        scores = truth + noise * rng.normal(size=SHAPE)
        if number == 3:
            scores[10:12, 10:12, 1] = 1.0
        scores[~inside] = 0.0
        yield Scored(
            case=f"head-{number}",
            subject=f"s{number // 2}",
            image=image,
            body=inside,
            inside=inside,
            truth=truth,
            map=scores,
            mask=(scores > bar) & inside if masked else None,
            axis=2,
            affine=AFFINE,
            site="here" if number else "there",
        )


@pytest.fixture(scope="module")
def detector() -> Evaluation:
    return evaluate("detector", heads(), threshold_note="fixed 0.5")


@pytest.fixture(scope="module")
def floor() -> Evaluation:
    return evaluate("floor", heads(masked=False, noise=1.0), threshold_note="none")


def test_figures_of_the_set_by_hand(detector: Evaluation) -> None:
    of_set = detector.deployable["set"]
    assert of_set["sensitivity"] == 1.0
    assert of_set["precision"] == pytest.approx(32 / 36)
    assert of_set["dice"] == pytest.approx(64 / 68)
    assert of_set["iou"] == pytest.approx(32 / 36)
    assert of_set["average_precision"] == pytest.approx(32 / 36)
    assert of_set["flagged_share"] == pytest.approx(4 / (4 * 320 - 32))
    assert of_set["normal_scan_flagged"] == pytest.approx((0 + 4 / 320) / 2)
    assert of_set["lesion_sensitivity"] == 1.0
    assert of_set["lesion_precision"] == pytest.approx(2 / 3)
    assert of_set["false_lesions"] == pytest.approx(1 / 4)
    assert of_set["volume_error_ml"] == pytest.approx(4 * 0.01 / 4)
    assert detector.oracle["set"] == {
        "best_dice": pytest.approx(64 / 68),
        "lesion_sensitivity_at_1": 1.0,
    }
    assert detector.oracle["threshold"] == 1.0
    assert detector.prevalence == pytest.approx(32 / 1280)
    assert detector.operating_point == (
        1.0,
        pytest.approx(32 / 36),
        pytest.approx(4 / 1248),
        pytest.approx(1 / 4),
        1.0,
    )
    assert detector.ranking_error == {"exact": True, "auroc": 0.0, "average_precision": 0.0}
    assert detector.map_range == (0.0, 1.0)


def test_scans_are_ranked_by_their_oddest_pixels(detector: Evaluation) -> None:
    """3 of 320 pixels are the oddest 1 %: all 1 with a lesion, and in the noisy normal head too."""
    assert [row["scan_score"] for row in detector.rows] == [1.0, 1.0, 0.0, 1.0]
    # Each lesion beats the silent head and ties with the noisy one.
    assert detector.deployable["set"]["case_auroc"] == pytest.approx(0.75)


def test_all_pixels_count_beside_the_body(detector: Evaluation, floor: Evaluation) -> None:
    """Air is easy: the same Dice, a far higher AUROC, and it never ranks above a noisy brain."""
    assert detector.deployable["all_pixels"]["dice"] == detector.deployable["set"]["dice"]
    everything = 4 * np.prod(SHAPE)
    assert detector.deployable["all_pixels"]["flagged_share"] == pytest.approx(
        4 / (everything - 32)
    )
    inside, beside = (floor.deployable[part]["auroc"] for part in ("set", "all_pixels"))
    body, air = 1280 - 32, everything - 1280
    assert beside == pytest.approx((inside * body + air) / (body + air))
    assert "lesion_f1" not in detector.deployable["all_pixels"]
    assert "hd95_mm" not in detector.deployable["all_pixels"]
    assert detector.rows[3]["dice_all_pixels"] == 0.0


def test_what_others_say_outside_the_body_counts_over_all_pixels() -> None:
    def spoken() -> Iterator[Scored]:
        for scored in heads():
            loud = scored.map.copy()
            loud[0, 0, 0] = 9.0
            mask = scored.mask.copy()
            mask[0, 0, 0] = True
            yield scored._replace(map=loud, mask=mask)

    judged = evaluate("loud", spoken(), threshold_note="")
    assert judged.deployable["set"]["precision"] == pytest.approx(32 / 36)
    assert judged.deployable["all_pixels"]["precision"] == pytest.approx(32 / 40)
    assert judged.deployable["all_pixels"]["average_precision"] < 32 / 38


def loud(scored: Scored) -> Scored:
    """One voxel of air has the highest score."""
    scores = scored.map.copy()
    scores[0, 0, 0] = 9.0
    return scored._replace(map=scores, mask=None)


def dim(scored: Scored) -> Scored:
    """Say 0 of a pixel of the body that is not judged, and less of the pixels that are."""
    body = scored.body.copy()
    body[0, 0, 0] = True
    scores = np.where(scored.inside, scored.map - 5, scored.map)
    return scored._replace(body=body, map=scores, mask=None)


@pytest.mark.parametrize("spoken", [loud, dim])
def test_a_map_without_masks_counts_where_it_speaks(spoken) -> None:
    """Over all pixels, four of them rank first though no lesion is there."""
    judged = evaluate("m", map(spoken, heads()), threshold_note="")
    assert judged.deployable["set"]["average_precision"] == pytest.approx(32 / 36)
    assert judged.deployable["all_pixels"]["average_precision"] == pytest.approx(32 / 40)


def test_masks_without_a_map_count_where_they_flag() -> None:
    def flagged(scored: Scored) -> Scored:
        mask = scored.mask.copy()
        mask[0, 0, 0] = True
        return scored._replace(map=None, mask=mask)

    judged = evaluate("m", map(flagged, heads()), threshold_note="")
    assert judged.deployable["set"]["precision"] == pytest.approx(32 / 36)
    assert judged.deployable["all_pixels"]["precision"] == pytest.approx(32 / 40)


def test_silence_has_no_precision_to_draw_and_the_worst_distance() -> None:
    silent = (scored._replace(mask=np.zeros(SHAPE, bool)) for scored in heads())
    judged = evaluate("m", silent, threshold_note="")
    diagonal_mm = np.linalg.norm([16, 2 * 20, 5])  # of the body, not of the grid
    assert judged.deployable["set"]["hd95_mm"] == pytest.approx(diagonal_mm)
    assert judged.deployable["set"]["precision"] == 0.0
    assert judged.operating_point is not None
    assert (judged.operating_point.precision, judged.operating_point.recall) == (None, 0.0)


def test_empty_cases_are_counted_and_left_out(detector: Evaluation) -> None:
    dice = detector.deployable["per_case"]["dice"]
    assert dice == {"mean": pytest.approx(2 / 3), "median": 1.0, "defined": 3, "undefined": 1}
    assert [row["dice"] for row in detector.rows] == [1.0, 1.0, None, 0.0]
    assert [row["auroc"] for row in detector.rows] == [1.0, 1.0, None, None]
    assert detector.deployable["per_case"]["auroc"]["undefined"] == 2
    assert detector.counts["cases"] == 4
    assert detector.counts["subjects"] == 2
    assert detector.counts["lesions"] == 2
    assert detector.counts["cases_without_lesion"] == 2
    assert detector.counts["cases_without_lesion_and_flag"] == 1


def test_lesions_have_volume_contrast_and_fate(detector: Evaluation, floor: Evaluation) -> None:
    assert detector.rows[0]["lesion_ml"] == pytest.approx(16 * 10 / 1000)
    assert detector.rows[0]["lesion_contrast"] > 1
    assert detector.rows[2]["lesion_contrast"] is None
    first, second = detector.lesions
    assert (first["case"], second["case"]) == ("head-0", "head-1")
    assert first["volume_ml"] == pytest.approx(0.16)
    assert (first["flagged_share"], first["found"]) == (1.0, True)
    assert [lesion["found"] for lesion in floor.lesions] == [None, None]


def test_strata_are_figures_of_a_part(detector: Evaluation) -> None:
    assert set(detector.strata) == {"lesion size", "site"}  # every lesion is brighter
    sizes = detector.strata["lesion size"]
    assert list(sizes) == ["no lesion", "under 1 ml"]
    assert sizes["under 1 ml"]["cases"] == 2
    assert sizes["under 1 ml"]["figures"]["dice"] == 1.0
    assert sizes["no lesion"]["figures"]["dice"] == 0.0
    assert sizes["no lesion"]["figures"]["auroc"] is None
    assert {name: site["cases"] for name, site in detector.strata["site"].items()} == {
        "here": 3,
        "there": 1,
    }


def test_strata_begin_where_their_names_say(detector: Evaluation) -> None:
    of_cases = [(0.0, None), (0.9, -0.1), (1.0, 0.1), (10.0, 0.1), (50.0, 2.0)]
    rows = [
        {"lesion_voxels": int(ml > 0), "lesion_ml": ml, "lesion_contrast": contrast, "site": None}
        for ml, contrast in of_cases
    ]
    tally = replace(detector.tally, subjects=tuple("abcde"), steps=None, regions=None)
    alone = np.zeros((5, 1), int)
    tally = replace(
        tally,
        overlap=None,
        lesions=None,
        froc_found=None,
        froc_false=None,
        lesion_number=alone[:, 0],
        scan_score=alone[:, 0].astype(float),
        cases={name: alone[:, 0].astype(float) for name in tally.cases},
    )
    found = strata_of(tally, rows)
    numbers = {kind: {n: s["cases"] for n, s in strata.items()} for kind, strata in found.items()}
    assert numbers["lesion size"] == dict.fromkeys(size_names(), 1)
    assert numbers["contrast"] == {"brighter": 3, "darker": 1}


@pytest.mark.parametrize(("voxels", "near"), [(1, True), (2, False)])
def test_surfaces_may_differ_by_two_millimetres(voxels: int, near: bool) -> None:
    """Along j a voxel is 2 mm: a mask one voxel off is within the tolerance, two off is not."""
    off = [scored._replace(mask=np.roll(scored.truth, voxels, axis=1)) for scored in heads()]
    judged = evaluate("off", off[:2], threshold_note="")
    assert (judged.deployable["set"]["surface_dice"] == 1.0) == near


def test_a_method_without_threshold_has_no_deployed_figures(floor: Evaluation) -> None:
    for name in ("dice", "sensitivity", "precision", "flagged_share", "lesion_f1", "hd95_mm"):
        assert floor.deployable["set"][name] is None
    assert 0.5 < floor.deployable["set"]["auroc"] < 1
    assert floor.operating_point is None


def test_masks_alone_have_no_ranking() -> None:
    bare = (scored._replace(map=None) for scored in heads())
    judged = evaluate("masks", bare, threshold_note="")
    assert judged.deployable["set"]["dice"] == pytest.approx(64 / 68)
    assert judged.deployable["set"]["auroc"] is None
    assert judged.deployable["set"]["case_auroc"] is None
    assert judged.oracle["set"] == {"best_dice": None, "lesion_sensitivity_at_1": None}
    assert judged.oracle["threshold"] is None
    assert judged.pr.x.size == judged.roc.x.size == judged.froc.sensitivity.size == 0


def test_a_body_that_is_empty_breaks_nothing() -> None:
    """Erosion can leave nothing of a small body, and then of the only case."""
    bodiless = [next(heads())._replace(inside=np.zeros(SHAPE, bool))]
    judged = evaluate("d", bodiless, threshold_note="")
    assert judged.counts["cases_without_body"] == 1
    assert judged.deployable["set"]["dice"] is None
    assert judged.prevalence is None


def test_volumes_do_not_stay_in_memory() -> None:
    seen = []

    def watched() -> Iterator[Scored]:
        for scored in heads():
            seen.extend(weakref.ref(array) for array in (scored.image, scored.map, scored.truth))
            yield scored

    kept = evaluate("d", watched(), threshold_note="")
    assert len(kept.thumbnails) == 4
    assert [alive for alive in seen if alive() is not None] == []


def test_no_case_is_an_error_of_the_user() -> None:
    with pytest.raises(InputError, match="no case to evaluate"):
        evaluate("d", [], threshold_note="")


@pytest.mark.parametrize("lost", ["mask", "map"])
def test_half_masked_is_an_error_of_the_caller(lost: str) -> None:
    some = [
        scored._replace(**{lost: None}) if number == 2 else scored
        for number, scored in enumerate(heads())
    ]
    with pytest.raises(ValueError, match="head-2"):
        evaluate("d", some, threshold_note="")


def test_to_json_is_strict(detector: Evaluation) -> None:
    assert json.loads(json.dumps(detector.to_json(), allow_nan=False))["method"] == "detector"


@pytest.mark.parametrize("which", ["detector", "floor", "masks"])
def test_what_is_stored_comes_back(
    which: str, detector: Evaluation, floor: Evaluation, tmp_path: Path
) -> None:
    masks = evaluate("m", (each._replace(map=None) for each in heads()), threshold_note="")
    kept = {"detector": detector, "floor": floor, "masks": masks}[which]
    stored.save(kept, tmp_path)
    back = stored.load(tmp_path)
    for field in fields(Evaluation):
        same(getattr(kept, field.name), getattr(back, field.name), field.name)


def same(ours: object, theirs: object, where: str) -> None:
    """Compare two trees of tuples, mappings and arrays, dtypes included."""
    if isinstance(ours, Tally):
        for field in fields(Tally):
            same(getattr(ours, field.name), getattr(theirs, field.name), f"{where}.{field.name}")
    elif isinstance(ours, np.ndarray):
        assert isinstance(theirs, np.ndarray), where
        assert ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, err_msg=where)
    elif isinstance(ours, Steps) or (isinstance(ours, tuple) and not isinstance(ours, str)):
        assert type(ours) is type(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, f"{where}[{number}]")
    elif isinstance(ours, dict) and any(isinstance(v, np.ndarray) for v in ours.values()):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            same(ours[key], theirs[key], f"{where}.{key}")
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("name", ["evaluation.json", "arrays.npz"])
def test_a_damaged_evaluation_is_refused(name: str, detector: Evaluation, tmp_path: Path) -> None:
    stored.save(detector, tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"[]"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match="judged again"):
            stored.load(tmp_path)


def test_no_damage_of_an_evaluation_is_a_fault_of_ours(
    detector: Evaluation, tmp_path: Path
) -> None:
    """Bytes changed anywhere: the parts of an archive fail each in a way of its own."""
    stored.save(detector, tmp_path)
    whole = (tmp_path / "arrays.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(len(whole), size=150):
        damaged = bytearray(whole)
        for near in range(at, min(at + 20, len(whole))):
            damaged[near] ^= int(rng.integers(1, 256))
        (tmp_path / "arrays.npz").write_bytes(damaged)
        try:
            stored.load(tmp_path)
        except InputError:
            refused += 1
    assert refused > 140, "what lies in the directory of the archive is said twice"


def test_thumbnails_are_the_right_way_up() -> None:
    """A bright front right corner of the patient is shown above on the left."""
    image = np.zeros((8, 10, 3))
    image[6:, 8:, 1] = 1.0  # toward the right and front in a RAS image
    inside = np.zeros(image.shape, bool)
    inside[:, :, 1] = True
    shown = thumbnail(
        image=image,
        inside=inside,
        truth=image > 0,
        map=image.astype(np.float32),
        mask=None,
        axis=2,
        affine=AFFINE,
    )
    assert shown.image.shape == (10, 8)
    assert shown.image[0, 0] == 255
    assert shown.image[-1, -1] == 0
    assert shown.pixel_mm == (2.0, 1.0)


def test_large_slices_are_shrunk() -> None:
    large = np.ones((900, 700, 1))
    shown = thumbnail(
        image=large,
        inside=large > 0,
        truth=large > 0,
        map=large.astype(np.float32),
        mask=None,
        axis=2,
        affine=AFFINE,
    )
    assert max(shown.image.shape) <= LIMIT_PX
