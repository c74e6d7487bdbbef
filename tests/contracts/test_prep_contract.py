"""What every body rule and every intensity promises: a registry line adds its tests."""

from __future__ import annotations

import numpy as np
import pytest

from wholesight.errors import InputError
from wholesight.prep.body import BODIES
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import INTENSITIES, Intensity
from wholesight.prep.slices import Slicing
from wholesight.volume import Scan, Volume

EVERY_BODY = pytest.mark.parametrize("body", BODIES)
EVERY_INTENSITY = pytest.mark.parametrize("intensity", INTENSITIES)
SPACING_MM = (3.0, 3.0, 6.0)
SHAPE = (48, 56, 9)


def ellipsoid(radius: float) -> np.ndarray:
    """The voxels within a share of the volume's half axes."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return sum(axis**2 for axis in axes) < radius**2


def head() -> np.ndarray:
    """A brain of 100 in a dark skull in a bright scalp, noisy, air of 0."""
    kinds = [ellipsoid(0.7), ellipsoid(0.8), ellipsoid(0.95)]
    level = np.select(kinds, [100.0, 15.0, 220.0], 0.0)
    noise = np.random.default_rng(0).gamma(50, 1 / 50, SHAPE)
    return (level * noise).astype(np.float32)


def fitted(name: str) -> Intensity:
    """An intensity that has seen what it needs."""
    intensity = INTENSITIES[name]()
    rng = np.random.default_rng(1)
    intensity.fit([rng.gamma(9, 10, 400).astype(np.float32) for _ in range(3)])
    return intensity


def prep(body: str, intensity: Intensity) -> Prep:
    return Prep(body=BODIES[body](), intensity=intensity, slices=Slicing(size=None))


# ---------------------------------------------------------------- bodies


@EVERY_BODY
def test_a_body_is_bool_of_the_scans_shape_and_not_empty(body: str) -> None:
    if body == "given":
        pytest.skip("finds none")
    found = BODIES[body]()(head(), SPACING_MM)
    assert found.dtype == bool
    assert found.shape == SHAPE
    assert found[ellipsoid(0.6)].mean() > 0.95


@EVERY_BODY
def test_finding_a_body_changes_no_voxel(body: str) -> None:
    voxels = head()
    BODIES[body]()(voxels, SPACING_MM, ellipsoid(0.5))
    np.testing.assert_array_equal(voxels, head())


@EVERY_BODY
def test_a_given_mask_wins(body: str) -> None:
    given = ellipsoid(0.4)
    np.testing.assert_array_equal(BODIES[body]()(head(), SPACING_MM, given), given)


@EVERY_BODY
@pytest.mark.parametrize(
    ("given", "code"),
    [(np.zeros(SHAPE, bool), "E_EMPTY"), (np.ones((2, 2, 2), bool), "E_GRID")],
    ids=["empty", "another-shape"],
)
def test_a_mask_that_cannot_be_meant_is_refused(body: str, given: np.ndarray, code: str) -> None:
    with pytest.raises(InputError) as refused:
        BODIES[body]()(head(), SPACING_MM, given)
    assert refused.value.code == code


# ---------------------------------------------------------------- intensities


@EVERY_INTENSITY
def test_the_result_is_float32_finite_and_0_outside_the_body(intensity: str) -> None:
    body = ellipsoid(0.7)
    scaled = fitted(intensity)(head(), body)
    assert scaled.dtype == np.float32
    assert scaled.shape == SHAPE
    assert np.isfinite(scaled).all()
    assert (scaled[~body] == 0).all()
    assert scaled[body].max() > scaled[body].min()


@EVERY_INTENSITY
def test_what_is_called_the_unit_range_is(intensity: str) -> None:
    """With a lesion five times as bright as the rest, which has to be clipped or squeezed in."""
    body, voxels = ellipsoid(0.7), head()
    voxels[20:28, 20:28, 4] *= 5
    scaled = fitted(intensity)(voxels, body)[body]
    within = bool(scaled.min() >= 0 and scaled.max() <= 1)
    assert within == fitted(intensity).unit_range


@EVERY_INTENSITY
def test_the_background_takes_no_part(intensity: str) -> None:
    body, voxels = ellipsoid(0.7), head()
    other = np.where(body, voxels, np.float32(1e4))
    np.testing.assert_array_equal(fitted(intensity)(other, body), fitted(intensity)(voxels, body))


@EVERY_INTENSITY
def test_brighter_stays_brighter_within_a_slice(intensity: str) -> None:
    body, voxels = ellipsoid(0.7), head()
    scaled = fitted(intensity)(voxels, body)
    for z in np.flatnonzero(body.any(axis=(0, 1))):
        here = body[..., z]
        order = np.argsort(voxels[..., z][here])
        assert (np.diff(scaled[..., z][here][order]) >= 0).all()


@EVERY_INTENSITY
@pytest.mark.parametrize("factor", [0.01, 37.0])
def test_the_scanners_unit_does_not_matter_unless_it_is_kept(intensity: str, factor: float) -> None:
    body, voxels = ellipsoid(0.7), head()
    scaled = fitted(intensity)(voxels, body)
    again = fitted(intensity)(voxels * np.float32(factor), body)
    kept = factor if intensity == "raw" else 1.0
    np.testing.assert_allclose(again, kept * scaled, rtol=1e-6, atol=1e-5)


@EVERY_INTENSITY
def test_what_was_learned_comes_back(intensity: str) -> None:
    learned = fitted(intensity)
    again = INTENSITIES[intensity]()
    again.restore(learned.state())
    body = ellipsoid(0.7)
    np.testing.assert_array_equal(again(head(), body), learned(head(), body))
    assert bool(learned.state()) == learned.learns


# ---------------------------------------------------------------- together


@EVERY_BODY
@EVERY_INTENSITY
def test_a_blank_scan_is_refused_with_its_name_and_a_code(body: str, intensity: str) -> None:
    blank = Scan(Volume(np.zeros(SHAPE, np.float32), np.diag([3.0, 3, 6, 1]), "blank.nii"))
    with pytest.raises(InputError, match=r"^blank\.nii: ") as refused:
        prep(body, fitted(intensity)).forward(blank)
    assert refused.value.code in ("E_EMPTY", "E_NO_BODY", "E_INTENSITY")


@EVERY_INTENSITY
def test_without_a_normal_slice_only_what_learns_refuses(intensity: str) -> None:
    unfitted = INTENSITIES[intensity]()
    if not unfitted.learns:
        prep("nonzero", unfitted).fit([])
        return
    with pytest.raises(InputError) as refused:
        prep("nonzero", unfitted).fit([])
    assert refused.value.code == "E_NO_NORMAL"
