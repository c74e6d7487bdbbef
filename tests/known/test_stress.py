"""Lesions of given size and contrast: what is varied varies, and nothing else does."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from wholesight.datasets.check import check
from wholesight.datasets.dataset import open_dataset
from wholesight.datasets.phantom import (
    Grid,
    case_stream,
    phantom_head,
    write_phantom,
    write_stress,
)
from wholesight.datasets.phantom.compose import DEFAULT_GRID
from wholesight.datasets.phantom.graded import HIGHEST_WEIGHT, _grow, add_graded
from wholesight.datasets.phantom.stress import BRIGHTEST, DARKEST, WEAKEST
from wholesight.datasets.phantom.stress_head import stress_head
from wholesight.errors import OutputError, UsageError
from wholesight.io.files import sha256

COARSE_MM = (4.0, 4.0, 8.0)
VOLUMES_ML = (0.5, 2.0, 8.0, 30.0)
CONTRASTS = (DARKEST, -0.25, -WEAKEST, WEAKEST, 0.25, BRIGHTEST)
ASKED = {"normal": 5, "volumes_ml": [8.0, 1.0], "contrasts": [0.5, -0.5, 0.1], "repeats": 2}


def hashes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*.nii.gz"))}


def write(out: Path, **changed) -> list[str]:
    return write_stress(out, **{"seed": 5, "spacing_mm": COARSE_MM, **ASKED, **changed})


@pytest.fixture(scope="module", params=range(3))
def head(request):
    return stress_head(case_stream(0, "stress", request.param))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("stress") / "cohort"
    write(out)
    return out


class TestLesion:
    def test_volume_is_the_nominal_one_to_half_a_voxel(self, head):
        for volume_ml in VOLUMES_ML:
            drawn = head.with_lesion(head.weight(volume_ml), 0.5)
            realised_ml = drawn.abnormal.sum() * DEFAULT_GRID.voxel_ml
            assert abs(realised_ml - volume_ml) <= DEFAULT_GRID.voxel_ml / 2 + 1e-9
            assert drawn.facts["realised_ml"] == pytest.approx(realised_ml, abs=1e-3)

    def test_lesion_is_one_piece_of_solid_brain_and_holds_the_smaller_ones(self, head):
        masks = [head.weight(volume_ml) > 0 for volume_ml in VOLUMES_ML]
        for mask in masks:
            assert ndimage.label(mask)[1] == 1
            assert head.tissue.brain[mask].all()
            assert head.tissue.fluid[mask].max() < 0.4
        assert all((small <= large).all() for small, large in itertools.pairwise(masks))

    @pytest.mark.parametrize("volume_ml", [0.5, 30.0])
    def test_every_voxel_of_the_mask_changed_its_way_and_no_other(self, head, volume_ml):
        weight = head.weight(volume_ml)
        healthy = head.with_lesion(np.zeros_like(weight), 0.5).image
        for contrast in CONTRASTS:
            drawn = head.with_lesion(weight, contrast)
            change = drawn.image.astype(int) - healthy
            np.testing.assert_array_equal(drawn.abnormal, weight > 0)
            np.testing.assert_array_equal(np.sign(change), np.sign(contrast) * drawn.abnormal)

    def test_mean_in_the_lesion_rises_with_contrast(self, head):
        weight = head.weight(2.0)
        images = [head.with_lesion(weight, contrast).image for contrast in CONTRASTS]
        means = [image[weight > 0].mean() for image in images]
        assert (np.diff(means) > 0).all()

    @pytest.mark.parametrize("contrast", CONTRASTS)
    def test_contrast_is_the_mean_change_whatever_the_volume(self, head, contrast):
        for volume_ml in VOLUMES_ML:
            weight = head.weight(volume_ml)
            ratio = add_graded(head.signal, weight, contrast)[weight > 0] / head.signal[weight > 0]
            assert ratio.mean() == pytest.approx(1 + contrast)
            # mild mottle and a softer border, but no rim and no second tissue
            assert ratio.std() < 0.15 * abs(contrast)

    def test_darkest_lesion_stays_above_the_background(self, head):
        assert HIGHEST_WEIGHT * -DARKEST < 1
        assert all(head.weight(volume_ml).max() <= HIGHEST_WEIGHT for volume_ml in VOLUMES_ML)
        drawn = head.with_lesion(head.weight(30.0), DARKEST)
        np.testing.assert_array_equal(drawn.image > 0, head.tissue.brain)

    def test_without_a_lesion_it_is_the_phantom_head_of_that_stream(self):
        head = stress_head(case_stream(0, "stress", 0))
        without = head.with_lesion(np.zeros_like(head.signal), 0.5)
        other = phantom_head(case_stream(0, "stress", 0), lesion=False)
        np.testing.assert_array_equal(without.image, other.image)
        assert not without.abnormal.any()

    def test_same_place_and_shape_on_another_grid(self):
        grids = (DEFAULT_GRID, Grid((3.0, 3.0, 4.0)))
        heads = [stress_head(case_stream(0, "stress", 1), grid) for grid in grids]
        middles = []
        for head in heads:
            mask = head.weight(8.0) > 0
            middles.append(head.grid.points_mm()[:, mask].mean(1))
            assert mask.sum() * head.grid.voxel_ml == pytest.approx(8.0, rel=0.01)
        np.testing.assert_allclose(*middles, atol=1.5)


class TestGrowth:
    def test_in_the_open_it_takes_the_nearest(self):
        cost = np.random.default_rng(0).random((9, 9, 9)) + 5 * np.linalg.norm(
            np.indices((9, 9, 9)) - 4, axis=0
        )
        taken = _grow(cost, np.ones_like(cost, bool), 80)
        np.testing.assert_array_equal(taken, cost <= np.sort(cost.ravel())[79])

    def test_it_goes_around_a_wall_and_not_through(self):
        line = np.arange(7.0)
        cost = np.hypot(line[:, None, None] - 2, line[None, :, None] - 1) * np.ones((7, 7, 1))
        solid = np.ones((7, 7, 1), bool)
        solid[3] = False  # a wall beside the centre
        assert not _grow(cost, solid, 15)[4:].any()
        solid[3, 6] = True  # a door, at its far end
        # 19 voxels of the room are nearer than the door, and all beyond comes after it
        assert not _grow(cost, solid, 19)[3:].any()
        assert _grow(cost, solid, 30)[3:5, 6].all()

    def test_corners_do_not_join_rows(self):
        # the last voxel of a row and the first of the next are neighbours in memory only
        solid = np.zeros((2, 3, 3), bool)
        solid[0, 0, 2] = solid[0, 1, 0] = True
        with pytest.raises(IndexError):
            _grow(np.ones(solid.shape), solid, 2)


@pytest.mark.slow
class TestCohort:
    def test_all_contrasts_of_a_volume_have_one_mask(self, cohort):
        digests = hashes(cohort)
        for subject, volume in itertools.product(("000", "001"), ("001000", "008000")):
            masks = [
                digest
                for name, digest in digests.items()
                if f"stress-{subject}-{volume}mm3" in name and "_seg" in name
            ]
            assert len(masks) == 3
            assert len(set(masks)) == 1
        assert len({digest for name, digest in digests.items() if "_seg" in name}) == 4 + 1

    def test_same_seed_same_bytes_and_another_seed_other_scans(self, cohort, tmp_path):
        write(tmp_path / "same")
        write(tmp_path / "other", seed=6, normal=1, repeats=1, contrasts=[0.5])
        assert hashes(tmp_path / "same") == hashes(cohort)
        for name in ("cases.tsv", "phantom.json"):
            assert (tmp_path / "same" / name).read_bytes() == (cohort / name).read_bytes()
        scans = [set(hashes(at).values()) for at in (cohort, tmp_path / "other")]
        assert len(scans[0] & scans[1]) == 1  # the mask of a healthy head

    def test_case_does_not_depend_on_what_else_is_asked_for(self, cohort, tmp_path):
        write(tmp_path / "b", normal=1, volumes_ml=[2.0, 1.0], contrasts=[0.1], repeats=3)
        a, b = hashes(cohort), hashes(tmp_path / "b")
        shared = a.keys() & b.keys()
        # one healthy head, and of two repeats the 1 ml lesion of +0.1: a scan and a mask each
        assert len(shared) == 2 + 2 * 2
        assert all(a[name] == b[name] for name in shared)

    def test_healthy_heads_are_those_of_write_phantom(self, cohort, tmp_path):
        write_phantom(tmp_path / "b", normal=1, lesion=0, seed=5, spacing_mm=COARSE_MM)
        name = "phantom-normal-000/phantom-normal-000_flair.nii.gz"
        assert hashes(tmp_path / "b")[name] == hashes(cohort)[name]

    def test_check_finds_no_fault_and_one_subject_a_repeat(self, cohort):
        assert not check(cohort).findings
        cases = [case for case in open_dataset(cohort).cases if "stress" in case.id]
        assert Counter(case.subject for case in cases) == {"stress-000": 6, "stress-001": 6}
        assert {case.split for case in cases} == {"test"}

    def test_healthy_heads_are_divided_by_their_number(self, tmp_path, monkeypatch):
        # the rule does not look at voxels
        monkeypatch.setattr("wholesight.datasets.phantom.stress.write_head", lambda *_: {})
        monkeypatch.setattr("wholesight.datasets.phantom.stress.phantom_head", lambda *_, **__: 0)
        write(tmp_path / "a", normal=24, repeats=1)
        lines = (tmp_path / "a" / "cases.tsv").read_text().splitlines()[1:25]
        parts = [line.split("\t")[-1] for line in lines]
        assert Counter(parts) == {"train": 14, "calibration": 6, "test": 4}
        assert parts[:12] == parts[12:]
        assert set(parts[:5]) == {"train", "calibration", "test"}

    def test_names_are_safe_and_sort_as_they_are_written(self, cohort, tmp_path):
        names = [case.id for case in open_dataset(cohort).cases]
        assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
        assert names == sorted(names)
        assert names[5:8] == [f"stress-000-001000mm3-level{n}" for n in ("050", "110", "150")]

    def test_record_says_what_was_asked_for_and_what_came(self, cohort):
        record = json.loads((cohort / "phantom.json").read_text())
        assert "McGill University. Permission to use" in record["notice"]
        assert list(record["cases"]) == [case.id for case in open_dataset(cohort).cases]
        asked = list(itertools.product((1.0, 8.0), (-0.5, 0.1, 0.5)))
        drawn = [case for name, case in record["cases"].items() if "stress" in name]
        assert [(case["volume_ml"], case["contrast"]) for case in drawn] == asked * 2
        half_ml = np.prod(COARSE_MM) / 2000 + 1e-9
        assert all(abs(case["realised_ml"] - case["volume_ml"]) <= half_ml for case in drawn)
        assert "volume_ml" not in record["cases"]["phantom-normal-000"]

    def test_nothing_is_left_behind_by_a_failure(self, tmp_path, monkeypatch):
        def full(_volume, path):
            raise OutputError(f"{path}: no room.")

        monkeypatch.setattr("wholesight.io.nifti.write", full)
        with pytest.raises(OutputError, match="no room"):
            write(tmp_path / "a", normal=0)
        assert list(tmp_path.iterdir()) == []

    def test_folder_in_use_is_refused(self, cohort):
        with pytest.raises(OutputError, match="Choose another folder"):
            write(cohort)

    @pytest.mark.parametrize(
        ("request_", "said"),
        [
            ({"normal": -1}, "at least one repeat"),
            ({"repeats": 0}, "at least one repeat"),
            ({"volumes_ml": []}, "volumes_ml is empty"),
            ({"contrasts": []}, "contrasts is empty"),
            ({"contrasts": [0.5, 0.0]}, "0 is no lesion"),
            ({"contrasts": [-0.7]}, "from -0.6"),
            ({"contrasts": [float("nan")]}, "cannot be made"),
            ({"contrasts": [0.5, 0.501]}, "alike to 1 percent"),
            ({"volumes_ml": [0.5]}, "4 voxels"),
            ({"volumes_ml": [61]}, "to 60 ml"),
            ({"volumes_ml": [float("nan")]}, "cannot be made"),
            ({"volumes_ml": [2, 2.0]}, "alike to 1 mm3"),
            ({"seed": -3}, "from 0"),
            ({"spacing_mm": (0.0, 2.0, 2.0)}, "three values"),
        ],
    )
    def test_senseless_request_is_refused(self, tmp_path, request_, said):
        with pytest.raises(UsageError, match=said):
            write(tmp_path / "a", **request_)
        assert not (tmp_path / "a").exists()
