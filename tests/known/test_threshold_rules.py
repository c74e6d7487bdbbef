"""From summaries to a threshold: what each rule promises, and when it is refused."""

import math

import numpy as np
import pytest

from wholesight.calibration import (
    NO_PROMISE,
    RULES,
    SCREENING,
    Normals,
    Terms,
    Threshold,
    summarise,
    threshold_of,
)
from wholesight.calibration.choose import level_of
from wholesight.errors import UsageError

SHAPE = (9, 8, 5)


def normal(number, *, scale=1.0, subject=None):
    """A scan whose values are 1, 2, ... 360 in some order, times a scale."""
    rng = np.random.default_rng(number)
    anomaly = scale * (1 + rng.permutation(math.prod(SHAPE))).reshape(SHAPE)
    return summarise(
        anomaly.astype(np.float32),
        np.ones(SHAPE, bool),
        subject=subject or f"s{number:03d}",
        site=None,
        slices=SHAPE[2],
        whole=True,
        voxel_mm3=2.0,
    )


def normals(n, **options):
    return Normals(normal(number, **options) for number in range(n))


def found(n, *, least=0.0, **terms):
    return threshold_of(normals(n), Terms(**terms), min_lesion_mm3=least)


def test_crc_leaves_room_for_the_scan_to_come():
    """19 alike: 19/20 R + 1/20 <= .10 allows R = 1/19, of 360 voxels 18."""
    assert found(19, rule="crc", alpha=0.10).value == 360 - 18


def test_a_subject_counts_once_however_many_scans_it_has():
    often = Normals(
        [*(normal(i, scale=9.0, subject="often") for i in range(50)), *normals(30).scans]
    )
    once = Normals([normal(0, scale=9.0, subject="often"), *normals(30).scans])
    terms = Terms(rule="crc", alpha=0.1)
    assert level_of(often, terms, 0.0) == level_of(once, terms, 0.0)
    assert threshold_of(often, terms, min_lesion_mm3=0.0).subjects == 31


def test_fwe_is_the_maximum_of_that_rank():
    scans = Normals(normal(i, scale=1.0 + i) for i in range(19))
    assert level_of(scans, Terms(rule="fwe", alpha=0.05), 0.0).value == 360 * 19
    assert level_of(scans, Terms(rule="fwe", alpha=0.10), 0.0).value == 360 * 18


def test_fwe_with_a_smallest_lesion_asks_for_no_place_of_that_size():
    free = found(19, rule="fwe")
    sized = found(19, rule="fwe", min_lesion_mm3=8.0)
    assert sized.value < free.value == 360
    for scan in normals(19).scans:
        assert scan.largest_above(sized.value) < 8.0


def test_fwe_above_a_given_level_finds_the_smallest_lesion():
    threshold = found(19, rule="fwe", level=300.0)
    assert threshold.value == 300.0
    largest = max(scan.largest_above(300.0) for scan in normals(19).scans)
    assert threshold.min_lesion_mm3 == math.nextafter(largest, math.inf)
    assert found(19, rule="fwe", level=300.0, least=5000.0).min_lesion_mm3 == 5000.0


def test_a_share_may_be_allowed():
    assert found(19, rule="fwe", share=0.10).value == 360 - 36
    assert "more than 10 % of the body" in found(19, rule="fwe", share=0.10).guarantee


def test_tolerance_needs_59_for_95_percent_twice():
    assert found(59, rule="tolerance").value == 360
    with pytest.raises(UsageError, match="needs 59 calibration subjects, there are 58"):
        found(58, rule="tolerance")


def test_the_smallest_lesion_is_set_on_the_other_half():
    terms = Terms(rule="crc", alpha=0.1, min_lesion_mm3="normals")
    scans = normals(20)
    first, second = scans.halves()
    level = level_of(scans, terms, 0.0)
    assert level.value == level_of(first, Terms(rule="crc", alpha=0.1), 0.0).value
    largest = max(scan.largest_above(level.value) for scan in second.scans)
    assert level.min_lesion_mm3 == math.nextafter(largest, math.inf)
    with pytest.raises(UsageError, match=r"needs 18 subjects at alpha 0\.1, there are 17"):
        level_of(normals(17), terms, 0.0)


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 9), (0.05, 19), (0.01, 99)])
@pytest.mark.parametrize("rule", ["crc", "fwe"])
def test_too_few_subjects_are_told_how_many(rule, alpha, n):
    assert found(n, rule=rule, alpha=alpha).guarantee != NO_PROMISE
    with pytest.raises(UsageError, match=f"needs {n} calibration subjects, there are {n - 1}"):
        found(n - 1, rule=rule, alpha=alpha)


def test_the_alpha_that_is_offered_instead_is_possible():
    with pytest.raises(UsageError, match=r"take --alpha 0\.1 or more"):
        found(10)
    assert found(10, alpha=0.1).subjects == 10


def test_fixed_wants_a_map_in_the_unit_range():
    scans = Normals(normal(i, scale=1 / 360) for i in range(2))
    threshold = threshold_of(scans, Terms(rule="fixed"), min_lesion_mm3=0.0)
    assert (threshold.value, threshold.alpha, threshold.guarantee) == (0.5, None, NO_PROMISE)
    with pytest.raises(UsageError, match="reaches from 1 to 360"):
        found(2, rule="fixed")


@pytest.mark.parametrize("rule", RULES)
def test_only_rules_that_promise_something_state_a_guarantee(rule):
    scans = Normals(normal(i, scale=1 / 360) for i in range(60))
    threshold = threshold_of(scans, Terms(rule=rule), min_lesion_mm3=0.0)
    assert (threshold.guarantee != NO_PROMISE) == (rule in SCREENING)
    assert threshold.guarantee in threshold.statement or rule not in SCREENING
    assert "60 calibration subjects" in threshold.statement
    finest = 1 - 0.05 ** (1 / 60) if rule == "tolerance" else 1 / 61
    assert threshold.finest == pytest.approx(finest, rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_what_voids_the_promise_leaves_none(rule):
    scans = Normals(normal(i, scale=1 / 360) for i in range(60))
    void = "They trained the model."
    threshold = threshold_of(scans, Terms(rule=rule), min_lesion_mm3=0.0, void=void)
    assert threshold.guarantee == NO_PROMISE
    assert "Nothing is promised" in threshold.statement
    assert threshold.doubts == (void,)


def test_a_threshold_comes_back_from_its_json():
    threshold = found(30, rule="crc", alpha=0.1)
    assert Threshold.from_json(threshold.to_json()) == threshold


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0.0}, "--alpha 0: legal is 0 < alpha < 1"),
        ({"alpha": 5.0}, "legal is 0 < alpha < 1"),
        ({"alpha": math.nan}, "legal is 0 < alpha < 1"),
        ({"confidence": 1.0}, "--confidence 1"),
        ({"share": 0.1}, "of the rules fwe and tolerance"),
        ({"rule": "fwe", "share": 1.0}, "legal is 0 <= share < 1"),
        ({"level": 1.0}, "--level is of the rule fwe"),
        ({"rule": "fwe", "level": math.inf}, "a finite number"),
        ({"rule": "fwe", "level": 1.0, "min_lesion_mm3": "normals"}, "neither --share nor"),
        ({"min_lesion_mm3": -1.0}, "legal is 0 or more"),
        ({"min_lesion_mm3": math.nan}, "legal is 0 or more"),
    ],
)
def test_terms_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        Terms(**options)


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'fwe'"):
        found(3, rule="few")
