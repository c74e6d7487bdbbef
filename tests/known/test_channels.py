"""Several channels of one case: by name, each scaled by itself, for the methods that take them."""

import numpy as np
import pytest
import torch
from PIL import Image

from wholesight.datasets import Case
from wholesight.errors import InputError, RecipeError
from wholesight.prep.body import Whole
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import Percentile
from wholesight.prep.slices import Slicing
from wholesight.recipe import Recipe
from wholesight.recipe_file import shipped
from wholesight.volume import Scan, Volume

COLOURS = ("red", "green", "blue")


def prep(*channels: str) -> Prep:
    slices = Slicing(size=None)
    return Prep(body=Whole(), intensity=Percentile(), slices=slices, channels=channels)


@pytest.fixture
def scan() -> Scan:
    """An image and three others on its grid, in units that have nothing to do with each other."""
    rng = np.random.default_rng(0)
    units = {"image": 1.0, "flair": 1e3, "t2": 1e-3, "t1": 50.0}
    image, *others = (
        Volume(scale * rng.random((9, 8, 4), np.float32), np.diag([-1.0, 2.0, 3.0, 1.0]))
        for scale in units.values()
    )
    return Scan(image, channels=dict(zip(list(units)[1:], others, strict=True)))


# ---------------------------------------------------------------- preparation


def test_channels_are_stacked_by_name_and_each_is_scaled_by_itself(scan):
    both = prep("t2", "flair").forward(scan)
    assert both.pixels.shape == (4, 2, 8, 9)
    assert both.inside.shape == (4, 1, 8, 9)
    for number, name in enumerate(("t2", "flair")):
        alone = prep().forward(Scan(scan.channels[name]))
        np.testing.assert_array_equal(both.pixels[:, [number]], alone.pixels)
        assert alone.pixels.max() == 1


def test_without_channels_the_image_is_seen(scan):
    np.testing.assert_array_equal(
        prep().forward(scan).pixels, prep().forward(Scan(scan.image)).pixels
    )


def test_the_body_is_found_in_the_image(scan):
    inside = scan.image.like(scan.image.voxels > 0.3)
    found = prep("t1").forward(scan._replace(inside=inside))
    np.testing.assert_array_equal(found.body, inside.voxels)


@pytest.mark.parametrize("channels", [("t2", "dwi"), ("dwi",)])
def test_a_channel_that_is_not_there_is_refused(scan, channels):
    with pytest.raises(InputError, match=r"'dwi'.*There: flair, t2, t1") as refused:
        prep(*channels).forward(scan)
    assert refused.value.code == "E_MISSING_MODALITY"


def test_a_channel_on_another_grid_is_refused(scan):
    moved = Volume(scan.channels["t2"].voxels, np.eye(4), "t2.nii")
    with pytest.raises(InputError, match="channel 't2' has the size") as refused:
        prep("t2").forward(scan._replace(channels={"t2": moved}))
    assert refused.value.code == "E_GRID"


def test_a_hole_in_a_channel_is_refused(scan):
    holes = np.zeros(scan.image.shape, bool)
    holes[1, 2, 3] = True
    image = scan.image
    bad = Volume(image.voxels, image.affine, holes=holes)
    with pytest.raises(InputError) as refused:
        prep("t2").forward(scan._replace(channels={"t2": bad}))
    assert refused.value.code == "E_NONFINITE"


def test_a_name_that_stands_twice_is_not_legal():
    with pytest.raises(ValueError, match="each name once"):
        prep("t2", "t2")


# ---------------------------------------------------------------- recipes


def test_a_recipe_states_its_channels_once():
    recipe = Recipe.load("picture", ["channels=[red, green, blue]"])
    assert recipe.prep.channels == COLOURS
    assert recipe.method.slice_shape == (3, 64, 64)
    again = Recipe.from_dict(recipe.resolved)
    assert again.resolved == recipe.resolved
    assert again.prep.channels == COLOURS
    assert "channels" not in recipe.resolved["method"]["network"]


def test_one_channel_by_name_is_one_channel():
    recipe = Recipe.load("picture", ["channels=[green]"])
    assert (recipe.prep.channels, recipe.method.slice_shape) == (("green",), (1, 64, 64))
    assert Recipe.load("floor", ["channels=[green]"]).prep.channels == ("green",)


@pytest.mark.parametrize("name", ["floor", "normative", "gated", "average", "attention"])
def test_a_method_for_one_channel_refuses_several(name):
    with pytest.raises(RecipeError, match="takes one image, not red, green, blue"):
        Recipe.load(name, ["channels=[red, green, blue]"])


def test_an_intensity_that_learns_one_scale_refuses_several():
    with pytest.raises(RecipeError, match="takes one image, not red, blue"):
        Recipe.load("picture", ["channels=[red, blue]", "prep.intensity=histogram-match"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("channels=3", "prep.channels: a list is needed"),
        ("channels=red", "prep.channels: a list is needed"),
        ("channels=[red, 3]", "prep.channels.1"),
        ("channels=[red, red]", "each name once"),
        ("channels=[]", "channels 0"),
        ("method.network.channels=3", "State size and channels once"),
    ],
)
def test_what_is_not_legal_is_said(change, said):
    with pytest.raises(RecipeError, match=said):
        Recipe.load("picture", [change])


SMALL_ONES = [name for name in shipped() if "paper" not in name and "20" not in name]


@pytest.mark.parametrize("name", SMALL_ONES)
def test_every_recipe_takes_three_channels_or_refuses_them(name, small_recipe):
    recipe = small_recipe(name)
    spec = _without_channels(recipe.resolved) | {"channels": list(COLOURS)}
    if recipe.method.one_channel or recipe.prep.intensity.learns:
        with pytest.raises(RecipeError, match="takes one image"):
            Recipe.from_dict(spec)
        return
    method = Recipe.from_dict(spec).method
    size = spec["size"]
    slices = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(4, 1, size, size, dtype=torch.bool)
    loss = method.train().loss(slices, inside, 1000.0).total
    loss.backward()
    assert torch.isfinite(loss)
    method.eval().observe([(slices, inside)])
    found = method.anomaly_map(slices, inside)
    assert found.shape == inside.shape
    for channel in range(3):
        other = slices.clone()
        other[:, channel] = 1 - other[:, channel]
        assert not torch.allclose(found, method.anomaly_map(other, inside))


def _without_channels(spec):
    """The recipe, without what was written out of its one channel."""
    if isinstance(spec, list):
        return [_without_channels(entry) for entry in spec]
    if not isinstance(spec, dict):
        return spec
    return {key: _without_channels(value) for key, value in spec.items() if key != "channels"}


# ---------------------------------------------------------------- pictures


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 255, (8, 9, 3), dtype=np.uint8)


def test_a_case_has_the_colours_of_its_picture(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "x.png")
    scan = Case(id="x", subject="x", image=tmp_path / "x.png").read()
    assert tuple(scan.channels) == COLOURS
    for number, name in enumerate(COLOURS):
        np.testing.assert_array_equal(scan.channels[name].voxels[..., 0].T, colours[..., number])
    found = prep("blue", "red").forward(scan)
    assert found.pixels.shape == (1, 2, 8, 9)
    with pytest.raises(InputError, match="There: red, green, blue"):
        prep("flair").forward(scan)


def test_a_grey_picture_has_none(tmp_path, colours):
    Image.fromarray(colours[..., 0]).save(tmp_path / "x.png")
    scan = Case(id="x", subject="x", image=tmp_path / "x.png").read()
    assert prep().forward(scan).pixels.shape == (1, 1, 8, 9)
    with pytest.raises(InputError, match="grey picture") as refused:
        prep(*COLOURS).forward(scan)
    assert refused.value.code == "E_MISSING_MODALITY"
