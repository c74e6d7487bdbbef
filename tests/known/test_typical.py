"""How far a scan is from those of the training: figures of scans, their spread, the verdict."""

import json
from dataclasses import replace

import numpy as np
import pytest

from wholesight.calibration.normals import Normals
from wholesight.calibration.typical import TOO_FAR, Typical, likeness, limit_of
from wholesight.prep.appearance import FEATURES, appearance
from wholesight.prep.body import Nonzero
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import Mode
from wholesight.prep.slices import Slicing
from wholesight.volume import Note, Scan, Volume

NAMES = [feature.name for feature in FEATURES]
SHAPE, SPACING_MM = (60, 70, 12), (3.0, 3.0, 10.0)


def head(seed=0, *, invert=False, semi=(26, 31, 5)):
    """An ellipsoid with dark furrows; nothing else is in it."""
    rng = np.random.default_rng(seed)
    i, j, k = np.indices(SHAPE)
    far = [(axis - n / 2) / s for axis, n, s in zip((i, j, k), SHAPE, semi, strict=True)]
    body = sum(part**2 for part in far) < 1
    furrows = (np.sin(i * 1.1 + seed) * np.sin(j * 0.9) > 0.75) * 60
    values = 100 - furrows + rng.normal(0, 3, SHAPE)
    values = np.where(body, np.maximum(220 - values if invert else values, 1), 0)
    return Volume(values.astype(np.float32), np.diag([*SPACING_MM, 1.0]))


def looks(volume, *, abnormal=None):
    prep = Prep(
        body=Nonzero(),
        intensity=Mode(top=3.0),
        slices=Slicing(size=48, field="body", margin_mm=4.0),
    )
    truth = None if abnormal is None else volume.like(abnormal)
    return appearance(prep.forward(Scan(volume, None, truth)), volume)


def figure(name, volume):
    (at,) = (n for n, each in enumerate(NAMES) if name in each)
    return looks(volume)[at]


def test_figures_are_what_they_are_called():
    volume = head()
    assert np.exp(figure("distance between slices", volume)) == pytest.approx(10)
    body = volume.voxels > 0
    assert np.exp(figure("volume of the body", volume)) == pytest.approx(body.sum() * 90, rel=0.01)
    widths = [np.flatnonzero(body.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    for name, at, mm in zip(("width", "depth", "height"), widths, SPACING_MM, strict=True):
        expected = (at[-1] - at[0] + 1) * mm
        assert np.exp(figure(f"the {name}", volume)) == pytest.approx(expected)
    assert figure("share of its box", volume) == pytest.approx(np.pi / 6, abs=0.1)
    assert figure("50%", volume) == pytest.approx(1 / 3, abs=0.03)
    assert figure("thin structures", volume) < -0.2 < 0.2 < figure("thin", head(invert=True))


def test_finer_pixels_of_the_same_head_look_alike():
    volume = head()
    fine = volume.voxels.repeat(2, axis=0).repeat(2, axis=1)
    finer = Volume(fine, np.diag([1.5, 1.5, 10.0, 1.0]))
    finest = np.array([feature.finest for feature in FEATURES])
    assert (np.abs(looks(finer) - looks(volume)) < finest).all()


def test_of_a_picture_without_a_pixel_size_proportions_count():
    note = Note("N_NO_SPACING", "")
    one = replace(head(), notes=(note,))
    fine = one.voxels.repeat(2, axis=0).repeat(2, axis=1)
    finer = Volume(fine, one.affine, notes=(note,))
    finest = np.array([feature.finest for feature in FEATURES])
    assert (np.abs(looks(finer) - looks(one)) < finest).all()
    wider = Volume(one.voxels.repeat(2, axis=1), one.affine, notes=(note,))
    assert (np.abs(looks(wider) - looks(one)) > 2 * finest).any()


def test_a_small_lesion_is_no_other_kind_of_scan():
    volume = head()
    body = np.argwhere(volume.voxels > 0)
    near = np.linalg.norm((body - body.mean(axis=0)) * SPACING_MM, axis=1)
    lesion = tuple(body[np.argsort(near)[: len(body) // 25]].T)
    bright = volume.voxels.copy()
    bright[lesion] = 300
    finest = np.array([feature.finest for feature in FEATURES])
    assert (np.abs(looks(volume.like(bright)) - looks(volume)) < 2 * finest).all()


def test_figures_are_of_the_axes_of_the_body_and_not_of_the_file():
    volume = head()
    turned = Volume(
        np.ascontiguousarray(volume.voxels.transpose(2, 0, 1)[::-1]),
        np.array([[0, 3, 0, 0], [0, 0, 3, 0], [-10, 0, 0, 110], [0, 0, 0, 1.0]]),
    )
    np.testing.assert_allclose(looks(turned), looks(volume), rtol=1e-6)


def test_intensities_are_of_normal_slices_where_a_truth_is_known():
    volume = head()
    bright = volume.voxels.copy()
    bright[..., 5:8] *= 3
    abnormal = np.zeros(SHAPE, bool)
    abnormal[30, 30, 5:8] = True
    known, unknown = (looks(volume.like(bright), abnormal=each) for each in (abnormal, None))
    assert known[4] < unknown[4]
    np.testing.assert_allclose(known[7:], unknown[7:])


THREE = {"names": ["a", "b", "c"], "kinds": ["one", "one", "other"], "finest": [0.1, 0.1, 0.1]}


@pytest.fixture(scope="module")
def figures():
    rng = np.random.default_rng(0)
    return rng.normal([0, 10, -5], [1, 2, 0.001], (400, 3))


@pytest.fixture(scope="module")
def typical(figures):
    return Typical.of(figures, **THREE)


def test_spread_is_that_of_a_normal_distribution_and_never_too_fine(typical):
    assert typical.centre == pytest.approx((0, 10, -5), abs=0.3)
    assert typical.spread[:2] == pytest.approx((1, 2), rel=0.12)
    assert typical.spread[2] == 0.1


def test_a_tenth_that_is_far_out_does_not_widen_it(figures, typical):
    wild = figures.copy()
    wild[:20] += 1000
    other = Typical.of(wild, **THREE)
    assert other.spread[0] < 1.4 * typical.spread[0]


def test_distance_is_the_largest_root_mean_square_of_a_kind(typical):
    def moved(*by):
        return np.array(typical.centre) + np.array(typical.spread) * by

    np.testing.assert_allclose(typical.deviations(moved(3, 1, -2)), [3, 1, -2], atol=1e-9)
    assert typical.by_kind(moved(3, 1, -2)) == pytest.approx({"one": np.sqrt(5), "other": 2})
    assert typical.distance(moved(3, 1, -2)) == pytest.approx(np.sqrt(5))
    assert typical.distance(moved(3, 1, -2.5)) == pytest.approx(2.5)
    # What is named is of the kind that makes the distance.
    told = [likeness(typical, moved(3, 1, off), np.array([1.0, 1.2])) for off in (-2, -2.5)]
    assert [(each.oddest, each.deviation) for each in told] == [
        ("a", pytest.approx(3)),
        ("c", pytest.approx(-2.5)),
    ]


def test_the_verdict_and_the_p_value(typical):
    normal = np.array([1.0, 0.5, 2.0])
    spread = np.array(typical.spread)

    def at(distance):
        return likeness(typical, np.array(typical.centre) + spread * distance, normal)

    assert at(0.1).verdict == at(2.0 * TOO_FAR - 0.01).verdict == "pass"
    assert at(2.0 * TOO_FAR + 0.01).verdict == "fail"
    assert [at(d).p_value for d in (0.1, 0.7, 1.5, 9.0)] == [1.0, 0.75, 0.5, 0.25]
    alike = likeness(typical, np.array(typical.centre) + spread * 1.9, np.array([0.1, 0.2]))
    assert alike.verdict == "pass"
    assert likeness(typical, spread, None).verdict == "unknown"
    assert likeness(typical, spread, None).distance is not None
    assert likeness(None, spread, normal).verdict == "unknown"


def test_one_calibration_subject_of_another_kind_does_not_let_everybody_pass():
    normal = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.3, 1.1, 1.6])
    assert limit_of(np.append(normal, 30.0)) == pytest.approx(TOO_FAR * 1.6)
    # Of few it cannot be told which one is odd.
    assert limit_of(np.array([1.0, 1.0, 30.0])) == pytest.approx(TOO_FAR * 30)


def test_it_comes_back_from_a_file(typical):
    assert Typical.from_json(json.loads(json.dumps(typical.to_json()))) == typical


def test_distances_are_kept_with_the_normals_and_of_a_subject_the_largest(normal_scans):
    several = [
        replace(scan, distance=d) for scan, d in zip(normal_scans, (1.0, 3.0, 2.0), strict=True)
    ]
    kept = Normals.from_bytes(Normals(several).to_bytes())
    assert [scan.distance for scan in kept.scans] == [1.0, 3.0, 2.0]
    np.testing.assert_array_equal(kept.distances, [3.0, 2.0])
    unknown = Normals([*several[:2], replace(several[2], distance=None)])
    assert unknown.distances is None
    assert Normals.from_bytes(unknown.to_bytes()).distances is None


@pytest.fixture
def normal_scans():
    """Three scans of two subjects."""
    from wholesight.calibration.normals import summarise

    rng = np.random.default_rng(1)
    body = np.ones((6, 6, 3), bool)
    return [
        summarise(
            rng.random((6, 6, 3)),
            body,
            subject=subject,
            site=None,
            slices=3,
            whole=True,
            voxel_mm3=1.0,
        )
        for subject in ("0", "0", "1")
    ]
