"""From a map to a mask: known components, known holes, and all thresholds at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import binary_fill_holes

from wholesight.cleanup import Cleanup

# Few values, so that maps have ties, plateaus and voxels that are exactly at a threshold.
LEVELS = np.float32([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5])
SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)


@st.composite
def maps(draw) -> tuple[np.ndarray, np.ndarray]:
    """A map and a body, of any small shape; the body may be anything but empty."""
    shape = draw(SHAPES)
    levels = draw(arrays.arrays(np.int8, shape, elements=st.integers(0, len(LEVELS) - 1)))
    body = draw(arrays.arrays(bool, shape))
    return LEVELS[levels], body


def shell(value: float = 1.0, core: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed box of 3 x 3 x 3 around one voxel, in the middle of 7 x 7 x 7."""
    anomaly = np.zeros((7, 7, 7), np.float32)
    anomaly[2:5, 2:5, 2:5] = value
    anomaly[3, 3, 3] = core
    return anomaly, np.ones(anomaly.shape, bool)


# ---------------------------------------------------------------- the smallest lesion


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    anomaly = np.zeros((4, 4, 4), np.float32)
    anomaly[[0, 1, 3], [0, 1, 3], [0, 1, 3]] = 1.0
    body = np.ones(anomaly.shape, bool)
    mask = Cleanup(min_lesion_mm3=2.0)(anomaly, body, threshold=0.5, voxel_mm3=1.0)
    assert mask.sum() == 2
    assert not mask[3, 3, 3]


def test_the_smallest_lesion_is_kept_at_its_own_size():
    anomaly, body = shell(core=1.0)
    for smallest, kept in ((27 * 0.5, 27), (27 * 0.5 + 1e-9, 0)):
        mask = Cleanup(min_lesion_mm3=smallest)(anomaly, body, threshold=0.5, voxel_mm3=0.5)
        assert mask.sum() == kept


def test_dropping_below_changes_the_smallest_lesion_alone():
    for fill_holes in (False, True):
        other = Cleanup(min_lesion_mm3=5.0, fill_holes=fill_holes).dropping_below(7.5)
        assert (other.min_lesion_mm3, other.fill_holes) == (7.5, fill_holes)


@pytest.mark.parametrize("smallest", [-1.0, float("nan"), float("inf")])
def test_a_smallest_lesion_that_is_no_volume_is_refused(smallest):
    with pytest.raises(ValueError, match="min_lesion_mm3"):
        Cleanup().dropping_below(smallest)


# ---------------------------------------------------------------- holes, at every threshold


def test_a_pit_is_raised_to_the_lowest_point_of_its_rim():
    anomaly, body = shell(value=3.0, core=0.5)
    anomaly[3, 3, 4] = 2.0  # a face of the core
    found = Cleanup(fill_holes=True).filled(anomaly, body)
    assert found[3, 3, 3] == 2.0
    found[3, 3, 3] = anomaly[3, 3, 3]
    np.testing.assert_array_equal(found, anomaly)


def test_a_corner_closes_no_less_than_a_face():
    """A way out by an edge or a corner is none, as in `binary_fill_holes`."""
    anomaly, body = shell()
    anomaly[2, 2, 2] = anomaly[2, 2, 3] = 0.0
    assert Cleanup(fill_holes=True).filled(anomaly, body)[3, 3, 3] == 1.0


def test_what_lies_outside_the_body_is_neither_rim_nor_hole():
    anomaly, body = shell()
    body[2:5, 2:5, 4] = False  # one side of the box is outside, however high the map is there
    assert Cleanup(fill_holes=True).filled(anomaly, body)[3, 3, 3] == 0.0
    anomaly, body = shell()
    body[3, 3, 3] = False
    assert Cleanup(fill_holes=True).filled(anomaly, body)[3, 3, 3] == 0.0


def test_a_map_whose_holes_stay_is_the_map_itself():
    anomaly, body = shell()
    assert Cleanup(fill_holes=False).filled(anomaly, body) is anomaly
    before = anomaly.copy()
    Cleanup(fill_holes=True).filled(anomaly, body)
    np.testing.assert_array_equal(anomaly, before)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(maps())
def test_every_threshold_of_the_filled_map_is_the_filled_mask(given_map):
    anomaly, body = given_map
    cleanup = Cleanup(fill_holes=True)
    found = cleanup.filled(anomaly, body)
    assert found.dtype == anomaly.dtype
    np.testing.assert_array_equal(found[~body], anomaly[~body])
    for threshold in (*LEVELS, -3.0, 0.25):
        mask = cleanup(anomaly, body, threshold=float(threshold), voxel_mm3=1.0)
        np.testing.assert_array_equal((found > threshold) & body, mask)
        # The same, said without our own class.
        above = np.asarray(binary_fill_holes((anomaly > threshold) & body))
        np.testing.assert_array_equal((found > threshold) & body, above & body)


def test_a_real_sized_map_is_filled_like_its_masks():
    rng = np.random.default_rng(0)
    anomaly = rng.normal(size=(24, 30, 18)).astype(np.float32)
    grid = np.indices(anomaly.shape) - np.array(anomaly.shape)[:, None, None, None] / 2
    body = (grid**2).sum(axis=0) < 11**2
    cleanup = Cleanup(fill_holes=True)
    found = cleanup.filled(anomaly, body)
    assert (found != anomaly).any()
    for threshold in np.quantile(anomaly[body], [0.02, 0.2, 0.5, 0.8]):
        mask = cleanup(anomaly, body, threshold=float(threshold), voxel_mm3=1.0)
        np.testing.assert_array_equal((found > threshold) & body, mask)
