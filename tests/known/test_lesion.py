"""Lesions counted: traps with known answers, and a count in sets and loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from wholesight.metrics.lesion import (
    LesionCounts,
    components,
    lesion_counts,
    lesion_f1,
    lesion_precision,
    lesion_sensitivity,
)
from wholesight.metrics.lesion_table import Found, contrast_of, lesion_table

GRID = (20, 20, 6)


def boxes(*corners: tuple[slice, slice, slice] | tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros(GRID, bool)
    for corner in corners:
        mask[corner] = True
    return mask


# Two lesions of 4 x 4 x 2 voxels, and one more.
FIRST = (slice(2, 6), slice(2, 6), slice(1, 3))
SECOND = (slice(10, 14), slice(2, 6), slice(1, 3))
TWO = boxes(FIRST, SECOND)
NOTHING = boxes()


def figures(counts: LesionCounts) -> list[float]:
    """Sensitivity, precision, F1."""
    array = np.array(counts)
    return [float(f(array)) for f in (lesion_sensitivity, lesion_precision, lesion_f1)]


def test_corners_connect_and_gaps_do_not() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    labels, number = components(mask)
    assert number == 2
    assert labels.dtype == np.int32
    assert labels[0, 0, 0] == labels[1, 1, 1] != labels[3, 3, 3]
    assert (labels > 0).sum() == 3


@pytest.mark.parametrize("seed", range(5))
def test_components_agree_with_scikit_image(seed: int) -> None:
    mask = np.random.default_rng(seed).random((14, 9, 5)) < [0.02, 0.05, 0.1, 0.2, 0.6][seed]
    labels, number = components(mask)
    known, known_number = label(mask, connectivity=3, return_num=True)
    assert number == known_number
    pairs = np.unique(np.stack([labels.ravel(), known.ravel()]), axis=1)
    assert pairs.shape[1] == number + 1, "one label of theirs for each of ours"


def test_perfect() -> None:
    assert lesion_counts(TWO, TWO) == LesionCounts(lesions=2, found=2, flagged=2, true=2)
    assert figures(lesion_counts(TWO, TWO)) == [1.0, 1.0, 1.0]


def test_flagging_everything_finds_nothing() -> None:
    counts = lesion_counts(np.ones(GRID, bool), TWO)
    assert counts == LesionCounts(lesions=2, found=0, flagged=1, true=0)
    assert counts.false == 1
    assert figures(counts) == [0.0, 0.0, 0.0]


def test_flagging_nothing_finds_nothing() -> None:
    counts = lesion_counts(NOTHING, TWO)
    assert counts == LesionCounts(lesions=2, found=0, flagged=0, true=0)
    assert figures(counts) == [0.0, 0.0, 0.0]


def test_one_component_over_two_lesions_finds_both_and_is_one_alarm() -> None:
    bridge = boxes((slice(2, 14), slice(2, 6), slice(1, 3)))
    assert lesion_counts(bridge, TWO) == LesionCounts(lesions=2, found=2, flagged=1, true=1)


def test_two_components_on_one_lesion_are_two_true_alarms() -> None:
    truth = boxes((slice(2, 14), slice(2, 6), slice(1, 3)))
    counts = lesion_counts(TWO, truth)
    assert counts == LesionCounts(lesions=1, found=1, flagged=2, true=2)
    assert figures(counts) == [1.0, 1.0, 1.0]


def test_two_components_find_together_what_neither_finds_alone() -> None:
    truth = boxes((slice(0, 20), slice(0, 5), 0))  # 100 voxels
    small = boxes((0, slice(0, 5), 0)), boxes((19, slice(0, 5), 0))  # 5 voxels each
    assert lesion_counts(small[0], truth) == LesionCounts(1, found=0, flagged=1, true=1)
    assert lesion_counts(small[0] | small[1], truth) == LesionCounts(1, found=1, flagged=2, true=2)


def test_a_graze_is_neither_found_nor_true() -> None:
    graze = boxes((slice(5, 15), slice(5, 15), slice(2, 6)))  # 2 voxels of lesion in 400
    graze &= ~boxes(SECOND)
    counts = lesion_counts(graze, boxes(FIRST))
    assert (counts.found, counts.flagged, counts.true) == (0, 1, 0)


@pytest.mark.parametrize(("voxels", "found"), [(30, 1), (31, 0)])
def test_a_lesion_is_found_by_a_tenth_and_not_by_less(voxels: int, found: int) -> None:
    """3 of 30 is a tenth, though 0.1 * 30 > 3 in floating point."""
    truth, mask = np.zeros((40, 1, 1), bool), np.zeros((40, 1, 1), bool)
    truth[:voxels] = True
    mask[:3] = True
    assert lesion_counts(mask, truth) == LesionCounts(1, found=found, flagged=1, true=1)


@pytest.mark.parametrize(("others", "true"), [(6, 1), (7, 1), (8, 0)])
def test_a_true_component_is_a_fifth_of_the_way_from_chance(others: int, true: int) -> None:
    """5 of 45 are lesion, 1/9; a fifth of the way from there to 1 is 13/45, less than 3/10."""
    body = np.zeros((50, 1, 1), bool)
    body[:45] = True
    truth, mask = np.zeros(body.shape, bool), np.zeros(body.shape, bool)
    truth[:3], truth[40:42] = True, True
    mask[: 3 + others] = True
    assert lesion_counts(mask, truth, body) == LesionCounts(2, found=true, flagged=1, true=true)


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4, 0.9])
def test_flagging_the_body_finds_no_lesion_however_large(share: float) -> None:
    body = np.zeros((20, 20, 3), bool)
    body[2:18, 2:18] = True
    truth = body & (np.arange(20)[:, None, None] < 2 + 16 * share)
    counts = lesion_counts(body, truth, body)
    assert (counts.lesions, counts.found, counts.false) == (1, 0, 1)
    assert lesion_counts(truth, truth, body) == LesionCounts(1, found=1, flagged=1, true=1)


def test_when_all_is_lesion_all_that_is_flagged_is_true() -> None:
    body = np.ones((4, 4, 2), bool)
    assert lesion_counts(body, body, body) == LesionCounts(1, found=1, flagged=1, true=1)


def test_what_empty_means() -> None:
    nothing = lesion_counts(NOTHING, NOTHING)
    assert nothing == LesionCounts(0, 0, 0, 0)
    assert np.isnan(figures(nothing)).all()
    alarm = lesion_counts(TWO, NOTHING)
    assert alarm == LesionCounts(lesions=0, found=0, flagged=2, true=0)
    sensitivity, precision, f1 = figures(alarm)
    assert np.isnan(sensitivity)
    assert precision == f1 == 0.0


def test_figures_of_many_counts_at_once() -> None:
    counts = np.array([[4, 2, 5, 1], [4, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0], [2, 2, 2, 2]])
    nan = np.nan
    np.testing.assert_allclose(lesion_sensitivity(counts), [0.5, 0, nan, nan, 1])
    np.testing.assert_allclose(lesion_precision(counts), [0.2, 0, 0, nan, 1])
    np.testing.assert_allclose(lesion_f1(counts), [2 * 0.1 / 0.7, 0, 0, nan, 1])
    nested = np.stack([counts, counts[::-1]]) * 0.5
    np.testing.assert_allclose(lesion_f1(nested)[1], lesion_f1(counts)[::-1])


def counted_by_hand(mask: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """The rule once more, in sets of voxels."""

    def sets(flags: np.ndarray) -> list[set[tuple[int, ...]]]:
        left, found = {tuple(voxel) for voxel in np.argwhere(flags).tolist()}, []
        while left:
            edge = [left.pop()]
            one = set(edge)
            while edge:
                i, j, k = edge.pop()
                near = {(i + x - 1, j + y - 1, k + z - 1) for x, y, z in np.ndindex(3, 3, 3)}
                edge += near & left
                one |= near & left
                left -= near
            found.append(one)
        return found

    flagged, lesions, lesion = sets(mask), sets(truth), set(map(tuple, np.argwhere(truth).tolist()))
    chance = Fraction(len(lesion), truth.size)
    true = [
        one for one in flagged if Fraction(len(one & lesion), len(one)) >= chance + (1 - chance) / 5
    ]
    covered = set().union(*true)
    found = [one for one in lesions if 10 * len(one & covered) >= len(one)]
    return LesionCounts(len(lesions), len(found), len(flagged), len(true))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    flagged=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    lesion=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
)
def test_counts_by_brute_force(seed: int, flagged: float, lesion: float) -> None:
    rng = np.random.default_rng(seed)
    mask, truth = rng.random((7, 8, 4)) < flagged, rng.random((7, 8, 4)) < lesion
    mask |= truth & (rng.random((7, 8, 4)) < 0.3) & (flagged > 0)
    assert lesion_counts(mask, truth) == counted_by_hand(mask, truth)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mask .* for truth"):
        lesion_counts(TWO, TWO[1:])


def image_and_body() -> tuple[np.ndarray, np.ndarray]:
    """Normal tissue of median 100 and MAD 10; the first lesion 130, the second 80."""
    image = np.where(np.indices(GRID).sum(axis=0) % 2, 90.0, 110.0).astype(np.float32)
    image[0] = 100.0  # an odd one out, so that the median is 100
    image[FIRST], image[SECOND] = 130.0, 80.0
    return image, np.ones(GRID, bool)


def test_table_by_hand() -> None:
    image, inside = image_and_body()
    mask = boxes((slice(2, 4), slice(2, 6), slice(1, 3)), (slice(17, 20), slice(17, 20)))
    first, second = lesion_table(image, TWO, inside, voxel_mm3=500.0, mask=mask)
    assert first == Found(16.0, pytest.approx(30 / 14.826), 0.5, True)
    assert second == Found(16.0, pytest.approx(-20 / 14.826), 0.0, False)
    assert contrast_of(image, TWO, inside) == pytest.approx(5 / 14.826)
    assert lesion_table(image, TWO, inside, voxel_mm3=500.0)[0][2:] == (None, None)


def test_table_looks_at_the_body_alone() -> None:
    """What lies outside is no lesion, no normal tissue and no alarm."""
    image, inside = image_and_body()
    inside[:, :, 2:] = False
    image[~inside] = 1e6
    (found, *_), mask = lesion_table(image, TWO, inside, voxel_mm3=1000.0), np.ones(GRID, bool)
    assert found == Found(16.0, pytest.approx(30 / 14.826), None, None)
    assert lesion_table(image, TWO, inside & (image < 0), voxel_mm3=1.0) == []
    # What is flagged outside does not drown what is flagged inside.
    found, _ = lesion_table(image, TWO, inside, voxel_mm3=1.0, mask=boxes(FIRST) | ~inside)
    assert (found.flagged_share, found.found) == (1.0, True)
    # Flagged everywhere, and not found by it: the component drowns the lesion.
    everywhere = lesion_table(image, TWO, inside, voxel_mm3=1.0, mask=mask)
    assert [(each.flagged_share, each.found) for each in everywhere] == [(1.0, False)] * 2


@pytest.mark.parametrize("seed", range(3))
def test_table_and_counts_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, inside = rng.normal(size=GRID), rng.random(GRID) < 0.9
    mask, truth = rng.random((2, *GRID)) < 0.03
    mask |= truth & (rng.random(GRID) < 0.2)
    table = lesion_table(image, truth, inside, voxel_mm3=2.0, mask=mask)
    counts = lesion_counts(mask & inside, truth & inside, inside)
    assert (len(table), sum(bool(each.found) for each in table)) == (counts.lesions, counts.found)
    labels, _ = components(truth & inside)
    normal = image[inside & ~truth]
    spread = 1.4826 * np.median(np.abs(normal - np.median(normal)))
    for number, each in enumerate(table, 1):
        one = labels == number
        assert each.volume_ml == pytest.approx(one.sum() * 2 / 1000)
        assert each.flagged_share == pytest.approx((mask & one).sum() / one.sum())
        known = (np.median(image[one]) - np.median(normal)) / spread
        assert each.contrast == pytest.approx(known)


def test_contrast_is_undefined_where_nothing_varies() -> None:
    image, inside = image_and_body()
    assert contrast_of(image, NOTHING, inside) is None
    assert contrast_of(image, inside, inside) is None
    flat = np.where(TWO, 5.0, 1.0)
    assert contrast_of(flat, TWO, inside) is None
    assert [each.contrast for each in lesion_table(flat, TWO, inside, voxel_mm3=1.0)] == [None] * 2


def test_contrast_of_whole_numbers() -> None:
    """An unsigned image must not wrap around below its median."""
    image, inside = image_and_body()
    whole = contrast_of(image.astype(np.uint8), TWO, inside)
    assert whole == contrast_of(image, TWO, inside)
