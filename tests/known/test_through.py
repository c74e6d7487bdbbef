"""Maps averaged through the slices, inside the body alone."""

import numpy as np
import pytest

from wholesight.prep.slices import Slicing
from wholesight.prep.through import averaged_through


def stack(slices: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(slices, 1, 4, 5)).astype(np.float32)
    return maps, rng.random((slices, 1, 4, 5)) < 0.7


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
    body = np.ones((8, 8, 3), bool)
    grids = [Slicing(size=8, fused_mm=6.0).grid(body, (1.0, 1.0, mm)) for mm in (1.0, 4.0)]
    assert [grid.fused for grid in grids] == [6.0, 1.5]
    with pytest.raises(ValueError, match="fused_mm is -1"):
        Slicing(size=8, fused_mm=-1.0)
