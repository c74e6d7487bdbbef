"""What a threshold costs, for a map whose answer is known: the scan's own intensity."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from wholesight.calibration import Terms, Threshold
from wholesight.detector import Detector
from wholesight.detector.cost import (
    Cost,
    Noticed,
    evenly_picked,
    noticed,
    sensitivity_cost,
    silent,
)
from wholesight.errors import ModelError
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

SPACING_MM = (2.0, 2.0, 5.0)
SHAPE = (40, 44, 14)
SMALL_AND_LARGE = (0.5, 4.0)


@dataclass(frozen=True)
class Made:
    """A case in memory."""

    subject: str
    scan: Scan

    def read(self):
        return self.scan


def body():
    i, j, k = np.indices(SHAPE)
    return ((i - 20) / 18) ** 2 + ((j - 22) / 20) ** 2 + ((k - 7) / 6.5) ** 2 < 1


def case(number=0, *, abnormal=None):
    """A body of 100 with a little noise; where abnormal is given, 500 there."""
    noise = np.random.default_rng(number).normal(0, 2, SHAPE)
    image = np.where(body(), np.round(100 + noise), 0).astype(np.int16)
    affine = np.diag([*SPACING_MM, 1.0])
    truth = None
    if abnormal is not None:
        image[abnormal] = 500
        truth = Volume(abnormal, affine)
    return Made(f"s{number}", Scan(Volume(image, affine), None, truth))


def at(value, min_lesion_mm3=0.0):
    """A threshold on the intensity itself."""
    return Threshold(
        value=value,
        min_lesion_mm3=min_lesion_mm3,
        rule="percentile",
        alpha=0.05,
        confidence=None,
        share=None,
        subjects=1,
        scans=1,
        slices=1,
        voxels=1,
        finest=0.5,
        guarantee="none",
        statement="",
    )


@pytest.fixture(scope="module")
def intensity():
    """The map is the scan's own intensity."""
    return Detector(recipe=Recipe.load("floor-raw"))


def of(costs, volume_ml, contrast):
    (found,) = [c for c in costs if (c.volume_ml, c.contrast) == (volume_ml, contrast)]
    return found


def test_what_is_brighter_than_the_threshold_is_found(intensity):
    detector = replace(intensity, threshold=at(130.0))
    costs = sensitivity_cost(detector, [case(n) for n in range(3)], volumes_ml=SMALL_AND_LARGE)
    assert [(c.volume_ml, c.contrast) for c in costs] == [
        (volume, contrast) for volume in SMALL_AND_LARGE for contrast in (-0.5, 0.25, 0.5)
    ]
    for volume_ml in SMALL_AND_LARGE:
        bright, dark = of(costs, volume_ml, 0.5), of(costs, volume_ml, -0.5)
        # the border has at least .6 of the inside's contrast: 130 and more, but for noise
        assert (bright.scans, bright.found, bright.found_by_chance) == (3, 1.0, 0.0)
        assert bright.voxels > 0.75
        assert (dark.found, dark.voxels) == (0.0, 0.0)
        # noise alone is never 30 above, and a contrast of .25 seldom
        assert of(costs, volume_ml, 0.25).voxels < 0.6
        assert bright.voxels_by_chance == 0.0


@pytest.mark.parametrize(("value", "flagged"), [(-1.0, 1.0), (1e6, 0.0)])
def test_flagging_everything_finds_as_little_as_flagging_nothing(intensity, value, flagged):
    costs = sensitivity_cost(replace(intensity, threshold=at(value)), [case()])
    assert [c.found for c in costs] == [0.0] * 6
    assert [c.voxels for c in costs] == [flagged] * 6
    assert [c.voxels_by_chance for c in costs] == [flagged] * 6
    assert silent(costs)


def test_what_is_flagged_anyway_is_seen_as_chance(intensity):
    """At the median half of a lesion's place is flagged before there is any lesion."""
    costs = sensitivity_cost(replace(intensity, threshold=at(100.0)), [case(n) for n in range(4)])
    assert all(0.25 < c.voxels_by_chance < 0.75 for c in costs)
    assert of(costs, 8.0, 0.5).voxels == 1.0
    assert of(costs, 8.0, -0.5).voxels == 0.0


def test_a_lesion_is_inserted_in_every_channel_alike(intensity, monkeypatch):
    """A method that looks at a channel alone has to have a chance."""
    seen = []
    segment = Detector.segment

    def watched(self, volume, inside, channels):
        seen.append((volume.voxels, channels["t2"].voxels))
        return segment(self, volume, inside, channels)

    monkeypatch.setattr(Detector, "segment", watched)
    resolved = intensity.recipe.resolved
    recipe = Recipe.from_dict(resolved | {"prep": resolved["prep"] | {"channels": ["t2"]}})
    one = case()
    scan = one.scan._replace(channels={"t2": one.scan.image.like(2.0 * one.scan.image.voxels)})
    detector = replace(intensity, recipe=recipe, threshold=at(260.0))
    sensitivity_cost(detector, [replace(one, scan=scan)])
    assert len(seen) == 7
    for image, channel in seen:
        np.testing.assert_allclose(channel, 2 * image, rtol=1e-6)
    assert not np.array_equal(seen[0][1], seen[1][1])


def test_lesions_lie_in_normal_slices_and_the_scan_stays_whole(intensity, monkeypatch):
    abnormal = np.zeros(SHAPE, bool)
    abnormal[15:20, 15:20, 4:8] = True
    seen = []

    def watched(self, volume, inside, channels):
        seen.append(volume.voxels)
        return segment(self, volume, inside, channels)

    segment = Detector.segment
    monkeypatch.setattr(Detector, "segment", watched)
    detector = replace(intensity, threshold=at(130.0))
    one = case(abnormal=abnormal)
    costs = sensitivity_cost(detector, [one])
    untouched = one.scan.image.voxels
    assert len(seen) == 7
    changed = np.logical_or.reduce([voxels != untouched for voxels in seen])
    assert changed.any()
    assert not changed[..., 4:8].any()
    assert all((voxels[abnormal] == 500).all() for voxels in seen)
    # the real lesion is flagged, and neither finds a made-up one nor hides it
    assert of(costs, 1.0, 0.5).found == 1.0
    assert of(costs, 1.0, -0.5).found == 0.0


def test_a_smallest_lesion_drops_the_small(intensity):
    detector = replace(intensity, threshold=at(115.0, min_lesion_mm3=2000.0))
    costs = sensitivity_cost(detector, [case()], volumes_ml=(1, 8))
    assert of(costs, 1, 0.5).found == 0.0
    assert of(costs, 8, 0.5).found == 1.0


def test_the_same_seed_gives_the_same_and_another_other_places(intensity):
    detector = replace(intensity, threshold=at(101.0))
    cases = [case(n) for n in range(2)]
    once = sensitivity_cost(detector, cases, contrasts=(0.02,))
    assert sensitivity_cost(detector, cases, contrasts=(0.02,)) == once
    assert sensitivity_cost(detector, cases, contrasts=(0.02,), seed=1) != once


def test_it_is_of_one_threshold_and_tells_of_each_scan(intensity):
    detector = replace(intensity, by_site={"a": at(130.0), "b": at(1e6)})
    done = []
    few = {"volumes_ml": (4,), "contrasts": (0.5,), "one_done": lambda: done.append(1)}
    with pytest.raises(ModelError, match="--site"):
        sensitivity_cost(detector, [case()], **few)
    for site, found in (("a", 1.0), ("b", 0.0)):
        costs = sensitivity_cost(detector.at_site(site), [case(n) for n in range(2)], **few)
        assert [(c.scans, c.found) for c in costs] == [(2, found)]
    assert len(done) == 4


def test_what_fits_nowhere_is_not_known(intensity):
    costs = sensitivity_cost(replace(intensity, threshold=at(130.0)), [case()], volumes_ml=(4, 900))
    huge = of(costs, 900, 0.5)
    assert huge.scans == 0
    assert np.isnan([huge.found, huge.voxels, huge.found_by_chance, huge.voxels_by_chance]).all()
    assert of(costs, 4, 0.5).found == 1.0
    assert not silent(costs)


def test_a_promise_may_leave_a_detector_silent(intensity):
    """Bright spots in every normal scan push a strict threshold beyond the strongest lesion."""
    scans = []
    for number in range(20):
        made = case(number)
        image = made.scan.image.voxels.copy()
        image[18:22, 20:24, 7] = 300
        scans.append(Made(f"s{number}", Scan(made.scan.image.like(image))))
    pairs = [(one.subject, one.scan) for one in scans]
    strict = intensity.calibrate(pairs, Terms(rule="fwe", alpha=0.05))
    loose = intensity.calibrate(pairs, Terms(rule="percentile", alpha=0.01))
    some = {"volumes_ml": (4,), "contrasts": (0.5,), "most_scans": 3}
    assert silent(sensitivity_cost(strict, scans, **some))
    assert not silent(sensitivity_cost(loose, scans, **some))


def test_one_scan_a_subject_evenly_picked():
    cases = [Made(f"s{number // 2}", Scan(Volume(np.zeros((1, 1, 1))))) for number in range(42)]
    assert [one.subject for one in evenly_picked(cases, 5)] == ["s0", "s5", "s10", "s15", "s20"]
    assert evenly_picked(cases, 5)[1] is cases[10]
    assert len(evenly_picked(cases, 50)) == 21
    assert evenly_picked([], 5) == []


def test_only_what_is_picked_is_read(intensity):
    class Unread(Made):
        def read(self):
            raise AssertionError(self.subject)

    cases = [case(0), Unread("s1", case(1).scan), case(2)]
    costs = sensitivity_cost(
        replace(intensity, threshold=at(130.0)), cases, volumes_ml=(4,), most_scans=2
    )
    assert costs[0].scans == 2


@pytest.mark.parametrize(
    ("in_lesion", "elsewhere", "found"),
    [(10, 0, True), (9, 0, False), (100, 890, True), (50, 450, False), (30, 269, True)],
)
def test_found_is_a_tenth_and_denser_than_the_rest(in_lesion, elsewhere, found):
    """A lesion of 100 voxels in a body of 1000, with some flagged in it and some elsewhere."""
    body = np.ones((1, 1, 1000), bool)
    lesion, mask = np.zeros_like(body), np.zeros_like(body)
    lesion[..., :100] = True
    mask[..., :in_lesion] = mask[..., 100 : 100 + elsewhere] = True
    assert noticed(mask, lesion, body) == Noticed(found, in_lesion / 100)


def cost(volume_ml, contrast, found, scans=5):
    return Cost(volume_ml, contrast, scans, found, found, 0.0, 0.0)


def test_silent_asks_for_the_largest_and_strongest_alone():
    small = [cost(1.0, 0.5, 0.9), cost(8.0, 0.25, 0.9)]
    assert silent([*small, cost(8.0, 0.5, 0.09), cost(8.0, -0.5, 0.0)])
    assert not silent([*small, cost(8.0, 0.5, 0.1), cost(8.0, -0.5, 0.0)])
    assert not silent([*small, cost(8.0, 0.5, 0.0), cost(8.0, -0.5, 0.2)])
    assert silent([cost(1.0, 0.5, 0.0), cost(8.0, 0.5, float("nan"), scans=0)])
    assert silent([cost(8.0, 0.5, float("nan"), scans=0)]) is None
    assert silent([]) is None
