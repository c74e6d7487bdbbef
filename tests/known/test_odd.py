"""Subjects that stick out: Tukey's fence, with answers worked out by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wholesight.calibration import Normals, NormalScan
from wholesight.calibration.curve import Curve
from wholesight.calibration.normals import measured_at
from wholesight.calibration.odd import FEWEST, far_out, sticking_out

WHOLE = st.lists(st.integers(-9, 9), min_size=1, max_size=30)


def scan(subject, score, values=(0.0, 1.0)):
    curve = Curve.of(np.array(values))
    return NormalScan(
        subject=subject,
        site=None,
        curve=curve,
        largest_mm3=np.zeros(measured_at(curve.voxels).size, np.float32),
        voxel_mm3=1.0,
        score=score,
        slices=1,
        whole=True,
    )


def of_scores(scores):
    return Normals(scan(f"s{number}", float(score)) for number, score in enumerate(scores))


def test_the_fence_lies_three_interquartile_ranges_above_the_upper_quartile():
    """0 to 8 and x: quartiles 2.25 and 6.75, range 4.5, fence 20.25, for any x of at least 8."""
    assert sticking_out(of_scores([*range(9), 20.25])) == []
    (odd,) = sticking_out(of_scores([*range(9), 20.7]))
    assert odd == ("s9", 20.7, pytest.approx((20.7 - 6.75) / 4.5))


def test_the_oddest_comes_first_and_low_scores_never_stick_out():
    odd = sticking_out(of_scores([-500, *range(1, 20), 100, 200]))
    assert [each.subject for each in odd] == ["s21", "s20"]
    assert odd[0].times > odd[1].times > 3


@pytest.mark.parametrize("score", [0.0, 1.5, -3.0])
def test_of_equal_scores_none_sticks_out(score):
    assert sticking_out(of_scores([score] * 20)) == []


def test_equal_quartiles_do_not_put_everything_above_out():
    """Seven of ten equal: the quartiles are too. The mean deviation is .006, and 1.69 of it."""
    assert sticking_out(of_scores([1] * 7 + [1.02] * 3)) == []
    (odd,) = sticking_out(of_scores([1] * 9 + [1.02]))
    assert odd.times == pytest.approx(0.02 / (1.69 * 0.002))


@pytest.mark.parametrize("n", range(FEWEST))
def test_few_subjects_have_no_fence(n):
    assert sticking_out(of_scores([0.0, 0.1, 0.2, 1e9][:n])) == []


def test_the_fewest_can_stick_out():
    assert [each.subject for each in sticking_out(of_scores([1, 2, 3, 4, 99]))] == ["s4"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4))
def test_of_four_none_ever_could(values):
    assert far_out(np.array(values)).max() <= 3 + 1e-9


@given(WHOLE, st.sampled_from([1e-6, 0.5, 3.0, 1e6]), st.sampled_from([-7.0, 0.0, 100.0]))
def test_the_unit_of_the_scores_does_not_matter(values, scale, offset):
    values = np.array(values, float)
    assume(scale >= 0.5 or offset == 0)
    np.testing.assert_allclose(
        far_out(values * scale + offset), far_out(values), rtol=1e-6, atol=1e-6
    )


@given(WHOLE)
def test_order_of_values_is_order_of_oddness(values):
    values = np.array(values, float)
    rising = np.argsort(values, kind="stable")
    assert (np.diff(far_out(values)[rising]) >= 0).all()


def test_of_normal_scores_hardly_any_sticks_out():
    """Above Q3 + 3 IQR lies a share 1.2e-6 of a normal distribution, and quartiles vary."""
    rng = np.random.default_rng(0)
    assert sum(np.any(far_out(rng.standard_normal(50)) > 3) for _ in range(500)) <= 2


def test_a_subject_is_named_once_for_its_oddest_scan():
    scans = [scan(f"s{number}", float(number)) for number in range(8)]
    found = Normals([*scans, scan("s2", 90.0), scan("s2", 80.0)])
    assert [(odd.subject, odd.score) for odd in sticking_out(found)] == [("s2", 90.0)]


def test_of_maps_without_scores_nobody_sticks_out():
    bodies = [np.arange(10.0) * (1 + 99 * (number == 4)) for number in range(20)]
    found = Normals(scan(f"s{number}", None, values) for number, values in enumerate(bodies))
    assert sticking_out(found) == []
