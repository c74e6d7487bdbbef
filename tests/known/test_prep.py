"""Orientation, intensity and slicing: what goes in comes back where it was."""

import itertools
import tracemalloc

import numpy as np
import pytest
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff

from wholesight.errors import InputError, RecipeError
from wholesight.prep.body import BODIES
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import (
    Equalise,
    HistogramMatch,
    Intensity,
    Maximum,
    Mode,
    Percentile,
    Raw,
    ZScore,
)
from wholesight.prep.orient import axial_axis, canonical, restore
from wholesight.prep.slices import Slicing
from wholesight.recipe import Recipe
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
    values = Percentile(low=1.0, high=99.0).values(BODY)
    assert values.min() == 0
    assert values.max() == 1


def test_raw_is_what_the_scanner_wrote():
    np.testing.assert_array_equal(Raw().values(BODY - 50), BODY - 50)


def test_z_scores_have_mean_0_and_deviation_1_far_from_0_too():
    for values in (BODY, 1e4 + 1e-2 * BODY.astype(np.float64), BODY - 200):
        scores = ZScore().values(values)
        assert scores.mean() == pytest.approx(0, abs=1e-4)
        assert scores.std() == pytest.approx(1, abs=1e-4)


def test_an_equalised_value_is_the_share_at_or_below():
    """As scikit-image does with whole numbers, in whatever unit."""
    values = np.array([10, 30, 10, 20, 500, 20, 20, 30], np.float32)
    shares = [2 / 8, 7 / 8, 2 / 8, 5 / 8, 1, 5 / 8, 5 / 8, 7 / 8]
    for unit in (1, 1e-3, 1 / 7):
        np.testing.assert_allclose(Equalise().values(values * np.float32(unit)), shares)


def test_equalised_bodies_are_uniform_whatever_they_were():
    for values in (BODY, np.log(BODY), BODY**3):
        equalised = np.sort(Equalise().values(values))
        np.testing.assert_allclose(equalised, np.arange(1, 5001) / 5000, atol=1e-3)


@pytest.mark.parametrize("intensity", [Raw(), ZScore(), Equalise()])
def test_a_floor_of_a_constant_body_is_refused(intensity):
    with pytest.raises(InputError, match="cannot be scaled"):
        intensity.values(np.full(10, 5.0))


def test_a_network_for_0_to_1_takes_equalised_intensities_and_no_z_scores():
    assert Recipe.load("quick", ["prep.intensity=equalise"]).prep.intensity.unit_range
    for beyond in ("raw", "z-score"):
        with pytest.raises(RecipeError, match=r"beyond \[0, 1\].*equalise"):
            Recipe.load("quick", [f"prep.intensity={beyond}"])


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


# ---------------------------------------------------------------- scans that were standardised


def test_a_standardised_body_is_refused_not_blackened():
    standardised = (BODY - BODY.mean()) / BODY.std()
    with pytest.raises(InputError, match="standardised, use the scan from before") as refused:
        Mode().values(standardised)
    assert refused.value.code == "E_BACKGROUND"
    assert Percentile().values(standardised).mean() > 0.1  # it takes any scale


def test_ringing_and_black_background_in_a_loose_mask_are_no_standardisation():
    rng = np.random.default_rng(3)
    ringing = rng.normal(0, 1, 3000).astype(np.float32)  # half of it below 0, by a hair
    assert Mode().values(np.concatenate([BODY, ringing])).max() > 0.5
    assert Mode().values(np.concatenate([BODY, np.zeros(3000, np.float32)])).max() > 0.5


# ---------------------------------------------------------------- which scan an error speaks of


def head(name="case7.nii.gz", *, affine=None, shape=(8, 8, 4)) -> Volume:
    voxels = np.random.default_rng(5).random(shape).astype(np.float32) + 0.1
    return Volume(voxels, np.eye(4) if affine is None else affine, name)


@pytest.mark.parametrize(
    ("body", "voxels", "code"),
    [
        ("nonzero", np.zeros((6, 6, 2), np.float32), "E_EMPTY"),
        ("nonzero", np.full((6, 6, 2), -1.0, np.float32), "E_BACKGROUND"),
        ("given", np.ones((6, 6, 2), np.float32), "E_NO_BODY"),
        ("whole", np.zeros((6, 6, 2), np.float32), "E_INTENSITY"),
    ],
)
def test_every_refusal_names_the_scan_once_and_keeps_its_code(body, voxels, code):
    refusing = Prep(body=BODIES[body](), intensity=Maximum(), slices=Slicing(size=None))
    with pytest.raises(InputError) as refused:
        refusing.forward(Scan(Volume(voxels, name="case7.nii.gz")))
    assert refused.value.code == code
    assert str(refused.value).startswith("case7.nii.gz: ")
    assert str(refused.value).count("case7.nii.gz") == 1


def test_a_refusal_while_fitting_names_the_scan():
    blank = Scan(Volume(np.zeros((6, 6, 2), np.float32), name="blank.nii"))
    with pytest.raises(InputError, match=r"^blank\.nii: no voxel") as refused:
        prep_with(HistogramMatch()).fit([Scan(head()), blank])
    assert refused.value.code == "E_EMPTY"


# ---------------------------------------------------------------- masks on another grid


@pytest.mark.parametrize("role", ["inside", "abnormal"])
@pytest.mark.parametrize(
    ("shape", "affine", "text"),
    [
        ((8, 8, 3), np.eye(4), "8x8x3 voxels but its image case7.nii.gz is 8x8x4"),
        ((8, 8, 4), np.diag([1.0, -1, 1, 1]), "lies elsewhere, affine"),
    ],
)
def test_a_mask_on_another_grid_is_refused(role, shape, affine, text):
    mask = Volume(np.ones(shape, bool), affine, "mask7.nii.gz")
    scan = Scan(head())._replace(**{role: mask})
    with pytest.raises(InputError, match=text) as refused:
        prep(None).forward(scan)
    assert refused.value.code == "E_GRID"
    assert "mask7.nii.gz" in str(refused.value)


# ---------------------------------------------------------------- histogram matching


def prep_with(intensity: Intensity) -> Prep:
    return Prep(body=BODIES["nonzero"](), intensity=intensity, slices=Slicing(size=None))


def matcher(**options) -> HistogramMatch:
    intensity = HistogramMatch(**options)
    intensity.restore({"reference": np.linspace(1, 50, 1000, dtype=np.float32)})
    return intensity


def test_histograms_are_matched_slice_by_slice_as_published():
    """Slices of different brightness come out alike; matched as a whole they stay different."""
    rng = np.random.default_rng(2)
    voxels = rng.gamma(9, 10, (30, 30, 3)).astype(np.float32) * np.array([1, 2, 4], np.float32)
    body = np.ones(voxels.shape, bool)
    body[..., 1] = False  # a slice without body is left out
    apart = matcher()(voxels, body)
    medians = np.median(apart, axis=(0, 1))
    assert medians[0] == pytest.approx(0.51, abs=0.01)
    assert medians[2] == pytest.approx(0.51, abs=0.01)
    assert (apart[..., 1] == 0).all()
    whole = np.median(matcher(per="scan")(voxels, body), axis=(0, 1))
    assert whole[2] > 2 * whole[0]


def test_a_constant_scan_does_not_become_bright():
    with pytest.raises(InputError, match="range of the body is 0"):
        matcher()(np.full((3, 3, 2), 7.0, np.float32), np.ones((3, 3, 2), bool))


def test_crumbs_are_no_reference():
    slice_ = np.linspace(10, 90, 500, dtype=np.float32)
    intensity = HistogramMatch()
    intensity.fit([slice_, slice_[:3] * 0, slice_[:3] * 0, slice_ + 1, slice_ + 2])
    np.testing.assert_array_equal(intensity.state()["reference"], slice_ + 1)


def test_without_a_normal_slice_there_is_nothing_to_fit():
    everywhere = Volume(np.ones((8, 8, 4), bool))
    for scans in ([], [Scan(head(), abnormal=everywhere)]):
        with pytest.raises(InputError, match="no normal slice") as refused:
            prep_with(HistogramMatch()).fit(scans)
        assert refused.value.code == "E_NO_NORMAL"


def test_fitting_keeps_one_scan_in_memory():
    class Read:
        """Twenty scans of 0.8 MB, made anew in every pass."""

        def __iter__(self):
            return (Scan(head(shape=(100, 100, 20))) for _ in range(20))

    intensity = HistogramMatch()
    tracemalloc.start()
    try:
        prep_with(intensity).fit(Read())
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    assert intensity.state()["reference"].size == 10_000


def test_fitting_needs_more_than_one_pass():
    with pytest.raises(ValueError, match="only once"):
        prep_with(HistogramMatch()).fit(iter([Scan(head())]))


def test_histogram_matching_of_a_slice_without_a_range_gives_the_reference_median():
    """Matching makes something of nothing: a constant would become the reference's maximum."""
    match = HistogramMatch()
    match.fit([np.array([1.0, 2.0, 4.0])])
    np.testing.assert_allclose(match.values(np.full(3, 7.0)), 0.5)


def test_histogram_matching_refuses_a_standardised_reference():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="below 0"):
        HistogramMatch().fit([rng.normal(size=200)])
