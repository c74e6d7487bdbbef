"""Which file is whose map, and the body in which a map and its floor are judged."""

from dataclasses import replace

import numpy as np
import pytest

from wholesight.benchmark.judge.map_files import find_map_files
from wholesight.benchmark.judge.predictions import FLOOR, Judged, floor, floor_recipe
from wholesight.calibration import Terms
from wholesight.datasets import Case
from wholesight.errors import InputError
from wholesight.io import nifti
from wholesight.metrics import eroded
from wholesight.prep.body import Nonzero, SkullStrip
from wholesight.volume import Volume

SHAPE = (12, 12, 3)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    """Case x has the file y, case y the file x."""
    made = []
    for number, (case, name) in enumerate((("x", "y"), ("y", "x"))):
        image = Volume(np.random.default_rng(number).random(SHAPE, np.float32) + 1)
        for role, volume in (("", image), ("-truth", image.like(np.zeros(SHAPE, bool)))):
            nifti.write(volume, tmp_path / f"{name}{role}.nii.gz")
        made.append(
            Case(case, case, tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-truth.nii.gz")
        )
    return made


def put(folder, name, value, *, masked=False, of=None) -> None:
    folder.mkdir(exist_ok=True)
    of = of or Volume(np.zeros(SHAPE, np.float32))
    anomaly = of.like(np.full(of.shape, value, np.float32))
    nifti.write(anomaly, folder / f"{name}_anomaly.nii.gz")
    if masked:
        nifti.write(Volume(np.ones(SHAPE, bool)), folder / f"{name}_mask.nii.gz")


def test_the_rim_of_every_axial_slice_is_not_judged(tmp_path):
    """Also in a file whose axial slices lie along its first axis."""
    voxels = np.zeros((3, 14, 12), np.float32)
    voxels[:, 1:-1, 1:-1] = 1.0
    affine = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [4, 0, 0, 0], [0, 0, 0, 1]])
    image = Volume(voxels, affine)
    nifti.write(image, tmp_path / "x.nii.gz")
    nifti.write(image.like(np.zeros(voxels.shape, bool)), tmp_path / "x-truth.nii.gz")
    put(tmp_path / "maps", "x", 1.0, of=image)
    case = Case("x", "x", tmp_path / "x.nii.gz", tmp_path / "x-truth.nii.gz")
    scored = next(Judged([case], Nonzero()).score_files(tmp_path / "maps"))
    np.testing.assert_array_equal(scored.body, voxels > 0)
    np.testing.assert_array_equal(scored.inside, eroded(voxels > 0, axis=0))
    assert scored.axis == 0
    assert scored.spacing_mm == (4.0, 1.0, 1.0)


def test_a_map_is_found_by_its_case_before_its_image(cases, tmp_path):
    maps = tmp_path / "maps"
    put(maps, "x", 1.0)
    put(maps, "y", 2.0)
    scored = list(Judged(cases, Nonzero()).score_files(maps))
    assert [(each.case, float(each.map.max())) for each in scored] == [("x", 1.0), ("y", 2.0)]


def test_one_file_for_two_cases_is_refused(cases, tmp_path):
    put(tmp_path / "maps", "x", 1.0)
    with pytest.raises(InputError, match="case x or of y") as fault:
        list(Judged(cases, Nonzero()).score_files(tmp_path / "maps"))
    assert fault.value.code == "E_AMBIGUOUS"


def test_a_mask_goes_with_its_map(cases, tmp_path):
    """The image's name has a mask, but the map is the case's: that mask is of something else."""
    maps = tmp_path / "maps"
    put(maps, "x", 1.0)
    put(maps, "y", 2.0, masked=True)
    one = Judged(cases[:1], Nonzero())
    assert next(one.score_files(maps)).mask is None
    put(maps, "x", 1.0, masked=True)
    assert next(one.score_files(maps)).mask is not None


def test_plain_files_of_other_tools_are_maps(cases, tmp_path):
    for name, value in (("x", 0.0), ("y", 2.5)):
        nifti.write(Volume(np.full(SHAPE, value, np.float32)), tmp_path / f"{name}.nii.gz")
    files = find_map_files(tmp_path, cases)
    assert [(each.map is not None, each.mask) for each in files] == [(True, None)] * 2


def test_plain_files_of_0_and_1_are_masks(cases, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name, value in (("x", 0), ("y", 1)):
        nifti.write(Volume(np.full(SHAPE, value, np.uint8)), theirs / f"{name}.nii")
    scored = list(Judged(cases, Nonzero()).score_files(theirs))
    assert [each.map for each in scored] == [None, None]
    assert [bool(each.mask.any()) for each in scored] == [False, True]


def test_masks_alone_will_do(cases, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in "xy":
        nifti.write(Volume(np.ones(SHAPE, bool)), theirs / f"{name}_mask.nii.gz")
    assert all(each.map is None for each in Judged(cases, Nonzero()).score_files(theirs))


def test_a_map_that_only_some_cases_have_is_missed(cases, tmp_path):
    maps = tmp_path / "maps"
    named = [replace(case, id=f"case-{case.id}") for case in cases]
    put(maps, "case-x", 1.0, masked=True)
    nifti.write(Volume(np.ones(SHAPE, bool)), maps / "case-y_mask.nii.gz")
    with pytest.raises(InputError, match="for case case-y") as fault:
        find_map_files(maps, named)
    assert fault.value.code == "E_NO_MAP"


def test_a_map_on_another_grid_is_refused(cases, tmp_path):
    maps = tmp_path / "maps"
    put(maps, "x", 1.0)
    put(maps, "y", 1.0)
    nifti.write(Volume(np.ones((12, 12, 4), np.float32)), maps / "y_anomaly.nii.gz")
    with pytest.raises(InputError, match="image's grid") as fault:
        list(Judged(cases, Nonzero()).score_files(maps))
    assert fault.value.code == "E_GRID"


def test_cases_with_too_little_lesion_are_left_out_and_listed(cases):
    truth = np.zeros(SHAPE, bool)
    truth[3:9, 3:9] = True
    nifti.write(Volume(truth), cases[0].mask)
    judged = Judged(cases, Nonzero(), min_lesion_share=0.1)
    assert [case.id for case in judged.cases] == ["x"]
    assert judged.excluded == [("y", "lesion is 0.000% of the body, under 10.000%")]
    assert len(Judged(cases, Nonzero(), min_lesion_share=0.25).cases) == 1, "a share of just 1/4"
    assert Judged(cases, Nonzero()).excluded == []
    with pytest.raises(InputError, match="all 2 cases") as fault:
        Judged(cases, Nonzero(), min_lesion_share=0.5)
    assert fault.value.code == "E_NO_CASES"


def test_a_missing_map_is_named(cases, tmp_path):
    put(tmp_path / "maps", "z", 1.0)
    with pytest.raises(InputError, match=r"y_anomaly\.nii\.gz for case x"):
        list(Judged(cases, Nonzero()).score_files(tmp_path / "maps"))


def test_the_floor_looks_in_the_body_that_is_asked_for():
    recipe = floor_recipe({"kind": "skull-strip", "tissue": 0.4})
    body = recipe.prep.body
    assert isinstance(body, SkullStrip)
    assert body.tissue == 0.4
    assert floor(None, Terms(), recipe=recipe).recipe.prep.body is body
    plain = floor(None, Terms()).recipe
    assert (plain.name, type(plain.prep.body)) == (FLOOR, Nonzero)
