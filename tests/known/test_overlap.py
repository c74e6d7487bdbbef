"""Overlap of mask and truth against scikit-learn, the counts in words, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from wholesight.metrics.overlap import (
    counts_of,
    dice,
    dice_of,
    flagged_share,
    flagged_share_of,
    iou,
    iou_of,
    precision,
    precision_of,
    sensitivity,
    sensitivity_of,
    share,
    volume_error_ml,
)

MASK = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
TRUTH = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
NONE, SOME = np.zeros(4, bool), np.array([1, 0, 0, 0], bool)

BOTH_FORMS = [
    (dice, dice_of),
    (iou, iou_of),
    (sensitivity, sensitivity_of),
    (precision, precision_of),
    (flagged_share, flagged_share_of),
]


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Any overlap from none to all, now and then with one of both empty."""
    rng = np.random.default_rng(seed)
    mask, truth = rng.random((2, 6, 5, 4)) < rng.choice([0.0, 0.01, 0.3, 0.9, 1.0], (2, 1, 1, 1))
    return mask, truth


def test_by_hand() -> None:
    np.testing.assert_array_equal(counts_of(MASK, TRUTH), [2, 1, 2, 3])
    assert dice(MASK, TRUTH) == pytest.approx(4 / 7)
    assert iou(MASK, TRUTH) == pytest.approx(2 / 5)
    assert sensitivity(MASK, TRUTH) == 0.5
    assert precision(MASK, TRUTH) == pytest.approx(2 / 3)
    assert flagged_share(MASK, TRUTH) == 0.25
    assert volume_error_ml(MASK, TRUTH, voxel_mm3=1500.0) == -1.5


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scikit_learn(seed: int) -> None:
    mask, truth = random_pair(seed)
    for ours, known in (
        (dice, f1_score),
        (iou, jaccard_score),
        (sensitivity, recall_score),
        (precision, precision_score),
    ):
        expected = known(truth.ravel(), mask.ravel(), zero_division=0)
        undefined = truth if ours is sensitivity else truth | mask
        if not undefined.any():
            expected = np.nan
        assert ours(mask, truth) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_are_all_pixels_once(seed: int) -> None:
    mask, truth = random_pair(seed)
    known = [
        sum(
            bool(m) is flagged and bool(t) is lesion
            for m, t in zip(mask.flat, truth.flat, strict=True)
        )
        for flagged, lesion in ((True, True), (True, False), (False, True), (False, False))
    ]
    np.testing.assert_array_equal(counts_of(mask, truth), known)


@pytest.mark.parametrize(("of_masks", "of_counts"), BOTH_FORMS)
def test_many_counts_at_once_are_each_alone(of_masks, of_counts) -> None:
    pairs = [random_pair(seed) for seed in range(12)]
    counts = np.stack([counts_of(*pair) for pair in pairs]).reshape(3, 4, 4)
    alone = np.array([of_masks(*pair) for pair in pairs]).reshape(3, 4)
    np.testing.assert_array_equal(of_counts(counts), alone)
    assert np.isnan(alone).any(), "no empty case among them: this test looks away"
    np.testing.assert_allclose(of_counts(counts * 0.5), alone)  # a weight is no whole number


def test_counts_add_up_over_cases() -> None:
    """A set is judged by its pixels together, which is not the mean over its cases."""
    together = counts_of(MASK, TRUTH) + counts_of(np.pad(SOME, (0, 4)), np.zeros(8, bool))
    assert float(dice_of(together)) == pytest.approx(4 / 8)
    assert float(precision_of(together)) == pytest.approx(2 / 4)


def test_what_empty_means() -> None:
    for figure in (dice, iou):
        assert np.isnan(figure(NONE, NONE))
        assert figure(SOME, NONE) == figure(NONE, SOME) == 0.0
    assert np.isnan(precision(NONE, NONE))
    assert precision(NONE, SOME) == precision(SOME, NONE) == 0.0  # silence is not precise
    assert np.isnan(sensitivity(SOME, NONE))
    assert sensitivity(NONE, SOME) == 0.0
    assert np.isnan(flagged_share(SOME, ~NONE))
    assert flagged_share(NONE, NONE) == 0.0
    assert volume_error_ml(NONE, NONE, voxel_mm3=1.0) == 0.0
    assert volume_error_ml(SOME, NONE, voxel_mm3=2000.0) == 2.0
    assert np.isnan(volume_error_ml(NONE[:0], NONE[:0], voxel_mm3=1.0))


def test_volume_forgives_the_wrong_place() -> None:
    """Not a figure to stand alone: Dice is 0 here."""
    assert volume_error_ml(SOME, np.roll(SOME, 1), voxel_mm3=9.0) == 0.0
    assert dice(SOME, np.roll(SOME, 1)) == 0.0


def test_shares_of_nothing() -> None:
    np.testing.assert_array_equal(share([1, 0, 3], [2, 0, 0]), [0.5, np.nan, np.nan])
    assert float(share(np.array(1), np.array(4))) == 0.25


@pytest.mark.parametrize("of_masks", [of_masks for of_masks, _ in BOTH_FORMS])
def test_shapes_that_differ_are_refused(of_masks) -> None:
    with pytest.raises(ValueError, match=r"mask \(8,\) for truth \(4,\)"):
        of_masks(MASK, NONE)
