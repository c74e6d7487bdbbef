"""Surface figures against MONAI, surface-distance, brute force and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from wholesight.metrics.surface import hd95_mm, surface_dice
from wholesight.metrics.surfel import surfels

# Both packages call what scipy and MONAI themselves are about to drop.
OUTDATED = pytest.mark.filterwarnings(
    "ignore:.*always_return_as_numpy.*:FutureWarning",
    "ignore:.*scipy.ndimage.* namespace.*:DeprecationWarning",
)
SPACINGS = pytest.mark.parametrize(
    "spacing_mm",
    [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.5, 0.7, 2.0), (0.9375, 0.9375, 6.0)],
    ids=str,
)
ISOTROPIC = (1.0, 1.0, 1.0)
NONE = np.zeros((7, 8, 4), bool)


def blob(
    rng: np.random.Generator, shape: tuple[int, ...] = (22, 20, 9), share: float = 0.12
) -> np.ndarray:
    """A few smooth blobs, some of them cut by the edge of the grid."""
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), [2.0, 2.0, 1.0][: len(shape)])
    return smooth > np.quantile(smooth, 1 - share)


def pairs(seeds: range) -> list[tuple[np.ndarray, np.ndarray]]:
    """Independent blobs, far apart, and blobs beside themselves moved a little, close."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        mask = blob(rng, share=rng.uniform(0.02, 0.3))
        moved = np.roll(mask, tuple(rng.integers(-2, 3, 3)), (0, 1, 2)) & blob(rng, share=0.9)
        found.append((mask, moved if seed % 2 else blob(rng)))
    return found


def monai(
    mask: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, float]:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    first, second = (torch.as_tensor(one)[None, None].float() for one in (mask, truth))
    common = {"include_background": True, "spacing": list(spacing)}
    distance = compute_hausdorff_distance(first, second, percentile=95, **common)
    dice = compute_surface_dice(first, second, [tolerance], use_subvoxels=True, **common)
    return float(distance), float(dice)


@pytest.mark.slow
@OUTDATED
@SPACINGS
def test_both_agree_with_monai(spacing_mm: tuple[float, float, float]) -> None:
    for mask, truth in pairs(range(8)):
        for tolerance_mm in (1.0, 2.0):
            hd95, dice = monai(mask, truth, spacing_mm, tolerance_mm)
            ours = surface_dice(mask, truth, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
            assert ours == pytest.approx(dice, abs=1e-5)
            assert hd95_mm(mask, truth, spacing_mm=spacing_mm) == pytest.approx(hd95, rel=1e-5)


@OUTDATED
@SPACINGS
def test_one_slice_agrees_with_monai_in_two_dimensions(
    spacing_mm: tuple[float, float, float],
) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        mask, truth = blob(rng, (30, 24)), blob(rng, (30, 24))
        hd95, dice = monai(mask, truth, spacing_mm[:2], 2.0)
        flat = mask[..., None], truth[..., None]
        assert hd95_mm(*flat, spacing_mm=spacing_mm) == pytest.approx(hd95, rel=1e-5)
        assert surface_dice(*flat, spacing_mm=spacing_mm) == pytest.approx(dice, abs=1e-5)


@OUTDATED
@SPACINGS
def test_surface_dice_is_that_of_surface_distance_and_hd95_is_near(
    spacing_mm: tuple[float, float, float],
) -> None:
    import surface_distance

    for mask, truth in pairs(range(12)):
        theirs = surface_distance.compute_surface_distances(truth, mask, spacing_mm)
        dice = surface_distance.compute_surface_dice_at_tolerance(theirs, 2.0)
        assert surface_dice(mask, truth, spacing_mm=spacing_mm) == pytest.approx(dice, abs=1e-6)
        hd95 = surface_distance.compute_robust_hausdorff(theirs, 95)
        voxel_mm = np.linalg.norm(spacing_mm)
        assert abs(hd95_mm(mask, truth, spacing_mm=spacing_mm) - hd95) < 2 * voxel_mm


@SPACINGS
def test_areas_are_those_of_surface_distance(spacing_mm: tuple[float, float, float]) -> None:
    from surface_distance import lookup_tables

    known = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    for seed in range(40):
        cell = np.pad(np.random.default_rng(seed).random((2, 2, 2)) < 0.5, 1)
        code = ndimage.correlate(
            cell.astype(np.uint8), lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL, mode="constant"
        )
        ours = surfels(cell, spacing_mm=spacing_mm).area_mm2.sum()
        assert ours == pytest.approx(known[code].sum(), rel=1e-5)


@SPACINGS
def test_hd95_by_brute_force(spacing_mm: tuple[float, float, float]) -> None:
    def border(mask: np.ndarray) -> np.ndarray:
        around = np.pad(mask, 1)
        edge = [
            voxel
            for voxel in np.argwhere(mask)
            if not all(
                around[tuple(voxel + 1 + side * step)]
                for step in np.eye(3, dtype=int)
                for side in (-1, 1)
            )
        ]
        return np.array(edge) * spacing_mm

    for mask, truth in pairs(range(2)):
        between = cdist(border(mask), border(truth))
        known = max(np.percentile(between.min(axis), 95) for axis in (0, 1))
        assert hd95_mm(mask, truth, spacing_mm=spacing_mm) == pytest.approx(known, abs=1e-9)


def test_spheres_by_hand() -> None:
    """Around one centre every distance is the difference of the radii, but for the voxels."""
    radius = np.linalg.norm(np.indices((41, 41, 41)) - 20, axis=0)
    small, large = radius <= 10, radius <= 14
    assert hd95_mm(small, large, spacing_mm=ISOTROPIC) == pytest.approx(4, abs=0.6)
    assert surface_dice(small, large, spacing_mm=ISOTROPIC, tolerance_mm=5.0) == 1.0
    assert surface_dice(small, large, spacing_mm=ISOTROPIC, tolerance_mm=2.0) == 0.0
    area = surfels(large, spacing_mm=ISOTROPIC).area_mm2.sum()
    assert area == pytest.approx(4 * np.pi * 14**2, rel=0.1)


def test_a_box_moved_along_one_axis() -> None:
    truth = np.zeros((30, 20, 10), bool)
    truth[5:15, 5:15, 2:8] = True
    moved = np.roll(truth, 4, axis=0)
    assert hd95_mm(moved, truth, spacing_mm=(1.5, 1.0, 2.0)) == pytest.approx(6.0)
    # At the tolerance is within it: every element of the box is at most 3 x 0.1 mm away, though
    # 0.8 - 0.5 > 0.3 in floating point.
    moved = np.roll(truth, 3, axis=0)
    assert surface_dice(moved, truth, spacing_mm=(0.1, 1.0, 1.0), tolerance_mm=0.3) == 1.0
    assert surface_dice(moved, truth, spacing_mm=(0.1, 1.0, 1.0), tolerance_mm=0.29) < 1.0


def test_hd95_forgives_one_stray_voxel_among_many() -> None:
    truth = np.zeros((40, 12, 12), bool)
    truth[1:11, 1:11, 1:11] = True
    stray = truth.copy()
    stray[38, 5, 5] = True
    assert hd95_mm(stray, truth, spacing_mm=ISOTROPIC) == 0.0
    assert 0.9 < surface_dice(stray, truth, spacing_mm=ISOTROPIC) < 1.0


def test_what_empty_means() -> None:
    spacing_mm = (1.0, 2.0, 3.0)
    inside, some = NONE.copy(), NONE.copy()
    inside[1:6, 2:8] = True
    some[2, 3, 1] = True
    assert np.isnan(hd95_mm(NONE, NONE, spacing_mm=spacing_mm))
    assert np.isnan(surface_dice(NONE, NONE, spacing_mm=spacing_mm))
    for pair in ((NONE, some), (some, NONE)):
        assert surface_dice(*pair, spacing_mm=spacing_mm) == 0.0
        silent = hd95_mm(*pair, spacing_mm=spacing_mm, inside=inside)
        assert silent == pytest.approx(np.sqrt(5**2 + 12**2 + 12**2))
        assert hd95_mm(*pair, spacing_mm=spacing_mm) == pytest.approx(np.sqrt(49 + 256 + 144))


def test_what_empty_means_on_one_slice() -> None:
    nothing, some = NONE[..., :1], np.zeros_like(NONE[..., :1])
    some[2, 3] = True
    spacing_mm = (1.0, 2.0, 1.0)
    assert np.isnan(surface_dice(nothing, nothing, spacing_mm=spacing_mm))
    for pair in ((nothing, some), (some, nothing)):
        assert surface_dice(*pair, spacing_mm=spacing_mm) == 0.0
        assert np.isfinite(hd95_mm(*pair, spacing_mm=spacing_mm))


def test_silence_is_worse_than_any_flag_in_the_body() -> None:
    """The farthest that a flag can be from a lesion: two opposite corners of the body."""
    inside, here, there = (NONE.copy() for _ in range(3))
    inside[1:6, 2:8, 1:3] = here[1, 2, 1] = there[5, 7, 2] = True
    wrong = hd95_mm(there, here, spacing_mm=(1.0, 1.0, 6.0), inside=inside)
    assert wrong < hd95_mm(NONE, here, spacing_mm=(1.0, 1.0, 6.0), inside=inside)


def test_a_grid_of_one_voxel() -> None:
    one = np.ones((1, 1, 1), bool)
    assert hd95_mm(one, one, spacing_mm=ISOTROPIC) == 0.0
    assert hd95_mm(one, ~one, spacing_mm=(1.0, 2.0, 2.0)) == 3.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.25, 2.0, 8.0]))
def test_symmetry_identity_and_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    mask, truth = blob(rng, (9, 10, 5)), blob(rng, (9, 10, 5))
    small, large = (1.0, 0.5, 2.0), (scale, 0.5 * scale, 2 * scale)
    distance = hd95_mm(mask, truth, spacing_mm=small)
    near = surface_dice(mask, truth, spacing_mm=small, tolerance_mm=1.1)
    assert hd95_mm(truth, mask, spacing_mm=small) == distance
    assert surface_dice(truth, mask, spacing_mm=small, tolerance_mm=1.1) == pytest.approx(near)
    assert hd95_mm(mask, truth, spacing_mm=large) == pytest.approx(scale * distance)
    enlarged = surface_dice(mask, truth, spacing_mm=large, tolerance_mm=1.1 * scale)
    assert enlarged == pytest.approx(near, abs=1e-5)
    assert hd95_mm(mask, mask, spacing_mm=small) == 0.0
    assert surface_dice(mask, mask, spacing_mm=small) == pytest.approx(1.0)


@pytest.mark.parametrize("figure", [hd95_mm, surface_dice])
def test_what_cannot_be_measured_is_refused(figure) -> None:
    with pytest.raises(ValueError, match=r"mask .* for truth"):
        figure(NONE, NONE[1:], spacing_mm=ISOTROPIC)
    for spacing_mm in ((1.0, 1.0, 0.0), (1.0, 1.0), (1.0, 1.0, float("nan"))):
        with pytest.raises(ValueError, match="spacing_mm"):
            figure(NONE, NONE, spacing_mm=spacing_mm)
