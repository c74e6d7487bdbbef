"""Which pixels are judged, against answers known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from wholesight import metrics


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 5, 6])
def test_erosion_is_a_square_in_each_slice(axis: int, size: int) -> None:
    solid = np.random.default_rng(axis).random((20, 21, 22)) < 0.97
    ours = np.moveaxis(metrics.eroded(solid, axis=axis, size=size), axis, 0)
    square = np.ones((size, size), bool)
    for one, before in zip(ours, np.moveaxis(solid, axis, 0), strict=True):
        np.testing.assert_array_equal(one, ndimage.binary_erosion(before, square))


def test_erosion_counts_axes_from_the_end_too() -> None:
    solid = np.ones((9, 9, 3), bool)
    np.testing.assert_array_equal(metrics.eroded(solid, axis=-1), metrics.eroded(solid, axis=2))


def test_pixels_come_from_the_body_alone() -> None:
    inside = np.zeros((2, 2, 1), bool)
    inside[0] = True
    scores = np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])
    pixels = metrics.pixels_inside(inside, scores=scores, truth=scores == 2.0)
    np.testing.assert_array_equal(pixels.scores, [1.0, 2.0])
    np.testing.assert_array_equal(pixels.truth, [False, True])
    assert pixels.mask is None
    with pytest.raises(ValueError, match="1 in-body scores are not finite"):
        metrics.pixels_inside(np.ones_like(inside), scores=scores, truth=inside)
    with pytest.raises(ValueError, match="truth"):
        metrics.pixels_inside(inside, scores=scores, truth=inside[:1])
