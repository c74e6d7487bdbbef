"""A scan's maps put together: level, and averaged through the slices inside the body alone."""

import numpy as np
import pytest

from wholesight.prep.assembly import Assembly, averaged_through
from wholesight.prep.body import BODIES
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import INTENSITIES
from wholesight.prep.slices import Slicing
from wholesight.volume import Scan, Volume


def stack(slices: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(slices, 1, 4, 5)).astype(np.float32)
    return maps, rng.random((slices, 1, 4, 5)) < 0.7


@pytest.fixture
def phantom_scan() -> Scan:
    """A scan of noise in a block of body."""
    voxels = np.zeros((12, 10, 6), np.float32)
    voxels[2:-2, 2:-2, 1:-1] = np.random.default_rng(0).uniform(1, 2, (8, 6, 4))
    return Scan(Volume(voxels, np.diag([1.0, 1.0, 3.0, 1.0])))


def test_it_is_the_weighted_mean_of_what_is_inside():
    maps, inside = stack()
    found = averaged_through(maps, inside, sigma=1.5)
    n = np.arange(len(maps))
    for z, y, x in [(0, 1, 1), (4, 2, 3), (8, 3, 0)]:
        weight = np.exp(-0.5 * ((n - z) / 1.5) ** 2) * inside[:, 0, y, x]
        weight[abs(n - z) > 6] = 0  # scipy cuts at four standard deviations
        if inside[z, 0, y, x]:
            expected = (weight * maps[:, 0, y, x]).sum() / weight.sum()
            assert found[z, 0, y, x] == pytest.approx(expected, rel=1e-4)


def test_what_is_even_stays_and_what_is_outside_too():
    maps, inside = stack()
    even = np.where(inside, np.float32(3), maps)
    found = averaged_through(even, inside, sigma=2.0)
    np.testing.assert_allclose(found, even, rtol=1e-5)
    assert np.array_equal(averaged_through(maps, inside, sigma=2.0)[~inside], maps[~inside])


def test_no_width_changes_nothing_and_one_slice_has_no_neighbours():
    maps, inside = stack()
    assert np.array_equal(averaged_through(maps, inside, sigma=0.0), maps)
    one = averaged_through(maps[:1], inside[:1], sigma=2.0)
    np.testing.assert_allclose(one, maps[:1], rtol=1e-5)


def test_the_width_is_in_mm_whatever_the_distance_of_slices():
    maps, inside = stack()
    found = Assembly(fused_mm=6.0)(maps, inside, slice_mm=4.0)
    assert np.array_equal(found, averaged_through(maps, inside, sigma=1.5))
    with pytest.raises(ValueError, match="fused_mm is -1"):
        Assembly(fused_mm=-1.0)


def test_a_level_is_that_of_the_whole_scans_body():
    maps, inside = stack()
    found = Assembly(level="median")(maps, inside, slice_mm=1.0)
    assert np.median(found[inside]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found - maps, found[0, 0, 0, 0] - maps[0, 0, 0, 0], atol=1e-6)
    higher = Assembly(level="median")(maps + np.float32(5), inside, slice_mm=1.0)
    np.testing.assert_allclose(higher, found, atol=1e-5)


def test_as_it_stands_nothing_is_done_and_a_scan_without_a_body_has_no_level():
    maps, inside = stack()
    assert np.array_equal(Assembly()(maps, inside, slice_mm=3.0), maps)
    nothing = np.zeros_like(inside)
    assert np.array_equal(Assembly(level="median")(maps, nothing, slice_mm=3.0), maps)


def test_a_recipes_maps_come_back_level(phantom_scan):
    prep = Prep(
        body=BODIES["nonzero"](),
        intensity=INTENSITIES["raw"](),
        slices=Slicing(size=None),
        maps=Assembly(level="median"),
    )
    prepared = prep.forward(phantom_scan)
    back = prepared.restore(prepared.pixels)
    assert np.median(back[prepared.body]) == pytest.approx(0, abs=1e-3)
    assert not back[~prepared.body].any()


def test_fusing_goes_through_the_slices_of_a_scan_stored_otherwise(phantom_scan):
    """Slices lie along the first axis of the file here, 3 mm apart."""
    turned = np.moveaxis(phantom_scan.image.voxels, 2, 0).copy()
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 3.0, 1.0, 1.0, 1.0
    prep = Prep(
        body=BODIES["nonzero"](),
        intensity=INTENSITIES["raw"](),
        slices=Slicing(size=None),
        maps=Assembly(fused_mm=1.5),
    )
    upright, other = (prep.forward(scan) for scan in (phantom_scan, Scan(Volume(turned, affine))))
    found = other.restore(other.pixels)
    np.testing.assert_allclose(np.moveaxis(found, 0, 2), upright.restore(upright.pixels), rtol=1e-5)
    assert not np.allclose(found[other.body], turned[other.body])


@pytest.mark.parametrize("maps", [Assembly(fused_mm=6.0), Assembly(level="median")])
def test_what_is_marked_abnormal_never_reaches_the_normal_slices(phantom_scan, maps):
    lesion = np.zeros(phantom_scan.image.shape, bool)
    lesion[4:8, 4:6, 2] = True
    prep = Prep(
        body=BODIES["nonzero"](),
        intensity=INTENSITIES["raw"](),
        slices=Slicing(size=None),
        maps=maps,
    )
    backs = []
    for contrast in (0.0, 50.0):
        voxels = phantom_scan.image.voxels + np.float32(contrast) * lesion
        marked = Scan(phantom_scan.image.like(voxels), abnormal=phantom_scan.image.like(lesion))
        prepared = prep.forward(marked)
        backs.append(prepared.restore(prepared.pixels)[prepared.normal_body()])
    np.testing.assert_array_equal(*backs)
