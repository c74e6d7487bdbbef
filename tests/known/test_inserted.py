"""A made-up lesion has the volume and the contrast it is said to have, and lies where it may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, label

from wholesight.calibration.inserted import HIGHEST_WEIGHT, draw_weight, insert, with_lesion
from wholesight.datasets.phantom import Grid, case_stream
from wholesight.datasets.phantom.stress_head import stress_head

SPACINGS = [(2.0, 2.0, 2.0), (1.0, 1.0, 6.0), (6.0, 1.5, 1.5), (0.9, 2.0, 4.0)]


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(region, spacing_mm, *, volume_ml, seed=0):
    """The weights of a lesion that fits."""
    weight = draw_weight(region, spacing_mm, volume_ml=volume_ml, rng=rng(seed))
    assert weight is not None
    return weight


def inserted(image, region, spacing_mm, *, volume_ml, contrast, seed=0):
    """An image with a lesion that fits."""
    options = {"volume_ml": volume_ml, "contrast": contrast}
    made = insert(image, region, spacing_mm, **options, rng=rng(seed))
    assert made is not None
    return made


def ball(spacing_mm, radius_mm=40.0):
    """A body of about 268 ml, with a margin of air."""
    axes = [np.arange(-radius_mm - step, radius_mm + 2 * step, step) for step in spacing_mm]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 < radius_mm**2


def away_mm(lesion, spacing_mm):
    """Offsets of a lesion's voxels from its middle."""
    at = np.argwhere(lesion) * spacing_mm
    return at - at.mean(axis=0)


@given(
    spacing_mm=st.sampled_from(SPACINGS),
    volume_ml=st.floats(0.05, 60),
    turn=st.permutations((0, 1, 2)),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_its_volume_is_exact_and_it_is_one_piece_within_the_body(spacing_mm, volume_ml, turn, seed):
    region = ball(spacing_mm).transpose(turn)[::-1]
    spacing_mm = tuple(spacing_mm[axis] for axis in turn)
    weight = drawn(region, spacing_mm, volume_ml=volume_ml, seed=seed)
    lesion, voxel_ml = weight > 0, np.prod(spacing_mm) / 1000
    assert abs(lesion.sum() * voxel_ml - volume_ml) <= voxel_ml / 2 * (1 + 1e-9)
    assert label(lesion)[1] == 1
    assert not (lesion & ~region).any()
    assert weight[lesion].mean() == pytest.approx(1)
    assert weight.max() <= HIGHEST_WEIGHT


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_it_is_a_ball_in_mm_and_not_in_voxels(spacing_mm):
    weight = drawn(ball(spacing_mm), spacing_mm, volume_ml=30)
    away = away_mm(weight > 0, spacing_mm)
    radius_mm = np.cbrt(3 * 30_000 / (4 * np.pi))
    # The mean square of one coordinate over a ball is r^2 / 5.
    np.testing.assert_allclose((away**2).mean(axis=0), radius_mm**2 / 5, rtol=0.06)
    assert np.linalg.norm(away, axis=1).max() < radius_mm + np.linalg.norm(spacing_mm)


@pytest.mark.parametrize("seed", range(5))
def test_its_centre_is_as_deep_as_a_ball_of_its_volume_needs(seed):
    spacing_mm = (2.0, 2.0, 2.0)
    region = ball(spacing_mm)
    weight = drawn(region, spacing_mm, volume_ml=8, seed=seed)
    depth_mm = distance_transform_edt(region, spacing_mm)
    middle = np.argwhere(weight > 0).mean(axis=0).round().astype(int)
    assert depth_mm[tuple(middle)] > np.cbrt(3 * 8000 / (4 * np.pi)) - 1


def test_in_few_slices_it_is_flat_and_keeps_its_volume():
    region = ball((1.0, 1.0, 4.0))
    middle = region.shape[2] // 2
    region[:, :, : middle - 1] = region[:, :, middle + 2 :] = False
    weight = drawn(region, (1.0, 1.0, 4.0), volume_ml=8)
    lesion = weight > 0
    assert lesion.sum() == 2000
    assert not (lesion & ~region).any()
    assert lesion.any(axis=(0, 1)).sum() == 3


def test_its_place_is_random_and_does_not_depend_on_the_contrast():
    region = ball((2.0, 2.0, 2.0))
    image = region * np.float32(100)

    def lesion(seed, contrast):
        made = inserted(image, region, (2, 2, 2), volume_ml=2, contrast=contrast, seed=seed)
        return made.lesion

    np.testing.assert_array_equal(lesion(1, -0.5), lesion(1, 0.7))
    assert not (lesion(1, 0.5) & lesion(2, 0.5)).all()
    places = {tuple(np.argwhere(lesion(seed, 0.5))[0]) for seed in range(12)}
    assert len(places) > 8


@pytest.mark.parametrize("contrast", [-0.5, -0.1, 0.25, 2.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float16, np.float64])
def test_its_contrast_is_that_over_its_voxels(contrast, dtype):
    region = ball((2.0, 2.0, 2.0))
    image = np.where(region, 200, 0).astype(dtype)
    before = image.copy()
    made = inserted(image, region, (2, 2, 2), volume_ml=5, contrast=contrast)
    assert made.image[made.lesion].mean() == pytest.approx(200 * (1 + contrast), rel=1e-5)
    assert (made.image >= 0).all()
    assert np.issubdtype(made.image.dtype, np.floating)
    np.testing.assert_array_equal(made.image[~made.lesion], image[~made.lesion])
    assert (made.image[made.lesion] != 200).all()
    np.testing.assert_array_equal(image, before)


def test_it_follows_the_anatomy_below_it():
    """The signal is multiplied, not replaced: twice as bright a place stays twice as bright."""
    weight = np.zeros((1, 1, 4))
    weight[..., 1:3] = 1.0
    made = with_lesion(np.array([[[10.0, 10.0, 20.0, 20.0]]]), weight, 0.5)
    np.testing.assert_allclose(made, [[[10, 15, 30, 20]]])


def test_where_air_is_negative_signal_counts_from_the_lowest_value():
    """In CT air is -1000: bright must not become dark where values are negative."""
    weight = np.zeros((1, 1, 3))
    weight[..., 1] = 1.0
    made = with_lesion(np.array([[[-1000, -100, 40]]], np.int16), weight, 0.5)
    np.testing.assert_allclose(made, [[[-1000, 350, 40]]])


@pytest.mark.parametrize("step_mm", [1.0, 2.0])
def test_its_border_is_softer_than_its_inside(step_mm):
    """The inside begins at a depth of 3 mm, whatever the voxels."""
    spacing_mm = (step_mm, step_mm, step_mm)
    weight = drawn(ball(spacing_mm), spacing_mm, volume_ml=20)
    depth_mm = np.asarray(distance_transform_edt(weight > 0, spacing_mm))
    rising = [weight[depth_mm == depth].mean() for depth in np.arange(step_mm, 3.1, step_mm)]
    assert rising == sorted(set(rising))
    np.testing.assert_allclose(weight[depth_mm >= 3], weight.max())
    assert weight[depth_mm == step_mm].max() < 0.95 * weight.max()


@pytest.mark.parametrize(
    ("region", "volume_ml"),
    [
        (np.zeros((5, 5, 5), bool), 0.001),
        (np.ones((5, 5, 5), bool), 0.064),
        (np.ones((5, 5, 5), bool), 0.0004),
        (np.indices((8, 8, 8)).sum(axis=0) % 2 == 0, 0.01),
    ],
    ids=["no body", "more than half of it", "no voxel", "a body of specks"],
)
def test_none_where_it_does_not_fit(region, volume_ml):
    assert draw_weight(region, (1, 1, 1), volume_ml=volume_ml, rng=rng()) is None
    image = np.ones(region.shape)
    made = insert(image, region, (1, 1, 1), volume_ml=volume_ml, contrast=0.5, rng=rng())
    assert made is None


def test_the_smallest_that_fits_is_a_voxel_and_the_largest_half_a_piece():
    region = np.ones((5, 5, 5), bool)
    for volume_ml, voxels in ((0.001, 1), (0.062, 62)):
        weight = drawn(region, (1, 1, 1), volume_ml=volume_ml)
        assert np.count_nonzero(weight) == voxels


@pytest.mark.parametrize("seed", range(8))
def test_it_never_spans_two_pieces(seed):
    """Two plates with a gap: the nearest voxels of a centre in one are soon those of the other."""
    region = np.zeros((30, 30, 9), bool)
    region[..., 1:4] = region[..., 5:8] = True
    weight = drawn(region, (1, 1, 1), volume_ml=0.8, seed=seed)
    assert np.count_nonzero(weight) == 800
    assert np.any(weight[..., :4]) != np.any(weight[..., 4:])


def test_it_never_lies_across_a_cleft():
    """One piece, but for its near end two plates: near that end alone a lesion is one piece."""
    region = np.ones((40, 20, 11), bool)
    region[2:, :, 5] = False
    weights = [draw_weight(region, (1, 1, 1), volume_ml=0.9, rng=rng(seed)) for seed in range(12)]
    fitted = [weight for weight in weights if weight is not None]
    assert fitted
    assert all(label(weight)[1] == 1 for weight in fitted)


@pytest.mark.parametrize("volume_ml", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_volume_is_refused(volume_ml):
    with pytest.raises(ValueError, match="volume_ml"):
        draw_weight(np.ones((3, 3, 3), bool), (1, 1, 1), volume_ml=volume_ml, rng=rng())


@pytest.mark.parametrize("contrast", [-0.61, -1.0, np.nan, np.inf])
def test_a_contrast_that_leaves_no_signal_is_refused(contrast):
    with pytest.raises(ValueError, match="contrast"):
        with_lesion(np.ones((1, 1, 1)), np.ones((1, 1, 1)), contrast)


@pytest.mark.parametrize("spacing_mm", [(4.0, 4.0, 4.0), (2.0, 2.0, 12.0)])
def test_it_fits_into_a_head(spacing_mm):
    head = stress_head(case_stream(5, "stress", 0), Grid(spacing_mm))
    image = head.with_lesion(np.zeros(head.grid.shape), 0.0).image
    voxel_ml = np.prod(spacing_mm) / 1000
    for volume_ml in (1.0, 8.0, 40.0):
        made = inserted(image, image > 0, spacing_mm, volume_ml=volume_ml, contrast=0.5)
        assert abs(made.lesion.sum() * voxel_ml - volume_ml) <= voxel_ml / 2
        healthy = image[made.lesion].astype(float).sum()
        assert made.image[made.lesion].sum() / healthy == pytest.approx(1.5, abs=0.1)
