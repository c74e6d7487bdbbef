"""What every metric promises, over the registry: adding a metric adds its tests.

Axes: i j k voxels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from wholesight.benchmark.judge.tallying import Tallying
from wholesight.metrics import METRICS, Seen, metric_key
from wholesight.metrics.pro import aupro_of
from wholesight.metrics.registry import set_figures

EVERY = pytest.mark.parametrize("name", METRICS)
OF_A_CASE = pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.of_case])
SPACING_MM = (5.0, 5.0, 5.0)


def told_apart(*, wrongly: bool) -> Seen:
    """A block of lesion in a body that surrounds it, in the right or in the wrong order."""
    truth = np.zeros((12, 12, 5), bool)
    truth[4:8, 4:8, 2:3] = True
    odd = ~truth if wrongly else truth
    return Seen(odd.astype(np.float32), truth, np.ones_like(truth), odd, SPACING_MM)


def random_case(seed: int) -> Seen:
    """Smooth scores with some ties, two or more lesions they know a little about, a ragged body."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(24, 20, 6)), (2, 2, 1))
    truth = smooth > np.quantile(smooth, 0.92)
    scores = smooth / smooth.std() + rng.normal(0, 1.0, truth.shape)
    scores = np.round(ndimage.gaussian_filter(scores, 0.7), 2).astype(np.float32)
    inside = rng.random(truth.shape) < 0.98
    return Seen(scores, truth, inside, scores > 0.8, (1.0, 1.5, 3.0))


@OF_A_CASE
def test_perfect(name: str) -> None:
    found = METRICS[name].of(told_apart(wrongly=False))
    assert found == pytest.approx(METRICS[name].perfect, nan_ok=True)


@pytest.mark.parametrize(
    "name", [n for n, m in METRICS.items() if m.of_case and m.worst is not None]
)
def test_worst(name: str) -> None:
    found = METRICS[name].of(told_apart(wrongly=True))
    assert found == pytest.approx(METRICS[name].worst, nan_ok=True)


@OF_A_CASE
def test_better_maps_have_better_figures(name: str) -> None:
    """What the registry calls the better end is where a better map and mask are."""
    rng = np.random.default_rng(11)
    case = random_case(11)
    noise = ndimage.gaussian_filter(rng.normal(size=case.truth.shape), (1, 1, 0))
    noise = (noise / noise.std()).astype(np.float32)
    blind = np.where(case.truth, noise - 3, noise).astype(np.float32)
    bad = replace(case, scores=blind, mask=blind > 0.5)
    sharp = np.where(case.truth, noise + 2, noise).astype(np.float32)
    good = replace(case, scores=sharp, mask=case.truth & (noise > -2) | (noise > 2.2))
    figures = METRICS[name].of(good), METRICS[name].of(bad)
    if name == "normal_scan_flagged":
        assert np.isnan(figures).all(), "a scan with a lesion is no normal one"
    elif METRICS[name].best == "zero":
        assert abs(figures[0]) < abs(figures[1])
    elif METRICS[name].best == "lowest":
        assert figures[0] < figures[1]
    else:
        assert figures[0] > figures[1]


@OF_A_CASE
@pytest.mark.parametrize("flagged", [False, True], ids=["silent", "flagged"])
def test_without_lesion_is_as_stated(name: str, flagged: bool) -> None:
    body = np.ones((4, 4, 2), bool)
    nothing = Seen(body.astype(np.float32), ~body, body, np.full(body.shape, flagged), SPACING_MM)
    expected = METRICS[name].without_lesion[flagged]
    if expected is None:
        assert METRICS[name].of(nothing) > 0, "a false alarm costs something"
        assert METRICS[name].best in ("lowest", "zero")
    else:
        assert METRICS[name].of(nothing) == pytest.approx(expected, nan_ok=True)


@OF_A_CASE
def test_without_a_pixel_nothing_is_claimed(name: str) -> None:
    none = np.zeros((3, 3, 2), bool)
    assert np.isnan(METRICS[name].of(Seen(none.astype(np.float32), none, none, none)))


@OF_A_CASE
def test_what_a_method_lacks_is_not_judged(name: str) -> None:
    case = random_case(0)
    reads_masks = METRICS[name].kind == "deployable"
    whole = not np.isnan(METRICS[name].of(case))
    assert np.isnan(METRICS[name].of(replace(case, mask=None))) == (reads_masks or not whole)
    assert np.isnan(METRICS[name].of(replace(case, scores=None))) == (not reads_masks or not whole)


@OF_A_CASE
@pytest.mark.parametrize("axis", range(3))
def test_a_mirrored_scan_has_the_same_figure(name: str, axis: int) -> None:
    case = random_case(1)
    assert case.scores is not None
    assert case.mask is not None
    scores, truth, inside, mask = (
        np.flip(each, axis) for each in (case.scores, case.truth, case.inside, case.mask)
    )
    mirrored = replace(case, scores=scores, truth=truth, inside=inside, mask=mask)
    assert METRICS[name].of(mirrored) == pytest.approx(METRICS[name].of(case), nan_ok=True)


@OF_A_CASE
def test_what_lies_outside_the_body_does_not_matter(name: str) -> None:
    case = random_case(2)
    assert case.scores is not None
    assert case.mask is not None
    rng = np.random.default_rng(0)
    other = replace(
        case,
        scores=np.where(case.inside, case.scores, rng.normal(9, 1, case.truth.shape)).astype("f4"),
        truth=np.where(case.inside, case.truth, rng.random(case.truth.shape) < 0.5),
        mask=np.where(case.inside, case.mask, rng.random(case.truth.shape) < 0.5),
    )
    assert METRICS[name].of(other) == pytest.approx(METRICS[name].of(case), nan_ok=True)


@OF_A_CASE
def test_only_the_order_of_scores_matters(name: str) -> None:
    case = random_case(3)
    assert case.scores is not None
    stretched = replace(case, scores=np.exp(case.scores.astype(float)).astype(np.float32))
    assert METRICS[name].of(stretched) == pytest.approx(METRICS[name].of(case), nan_ok=True)


@OF_A_CASE
def test_shapes_that_differ_are_refused(name: str) -> None:
    case = random_case(4)
    with pytest.raises(ValueError, match="truth"):
        METRICS[name].of(replace(case, truth=case.truth[:-1]))


@pytest.mark.parametrize(("name", "limit"), [("aupro_30", 0.3), ("aupro_5", 0.05)])
def test_an_area_ends_where_its_name_says(name: str, limit: float) -> None:
    case = random_case(5)
    assert case.steps is not None
    assert case.region_steps is not None
    expected = aupro_of(np.cumsum(case.region_steps), case.steps.false_flags, limit=limit)
    assert METRICS[name].of(case) == pytest.approx(float(expected))


def tallied(cases: list[Seen]):
    tallying = Tallying()
    for number, case in enumerate(cases):
        row = {"case": str(number), "lesions": case.regions[1], "scan_score": case.score}
        row |= {metric_key(n): m.of(case) for n, m in METRICS.items() if m.of_case}
        tallying.add(str(number), case, case, row)
    return tallying.close().inside


@OF_A_CASE
def test_a_set_of_one_case_has_the_case_s_figure(name: str) -> None:
    case = random_case(5)
    assert set_figures(tallied([case]))[name] == pytest.approx(METRICS[name].of(case), nan_ok=True)


@EVERY
def test_a_case_counts_as_often_as_its_weight_says(name: str) -> None:
    cases = [random_case(seed) for seed in (6, 7, 8)]
    weighted = tallied(cases).tally.sums(np.array([[2.0, 0.0, 1.0]]))
    repeated = tallied([cases[0], cases[0], cases[2]]).tally.sums(np.ones((1, 3)))
    np.testing.assert_allclose(
        set_figures(weighted)[name], set_figures(repeated)[name], atol=2e-3, equal_nan=True
    )


@EVERY
def test_bins_are_as_good_as_pixels(name: str) -> None:
    """The common bins of a tally give the set's exact figure to the third digit."""
    sums = tallied([random_case(seed) for seed in range(4)])
    coarse = set_figures(sums.tally.sums(np.ones((1, 4))))
    np.testing.assert_allclose(set_figures(sums)[name], coarse[name], atol=1e-3, equal_nan=True)


def test_an_oracle_is_called_so() -> None:
    """A figure whose threshold the labels chose must not pass as a result."""
    oracles = [name for name, metric in METRICS.items() if metric.kind == "oracle"]
    assert oracles == ["best_dice", "lesion_sensitivity_at_1"]
    assert all(metric_key(name).endswith("_oracle") for name in oracles)
    assert not any(metric_key(name).endswith("_oracle") for name in METRICS if name not in oracles)
