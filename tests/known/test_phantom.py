"""The phantom is what its record says: exact truth, the order of the tissues, the same bytes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core import _multiarray_umath

from wholesight.datasets.phantom import Grid, atlas, case_stream, phantom_head, write_phantom
from wholesight.datasets.phantom.atlas import load_atlas
from wholesight.datasets.phantom.compose import DEFAULT_GRID
from wholesight.datasets.phantom.flair import draw_scanner, flair_signal, scan
from wholesight.datasets.phantom.head import draw_head, tissue_of
from wholesight.datasets.phantom.lesion import add_lesion, draw_lesion
from wholesight.errors import OutputError, UsageError
from wholesight.io import reading
from wholesight.io.files import sha256

COARSE = Grid((4.0, 4.0, 8.0))
PARTS = ("train", "calibration", "validation", "test")


MAKE_TWO = (
    "import sys; from pathlib import Path; from wholesight.datasets.phantom import write_phantom; "
    "write_phantom(Path(sys.argv[1]), normal=1, lesion=1, seed=0)"
)
# OpenBLAS's name for a kind -> the flag of /proc/cpuinfo without which it cannot run here.
OTHER_PROCESSORS = {"Prescott": "pni", "Haswell": "avx2", "SkylakeX": "avx512f"}


def processor(kind: str) -> dict[str, str]:
    """What has BLAS compute as on that kind of processor, and numpy as on the oldest."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if "openblas" not in blas:
        pytest.skip(f"numpy uses {blas}, which cannot be told a processor")
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or OTHER_PROCESSORS[kind] not in cpuinfo.read_text().split():
        pytest.skip(f"this processor cannot act as {kind}")
    features = getattr(_multiarray_umath, "__cpu_features__", {})
    chosen = getattr(_multiarray_umath, "__cpu_dispatch__", [])
    disabled = " ".join(name for name in chosen if features.get(name))
    return {"OPENBLAS_CORETYPE": kind, "NPY_DISABLE_CPU_FEATURES": disabled}


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tissue():
    return tissue_of(draw_head(rng(1)), load_atlas(), DEFAULT_GRID)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    write_phantom(out, normal=2, lesion=1, seed=5, spacing_mm=COARSE.spacing_mm)
    return out


class TestHead:
    def test_background_is_zero_and_brain_is_not(self, tissue):
        scanner = draw_scanner(rng(2))
        image = scan(flair_signal(tissue, scanner, DEFAULT_GRID), scanner, DEFAULT_GRID, rng(3))
        assert image.dtype == np.int16
        assert image.min() == 0
        np.testing.assert_array_equal(image > 0, tissue.brain)

    def test_shares_of_the_tissues_add_up(self, tissue):
        total = tissue.white + tissue.gray + tissue.fluid
        np.testing.assert_allclose(total, tissue.brain, atol=1e-6)
        for share in tissue[1:4]:
            assert share.min() > -1e-6

    @pytest.mark.parametrize("seed", range(3))
    def test_fluid_is_dark_and_gray_matter_brightest(self, tissue, seed):
        scanner = draw_scanner(rng(seed))
        image = scan(flair_signal(tissue, scanner, DEFAULT_GRID), scanner, DEFAULT_GRID, rng(seed))
        fluid, white, gray = (
            image[share > 0.9].mean() for share in (tissue.fluid, tissue.white, tissue.gray)
        )
        assert fluid < 0.5 * white
        assert 1.05 * white < gray < 1.3 * white

    @pytest.mark.parametrize("seed", range(6))
    def test_brain_has_an_adult_volume_and_lies_inside_the_box(self, seed):
        brain = tissue_of(draw_head(rng(seed)), load_atlas(), COARSE).brain
        assert 900 < brain.sum() * COARSE.voxel_ml < 2000
        for edge in (brain[0], brain[-1], brain[:, 0], brain[:, -1]):
            assert not edge.any()

    def test_head_is_not_symmetric_though_the_maps_are(self, tissue):
        maps = load_atlas()
        np.testing.assert_array_equal(maps.white, maps.white[::-1])
        # more fluid differs from its mirror image than noise or a shift of the whole could explain
        fluid = tissue.fluid
        mirrored = [np.abs(fluid - np.roll(fluid[::-1], shift, 0)).mean() for shift in range(-4, 5)]
        assert min(mirrored) > 0.3 * fluid.mean()

    def test_ventricles_differ_between_heads(self):
        def ventricles_ml(millimetres):
            head = draw_head(rng(4))._replace(ventricle_mm=millimetres)
            found = tissue_of(head, load_atlas(), COARSE)
            return (found.fluid * (found.wall_mm < 0)).sum() * COARSE.voxel_ml

        volumes = [ventricles_ml(mm) for mm in (-1.0, 0.0, 2.0, 4.0)]
        assert all(b > 1.3 * a for a, b in itertools.pairwise(volumes))
        assert 3 < volumes[0] < volumes[-1] < 80

    def test_same_head_on_another_grid(self, tissue):
        coarse = tissue_of(draw_head(rng(1)), load_atlas(), COARSE)
        for name in ("brain", "white", "gray"):
            fine_ml = getattr(tissue, name).sum() * DEFAULT_GRID.voxel_ml
            assert getattr(coarse, name).sum() * COARSE.voxel_ml == pytest.approx(fine_ml, rel=0.08)

    def test_affine_is_lps_about_the_origin_of_mni(self):
        i, j, k = np.linalg.inv(DEFAULT_GRID.affine)[:3, 3]
        assert DEFAULT_GRID.shape == (96, 112, 24)
        assert (np.diag(DEFAULT_GRID.affine)[:3] == (-2, -2, 6)).all()
        assert 45 < i < 50
        assert 45 < j < 60
        assert 5 < k < 12


class TestLesion:
    @pytest.mark.parametrize("seed", range(8))
    def test_mask_is_every_voxel_that_changed_and_no_other(self, tissue, seed):
        signal = flair_signal(tissue, draw_scanner(rng(seed)), DEFAULT_GRID)
        lesion = draw_lesion(rng(seed), tissue, DEFAULT_GRID)
        with_lesion, mask = add_lesion(signal, lesion, tissue, DEFAULT_GRID)
        assert mask.any()
        np.testing.assert_array_equal(with_lesion != signal, mask)
        # and not by a hair: by more than the step of the file's whole numbers
        assert np.abs(with_lesion - signal)[mask].min() > 1 / 250

    @pytest.mark.parametrize(("seed", "pushed"), [(2, True), (3, False)])
    def test_outside_the_mask_the_scan_is_the_healthy_one_bit_for_bit(self, seed, pushed):
        sick = phantom_head(rng(seed), lesion=True, grid=COARSE)
        healthy = phantom_head(rng(seed), lesion=False, grid=COARSE)
        assert (sick.facts["lesion"]["push_mm"] > 0) == pushed
        np.testing.assert_array_equal(sick.image > 0, healthy.image > 0)
        # a lesion that pushes moves the tissue around it too; the truth is still the lesion alone
        assert ((sick.image != healthy.image) & ~sick.abnormal).any() == pushed

    def test_mass_effect_closes_furrows_and_keeps_the_outline(self):
        head, maps = draw_head(rng(6)), load_atlas()
        before = tissue_of(head, maps, COARSE)
        lesion = draw_lesion(rng(6), before, COARSE)._replace(
            centre_mm=np.array([30.0, 0.0, 25.0]), radius_mm=20.0, push_mm=8.0
        )
        after = tissue_of(head, maps, COARSE, lesion.push)
        np.testing.assert_array_equal(after.brain, before.brain)
        away = np.linalg.norm(COARSE.points_mm() - lesion.centre_mm[:, None, None, None], axis=0)
        assert after.fluid[away < 30].sum() < 0.8 * before.fluid[away < 30].sum()
        np.testing.assert_allclose(after.white[away > 90], before.white[away > 90], atol=0.02)

    def test_push_is_greatest_at_the_border_and_never_folds(self, tissue):
        lesion = draw_lesion(rng(0), tissue, DEFAULT_GRID)
        lesion = lesion._replace(push_mm=0.4 * lesion.radius_mm)
        away_mm = np.linspace(0, 5 * lesion.radius_mm, 501)
        line = lesion.centre_mm[:, None] + np.array([1.0, 0, 0])[:, None] * away_mm
        moved = lesion.push(line)[0]
        assert away_mm[np.argmin(moved)] == pytest.approx(lesion.radius_mm)
        assert moved.min() == pytest.approx(-lesion.push_mm, rel=1e-4)
        assert (np.diff(away_mm + moved) > 0).all()

    @pytest.mark.slow
    def test_all_kinds_occur(self, tissue):
        drawn = [draw_lesion(rng(7, n), tissue, DEFAULT_GRID) for n in range(40)]
        dark = [lesion.level < 1 for lesion in drawn]
        assert 4 < sum(dark) < 20
        assert {lesion.rim_mm > 0 for lesion in drawn} == {True, False}
        assert {lesion.push_mm > 0 for lesion in drawn} == {True, False}
        assert max(lesion.radius_mm for lesion in drawn) > 2 * min(x.radius_mm for x in drawn)

    @pytest.mark.slow
    @pytest.mark.parametrize("number", range(4))
    def test_lesion_lies_in_the_brain_and_is_as_recorded(self, number):
        head = phantom_head(case_stream(0, "lesion", number), lesion=True)
        facts = head.facts["lesion"]
        assert (head.image[head.abnormal] > 0).all()
        assert head.abnormal.sum() * DEFAULT_GRID.voxel_ml == pytest.approx(
            facts["volume_ml"], abs=1e-3
        )
        assert 0.3 < facts["volume_ml"] < 80
        centre = np.linalg.inv(DEFAULT_GRID.affine) @ [*facts["centre_mm"], 1]
        nearest = np.linalg.norm(
            (np.argwhere(head.abnormal) - centre[:3]) * DEFAULT_GRID.spacing_mm, axis=1
        )
        assert nearest.min() < 6


class TestCohort:
    def test_same_seed_same_bytes(self, cohort, tmp_path):
        write_phantom(tmp_path / "b", normal=2, lesion=1, seed=5, spacing_mm=COARSE.spacing_mm)
        assert hashes(tmp_path / "b") == hashes(cohort)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", OTHER_PROCESSORS)
    def test_same_seed_same_bytes_on_another_processor(self, tmp_path, kind):
        """What BLAS and numpy choose by the processor must not reach a voxel."""
        command = [sys.executable, "-c", MAKE_TWO, str(tmp_path / "there")]
        subprocess.run(command, check=True, env={**os.environ, **processor(kind)})
        write_phantom(tmp_path / "here", normal=1, lesion=1, seed=0)
        assert hashes(tmp_path / "there") == hashes(tmp_path / "here")

    def test_other_seed_other_scans(self, cohort, tmp_path):
        write_phantom(tmp_path / "b", normal=2, lesion=1, seed=6, spacing_mm=COARSE.spacing_mm)
        a, b = hashes(cohort), hashes(tmp_path / "b")
        assert a.keys() == b.keys()
        scans = [name for name in a if "flair" in name]
        assert len({a[name] for name in scans} | {b[name] for name in scans}) == 6

    def test_case_and_its_part_do_not_depend_on_the_others(self, cohort, tmp_path):
        write_phantom(tmp_path / "b", normal=1, lesion=2, seed=5, spacing_mm=COARSE.spacing_mm)
        a, b = hashes(cohort), hashes(tmp_path / "b")
        shared = [name for name in a.keys() & b.keys() if "/" in name]
        assert len(shared) == 4
        assert all(a[name] == b[name] for name in shared)
        splits = [json.loads((at / "split.json").read_text()) for at in (cohort, tmp_path / "b")]
        for case in ("phantom-normal-000", "phantom-lesion-000"):
            first, second = ([p for p in PARTS if case in split[p]] for split in splits)
            assert first == second

    def test_layout_and_grids(self, cohort):
        for case in ("phantom-normal-000", "phantom-normal-001", "phantom-lesion-000"):
            image = reading.read_image(cohort / case / f"{case}_flair.nii.gz")
            truth = reading.read_mask(cohort / case / f"{case}_seg.nii.gz")
            assert image.same_grid(truth)
            assert image.spacing_mm == COARSE.spacing_mm
            np.testing.assert_allclose(image.affine, COARSE.affine)
            assert truth.voxels.any() == ("lesion" in case)
            assert (image.voxels[truth.voxels] > 0).all()

    def test_record_names_seed_parameters_and_the_maps_owner(self, cohort):
        record = json.loads((cohort / "phantom.json").read_text())
        assert record["seed"] == 5
        assert "McGill University. Permission to use" in record["notice"]
        lesion = record["cases"]["phantom-lesion-000"]["lesion"]
        assert lesion["contrast"] in ("bright", "dark")
        assert "lesion" not in record["cases"]["phantom-normal-000"]

    def test_split_has_every_case_once_and_no_lesion_among_the_normals(self, tmp_path, monkeypatch):
        # the rule does not look at voxels
        monkeypatch.setattr("wholesight.datasets.phantom.cohort._write_case", lambda *_: {})
        cases = write_phantom(tmp_path / "a", normal=24, lesion=8, seed=0)
        split = json.loads((tmp_path / "a" / "split.json").read_text())
        assert tuple(split) == PARTS
        assert sorted(itertools.chain(*split.values())) == sorted(cases)
        assert [len(split[part]) for part in PARTS] == [16, 6, 6, 4]
        assert not any("lesion" in case for case in split["train"] + split["calibration"])

    def test_folder_in_use_is_refused_and_left_alone(self, cohort):
        before = hashes(cohort)
        with pytest.raises(OutputError, match="Choose another folder"):
            write_phantom(cohort, normal=1, lesion=0, seed=0)
        assert hashes(cohort) == before

    def test_empty_folder_is_taken(self, tmp_path):
        (tmp_path / "a").mkdir()
        write_phantom(tmp_path / "a", normal=1, lesion=0, seed=0, spacing_mm=COARSE.spacing_mm)
        assert (tmp_path / "a" / "split.json").exists()

    def test_nothing_is_left_behind_by_a_failure(self, tmp_path, monkeypatch):
        def full(_volume, path):
            raise OutputError(f"{path}: no room.")

        monkeypatch.setattr("wholesight.io.nifti.write", full)
        with pytest.raises(OutputError, match="no room"):
            write_phantom(tmp_path / "a", normal=1, lesion=0, seed=0, spacing_mm=COARSE.spacing_mm)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("request_", "said"),
        [
            ({"normal": 0, "lesion": 0}, "at least one head"),
            ({"normal": -1, "lesion": 2}, "at least one head"),
            ({"normal": 1, "seed": -3}, "from 0"),
            ({"normal": 1, "spacing_mm": (0.0, 2.0, 2.0)}, "three values"),
        ],
    )
    def test_senseless_request_is_refused(self, tmp_path, request_, said):
        with pytest.raises(UsageError, match=said):
            write_phantom(tmp_path / "a", **{"lesion": 0, "seed": 0, **request_})
        assert not (tmp_path / "a").exists()

    def test_without_nilearn_the_message_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setattr(atlas, "find_spec", lambda _name: None)
        load_atlas.cache_clear()
        with pytest.raises(UsageError, match=r'pip install "wholesight\[demo\]"'):
            write_phantom(tmp_path / "a", normal=1, lesion=0, seed=0)
        assert list(tmp_path.iterdir()) == []
