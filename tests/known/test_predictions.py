"""Which file is whose map, and the body in which a map and its floor are judged."""

import numpy as np
import pytest

from wholesight.benchmark.predictions import FLOOR, Judged, floor, floor_recipe
from wholesight.datasets import Case
from wholesight.errors import InputError
from wholesight.io import nifti
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


def put(folder, name, value, *, masked=False) -> None:
    folder.mkdir(exist_ok=True)
    nifti.write(Volume(np.full(SHAPE, value, np.float32)), folder / f"{name}_anomaly.nii.gz")
    if masked:
        nifti.write(Volume(np.ones(SHAPE, bool)), folder / f"{name}_mask.nii.gz")


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


def test_a_missing_map_is_named(cases, tmp_path):
    put(tmp_path / "maps", "z", 1.0)
    with pytest.raises(InputError, match=r"y_anomaly\.nii\.gz for case x"):
        list(Judged(cases, Nonzero()).score_files(tmp_path / "maps"))


def test_the_floor_looks_in_the_body_that_is_asked_for():
    recipe = floor_recipe({"kind": "skull-strip", "tissue": 0.4})
    body = recipe.prep.body
    assert isinstance(body, SkullStrip)
    assert body.tissue == 0.4
    assert floor(None, rule="percentile", alpha=0.05, recipe=recipe).recipe.prep.body is body
    plain = floor(None, rule="percentile", alpha=0.05).recipe
    assert (plain.name, type(plain.prep.body)) == (FLOOR, Nonzero)
