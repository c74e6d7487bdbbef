"""False positives by leaving one out: equal to the loop that sets each threshold anew."""

import time

import numpy as np
import pytest

from wholesight.calibration import Normals, Terms, summarise, threshold_of
from wholesight.calibration.choose import level_of
from wholesight.calibration.conformal import subjects_needed
from wholesight.calibration.curve import Curve
from wholesight.calibration.normals import NormalScan, measured_at
from wholesight.calibration.realised import leave_one_out, ranked_without_each

VOXEL_MM3 = 8.0

EVERY_RULE = [
    Terms(rule="crc", alpha=0.1),
    Terms(rule="crc", alpha=0.3),
    Terms(rule="percentile", alpha=0.02),
    Terms(rule="percentile", alpha=0.5),
    Terms(rule="fwe", alpha=0.1),
    Terms(rule="fwe", alpha=0.1, share=0.02),
    Terms(rule="fwe", alpha=0.15, min_lesion_mm3=40.0),
    Terms(rule="fwe", alpha=0.1, level=1.5),
    Terms(rule="fwe", alpha=0.4, level=1.6),
    Terms(rule="tolerance", alpha=0.2, confidence=0.9),
    Terms(rule="tolerance", alpha=0.2, confidence=0.9, share=0.1, min_lesion_mm3=0.0),
]


def normals(subjects, *, seed=0, decimals=None, sizes=(6, 7, 5)):
    """Some scans of so many subjects: some of several scans, bodies of unequal size."""
    rng = np.random.default_rng(seed)
    scans = []
    for number in range(subjects):
        for _ in range(1 + number % 3 // 2):
            anomaly = rng.standard_normal(sizes).astype(np.float32) * rng.uniform(0.7, 1.3)
            anomaly = anomaly if decimals is None else anomaly.round(decimals)
            scans.append(
                summarise(
                    anomaly,
                    rng.random(sizes) < rng.uniform(0.3, 0.9),
                    subject=f"s{number}",
                    site=None,
                    slices=sizes[2],
                    whole=True,
                    voxel_mm3=VOXEL_MM3,
                )
            )
    return Normals(scans)


def naive(normals, terms, least):
    """Each subject's mean share, and whether anything counts, at the level of the others."""
    shares, flagged = [], []
    for subject, scans in normals.by_subject.items():
        level, lesion = level_of(normals.without(subject), terms, least)
        shares.append(np.mean([scan.curve.share_above(level) for scan in scans]))
        flagged.append(
            any(
                scan.curve.share_above(level) > terms.share and scan.largest_above(level) >= lesion
                for scan in scans
            )
        )
    return np.array(shares), np.array(flagged)


def realised(found, terms, least):
    return leave_one_out(found, terms, threshold_of(found, terms, min_lesion_mm3=least), least)


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize("terms", EVERY_RULE, ids=str)
@pytest.mark.parametrize("least", [0.0, 30.0, 130.0])
def test_it_is_the_loop_over_subjects(terms, decimals, least):
    found = normals(25, seed=3, decimals=decimals)
    judged = realised(found, terms, least)
    shares, flagged = naive(found, terms, least)
    np.testing.assert_array_equal(judged.shares, shares)
    np.testing.assert_array_equal(judged.flagged, flagged)
    assert judged.reason is None


def test_of_a_fixed_level_every_subject_is_judged_even_alone():
    scans = [
        NormalScan(
            subject="a",
            site=None,
            curve=Curve.of(np.linspace(0, 1, 101)),
            largest_mm3=np.zeros(measured_at(101).size, np.float32),
            voxel_mm3=1.0,
            score=1.0,
            slices=1,
            whole=True,
        )
    ]
    judged = realised(Normals(scans), Terms(rule="fixed"), 0.0)
    assert judged.mean_share == pytest.approx(50 / 101)
    assert judged.flagged_rate == 1


@pytest.mark.parametrize("rule", ["crc", "percentile", "fwe"])
def test_where_the_lesion_is_of_the_normals_the_other_half_is_judged(rule):
    terms = Terms(rule=rule, alpha=0.1, min_lesion_mm3="normals")
    found = normals(24, seed=5, decimals=1)
    threshold = threshold_of(found, terms, min_lesion_mm3=0.0)
    judged = leave_one_out(found, terms, threshold, 0.0)
    first, second = found.halves()
    assert threshold.value == level_of(first, Terms(rule=rule, alpha=0.1), 0.0).value
    given = Terms(rule="fwe", alpha=0.1, level=threshold.value)
    _, flagged = naive(second, given, 0.0)
    np.testing.assert_array_equal(judged.flagged, flagged)
    shares = [
        np.mean([scan.curve.share_above(threshold.value) for scan in scans])
        for scans in second.by_subject.values()
    ]
    np.testing.assert_array_equal(judged.shares, shares)


@pytest.mark.parametrize(
    ("terms", "needed"),
    [
        (Terms(rule="crc", alpha=0.1), 9),
        (Terms(rule="fwe", alpha=0.1, level=0.5), 9),
        (Terms(rule="tolerance", alpha=0.2, confidence=0.9), 11),
        (Terms(rule="percentile", alpha=0.1), 1),
    ],
    ids=str,
)
def test_one_subject_more_than_the_rule_needs_can_be_left_out(terms, needed):
    nobody = realised(normals(needed), terms, 0.0)
    assert (nobody.mean_share, nobody.flagged_rate, nobody.shares.size) == (None, None, 0)
    assert f"needs {needed} subjects" in str(nobody.reason)
    assert f"are {needed}." in str(nobody.reason)
    everybody = realised(normals(needed + 1), terms, 0.0)
    assert everybody.shares.size == needed + 1
    assert everybody.reason is None


def test_half_of_the_subjects_may_be_too_few():
    terms = Terms(rule="crc", alpha=0.1, min_lesion_mm3="normals")
    assert subjects_needed(0.1) == 9
    nobody = realised(normals(19), terms, 0.0)
    assert "needs 9 subjects" in str(nobody.reason)
    assert "half" in str(nobody.reason)
    assert realised(normals(20), terms, 0.0).shares.size == 10


@pytest.mark.parametrize("rank", range(1, 12))
def test_order_statistics_of_the_others(rank):
    values = np.random.default_rng(rank).integers(0, 6, 12).astype(float)
    others = [np.sort(np.delete(values, at))[rank - 1] for at in range(12)]
    np.testing.assert_array_equal(ranked_without_each(values, rank), others)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_of_the_family_wise_rule_just_the_odd_ones_are_flagged(alpha):
    """With n distinct maxima, n - ceil(n (1 - alpha)) of them exceed what the others set."""
    found = normals(60, seed=8)
    judged = realised(found, Terms(rule="fwe", alpha=alpha), 0.0)
    assert judged.flagged.sum() == 60 - np.ceil(60 * (1 - alpha))


def test_it_becomes_plain_data():
    judged = realised(normals(12), Terms(rule="crc", alpha=0.1), 0.0)
    assert judged.to_json() == {
        "subjects": 12,
        "mean_share": judged.shares.mean(),
        "flagged_rate": judged.flagged.mean(),
        "reason": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["crc", "percentile", "fwe", "tolerance"])
def test_ten_thousand_subjects_take_seconds(rule):
    rng = np.random.default_rng(0)
    body = Curve.of(rng.gamma(2.0, 1.0, 100_000).astype(np.float32))
    size = measured_at(body.voxels).size
    scans = [
        NormalScan(
            subject=str(number),
            site=None,
            curve=Curve((body.levels * rng.uniform(0.8, 1.2)).astype(np.float32), body.voxels),
            largest_mm3=np.arange(size, dtype=np.float32),
            voxel_mm3=1.0,
            score=1.0,
            slices=1,
            whole=True,
        )
        for number in range(10_000)
    ]
    found, terms = Normals(scans), Terms(rule=rule)
    threshold = threshold_of(found, terms, min_lesion_mm3=0.0)
    clock = time.process_time()
    judged = leave_one_out(found, terms, threshold, 0.0)
    assert time.process_time() - clock < 15
    rate = judged.mean_share if rule in ("crc", "percentile") else judged.flagged_rate
    assert rate is not None
    assert 0.03 < rate < 0.051
