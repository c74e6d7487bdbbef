"""Summaries of normal scans: never too low, and exact where they say so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from wholesight.calibration import Normals, summarise
from wholesight.calibration.curve import Curve, counts_above, kept_ranks
from wholesight.calibration.normals import measured_at
from wholesight.calibration.pooled import Pooled

BODIES = arrays(np.float32, st.integers(1, 1500), elements=st.integers(-9, 9))


def scan(seed=0, *, subject="a", site=None, shape=(12, 11, 6), scored=True):
    rng = np.random.default_rng(seed)
    anomaly = rng.standard_normal(shape).astype(np.float32)
    body = rng.uniform(size=shape) < 0.8
    found = summarise(
        anomaly,
        body,
        subject=subject,
        site=site,
        slices=shape[2],
        whole=True,
        voxel_mm3=2.5,
        scored=scored,
    )
    return anomaly, body, found


@pytest.mark.parametrize("voxels", [1, 2, 255, 256, 257, 300, 5000, 10**7])
def test_ranks_start_at_the_first_and_end_at_the_last(voxels):
    ranks = kept_ranks(voxels)
    assert ranks[0] == 1
    assert ranks[-1] == voxels
    assert np.all(np.diff(ranks) > 0)
    assert np.all(counts_above(voxels)[1:] <= 1.01 * ranks)


@given(BODIES, st.integers(-10, 10))
def test_a_share_is_never_too_low_and_at_most_one_percent_too_high(values, level):
    """Ties included: most values here are."""
    share, true = Curve.of(values).share_above(level), float(np.mean(values > level))
    assert true <= share <= 1.01 * true + 1e-12


@given(BODIES, st.floats(0, 1))
def test_the_level_is_the_lowest_kept_one_that_leaves_the_share(values, share):
    curve = Curve.of(values)
    level = curve.level_leaving(share)
    lower = curve.levels[curve.levels < level]
    assert curve.share_above(level) <= share + 1e-9
    assert not lower.size or curve.share_above(lower[0]) > share - 1e-9


@given(st.lists(BODIES, min_size=1, max_size=5), st.floats(0, 1))
def test_pooled_shares_are_the_sum_of_shares(bodies, share):
    curves = [Curve.of(values) for values in bodies]
    pooled = Pooled([[curve] for curve in curves], [[1.0]] * len(curves))
    level = pooled.level_leaving(share * len(curves))
    below = min((x for c in curves for x in c.levels if x < level), default=None, key=lambda x: -x)
    assert sum(c.share_above(level) for c in curves) <= share * len(curves) + 1e-8
    if below is not None:
        assert sum(c.share_above(below) for c in curves) > share * len(curves) - 1e-8


@given(st.lists(BODIES, min_size=2, max_size=6), st.floats(0, 1))
def test_levels_without_each_are_those_of_the_others(bodies, budget):
    curves = [Curve.of(values) for values in bodies]
    pooled = Pooled([[curve] for curve in curves], [[1.0]] * len(curves))
    for at, level in enumerate(pooled.levels_without_each(np.full(len(curves), budget))):
        others = [curve for i, curve in enumerate(curves) if i != at]
        assert sum(curve.share_above(level) for curve in others) <= budget + 1e-8
        lower = [x for curve in curves for x in curve.levels if x < level]
        if lower:
            assert sum(curve.share_above(max(lower)) for curve in others) > budget - 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_place_is_never_too_small(seed):
    anomaly, body, found = scan(seed)
    for level in np.linspace(-3, 3.5, 40):
        labels, places = label((anomaly > level) & body, np.ones((3, 3, 3)))
        true = np.bincount(labels.ravel())[1:].max() * 2.5 if places else 0.0
        assert found.largest_above(level) >= true
    at = measured_at(found.curve.voxels)[5]
    labels, _ = label((anomaly > found.curve.levels[at]) & body, np.ones((3, 3, 3)))
    assert found.largest_above(float(found.curve.levels[at])) == pytest.approx(
        np.bincount(labels.ravel())[1:].max() * 2.5
    )


@pytest.mark.parametrize("least", [2.6, 10.0, 200.0])
def test_above_its_level_no_place_is_that_large(least):
    anomaly, body, found = scan(1)
    level = found.level_without(min_lesion_mm3=least)
    labels, places = label((anomaly > level) & body, np.ones((3, 3, 3)))
    assert not places or np.bincount(labels.ravel())[1:].max() * 2.5 < least
    assert level < found.curve.maximum


def test_without_a_smallest_lesion_no_voxel_is_left():
    anomaly, body, found = scan()
    assert found.level_without() == anomaly[body].max()


def test_normals_come_back_from_their_bytes_and_name_nobody():
    scans = [
        scan(0, subject="Miller", site="x")[2],
        scan(1, subject="Jones", scored=False)[2],
        scan(2, subject="Miller", shape=(30, 30, 3))[2],
    ]
    content = Normals(scans).to_bytes()
    back = Normals.from_bytes(content)
    assert b"Miller" not in content
    assert [len(each) for each in back.by_subject.values()] == [2, 1]
    assert [each.site for each in back.scans] == ["x", None, None]
    assert [each.score for each in back.scans] == [each.score for each in scans]
    for one, other in zip(back.scans, scans, strict=True):
        assert np.array_equal(one.curve.levels, other.curve.levels)
        assert np.array_equal(one.largest_mm3, other.largest_mm3)
        assert (one.slices, one.whole, one.voxel_mm3) == (other.slices, True, 2.5)


def test_damaged_bytes_are_refused():
    content = Normals([scan()[2]]).to_bytes()
    for damaged in (b"", content[:-40], b"no safetensors at all"):
        with pytest.raises(ValueError, match="damaged"):
            Normals.from_bytes(damaged)


def test_a_subjects_score_is_that_of_its_oddest_scan():
    scans = [scan(i, subject=subject)[2] for i, subject in enumerate("aba")]
    first, second = max(scans[0].score, scans[2].score), scans[1].score
    assert Normals(scans).scores.tolist() == [first, second]
    assert Normals([*scans, scan(3, subject="c", scored=False)[2]]).scores is None


def test_halves_share_no_subject_and_depend_on_no_score():
    scans = [scan(i, subject=subject)[2] for i, subject in enumerate("abcab")]
    one, other = Normals(scans).halves()
    assert (one.subjects, other.subjects) == (["a", "c"], ["b"])
    assert (len(one.scans), len(other.scans)) == (3, 2)
