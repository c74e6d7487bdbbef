"""How far voxel sizes are from those of the training."""

import numpy as np
import pytest

from wholesight.cohort.spacing import REFUSED, require_spacing, sizes, times_off
from wholesight.errors import InputError
from wholesight.volume import Volume

KNOWN = {"spacing_mm": {"low": [1.0, 1.0, 3.0], "high": [1.0, 1.0, 5.0]}}


def scan(*spacing_mm, turned=False):
    affine = np.diag([*spacing_mm, 1.0])
    if turned:  # k runs to the right, i to the front, j to the top
        affine = affine[[2, 0, 1, 3]]
    return Volume(np.zeros((2, 2, 2), np.float32), affine, "x.nii.gz")


@pytest.mark.parametrize(
    ("spacing_mm", "times", "resized"),
    [
        ((1.0, 1.0, 4.0), 1.0, 1.0),
        ((1.0, 1.0, 10.0), 2.0, 2.0),
        ((1.0, 1.0, 1.0), 3.0, 3.0),
        ((1.0, 2.0, 4.0), 2.0, 2.0),
        # Finer in the slice: nothing that the network knows is missing once it is resized.
        ((0.25, 2.0, 4.0), 4.0, 2.0),
        ((0.25, 0.25, 4.0), 4.0, 1.0),
    ],
)
def test_it_is_the_axis_that_is_farthest_off_and_either_way(spacing_mm, times, resized):
    assert times_off(KNOWN, scan(*spacing_mm), resized=False) == pytest.approx(times)
    assert times_off(KNOWN, scan(*spacing_mm), resized=True) == pytest.approx(resized)


def test_axes_are_those_of_the_body_however_the_file_lies():
    turned = scan(1.0, 4.0, 1.0, turned=True)
    assert times_off(KNOWN, turned, resized=False) == pytest.approx(1)
    assert "1 x 1 x 4 mm" in sizes(KNOWN, turned)


def test_far_is_refused_and_unknown_is_not():
    require_spacing(KNOWN, scan(1.0, 1.0, 5.0 * REFUSED - 0.1), resized=True)
    with pytest.raises(InputError, match=r"15.1 mm .* 1 x 1 x 3 to 1 x 1 x 5 mm") as refused:
        require_spacing(KNOWN, scan(1.0, 1.0, 5.0 * REFUSED + 0.1), resized=True)
    assert refused.value.code == "E_VOXEL_SIZE"
    require_spacing({}, scan(1.0, 1.0, 50.0), resized=True)
