"""Orientation, intensity and slicing: what goes in comes back where it was."""

import itertools

import numpy as np
import pytest
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff

from wholesight.errors import InputError
from wholesight.prep.body import BODIES
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import HistogramMatch, Maximum, Mode, Percentile
from wholesight.prep.orient import axial_axis, canonical, restore
from wholesight.prep.slices import Slicing
from wholesight.volume import Scan, Volume

ORIENTATIONS = [
    np.array([*zip(order, flips, strict=True)])
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]
TILT = np.array([[1, 0.05, 0, 0], [-0.05, 1, 0.1, 0], [0, -0.1, 1, 0], [0, 0, 0, 1.0]])


def name_of(turn: np.ndarray) -> str:
    return "".join(f"{'-' if flip < 0 else '+'}{axis}" for axis, flip in turn)


@pytest.mark.parametrize("turn", ORIENTATIONS, ids=name_of)
@pytest.mark.parametrize("tilt", [np.eye(4), TILT], ids=["straight", "tilted"])
def test_every_orientation_comes_back_bit_for_bit(turn, tilt):
    shape = (3, 4, 5)
    voxels = np.arange(60, dtype=np.float32).reshape(shape)
    affine = tilt @ np.diag([1.0, 1.0, 3.0, 1.0]) @ inv_ornt_aff(turn, shape)
    turned = canonical(voxels, affine)
    assert aff2axcodes(turned.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(restore(turned.voxels, turned.turn), voxels)
    # Each voxel keeps its place in the world.
    for index in [(0, 0, 0), (2, 1, 4)]:
        world = affine @ [*index, 1]
        there = np.rint(np.linalg.inv(turned.affine) @ world)[:3].astype(int)
        assert turned.voxels[tuple(there)] == voxels[index]
    assert aff2axcodes(affine)[axial_axis(affine)] in "SI"


def prep(size, **slicing) -> Prep:
    return Prep(body=BODIES["nonzero"](), intensity=Maximum(), slices=Slicing(size=size, **slicing))


@pytest.mark.parametrize("turn", ORIENTATIONS[::5], ids=name_of)
@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [((41, 52, 7), (1, 1, 6)), ((40, 40, 1), (1, 1, 1)), ((33, 64, 5), (2.0, 0.9, 3.3))],
    ids=["thick", "one-slice", "uneven"],
)
@pytest.mark.parametrize("field", ["image", "body"])
def test_a_painted_block_comes_back_where_it_was(turn, shape, spacing_mm, field):
    image = np.zeros(shape, np.float32)
    image[4:-3, 6:-5] = 1
    block = np.zeros(shape, bool)
    block[12:22, 16:28, shape[2] // 2] = True
    image[block] = 2
    affine = np.diag([*map(float, spacing_mm), 1.0])
    own = apply_orientation(image, turn)
    own_block = apply_orientation(block, turn)
    volume = Volume(np.ascontiguousarray(own), affine @ inv_ornt_aff(turn, shape))
    prepared = prep(64, field=field).forward(Scan(volume))
    assert prepared.pixels.shape == (shape[2], 1, 64, 64)
    back = prepared.restore(prepared.pixels)
    found = back > 0.75
    overlap = 2 * (found & own_block).sum() / (found.sum() + own_block.sum())
    assert overlap > 0.85
    centre = np.argwhere(own_block).mean(0)
    assert np.abs(np.argwhere(found).mean(0) - centre).max() < 0.5


def test_without_a_size_the_round_trip_is_exact():
    rng = np.random.default_rng(0)
    image = rng.random((9, 11, 4)).astype(np.float32) + 0.1
    volume = Volume(image, np.diag([1.0, -1.0, 2.0, 1.0]))
    prepared = prep(None).forward(Scan(volume))
    np.testing.assert_array_equal(prepared.restore(prepared.pixels), image / image.max())


def test_slices_without_an_abnormal_voxel_are_normal():
    image = np.ones((8, 8, 4), np.float32)
    abnormal = np.zeros((8, 8, 4), bool)
    abnormal[3, 3, 1] = True
    flipped = np.diag([1.0, 1.0, -1.0, 1.0])
    scan = Scan(Volume(image, flipped), abnormal=Volume(abnormal, flipped))
    prepared = prep(None).forward(scan)
    assert prepared.normal.tolist() == [True, True, False, True]  # canonical order
    assert prepared.normal_body()[..., 1].sum() == 0
    assert prepared.normal_body().sum() == 3 * 64


def test_anatomy_is_not_stretched():
    """A square in mm stays one, whatever the voxels' shape."""
    image = np.zeros((40, 80, 1), np.float32)
    image[10:30, 20:60] = 1  # 20 x 2 mm by 40 x 1 mm
    prepared = prep(48).forward(Scan(Volume(image, np.diag([2.0, 1.0, 1.0, 1.0]))))
    rows = prepared.inside[0, 0].any(1).sum()
    columns = prepared.inside[0, 0].any(0).sum()
    assert rows == columns


BODY = np.random.default_rng(0).gamma(9, 10, 5000).astype(np.float32)


def test_maximum_and_percentile_are_invariant_to_scale():
    for intensity in (Maximum(), Percentile(), Mode()):
        np.testing.assert_allclose(intensity.values(3 * BODY), intensity.values(BODY), atol=2e-3)


def test_percentile_ends_are_0_and_1():
    values = Percentile(low=1, high=99).values(BODY)
    assert values.min() == 0
    assert values.max() == 1


def test_mode_of_a_known_density():
    """A gamma density of shape 9 and scale 10 has its mode at 80."""
    large = np.random.default_rng(1).gamma(9, 10, 200_000)
    quotient = Mode(top=None).values(large)
    assert np.median(quotient) == pytest.approx(np.median(large) / 80, rel=0.05)


def test_histogram_match_reaches_the_reference_and_is_frozen():
    intensity = HistogramMatch()
    reference = np.linspace(0, 50, 1000, dtype=np.float32)
    intensity.fit([reference, reference / 2, reference * 2])
    matched = intensity.values(BODY)
    np.testing.assert_allclose(np.median(matched), 0.5, atol=0.01)
    again = HistogramMatch()
    again.restore(intensity.state())
    np.testing.assert_array_equal(again.values(BODY), matched)


def test_a_constant_body_cannot_be_scaled():
    with pytest.raises(InputError, match="cannot be scaled"):
        Percentile().values(np.full(10, 5.0))


def test_background_becomes_zero():
    voxels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    body = voxels > 3
    assert (Maximum()(voxels, body)[~body] == 0).all()
