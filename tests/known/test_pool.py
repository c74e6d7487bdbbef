"""Pooling in constant memory: exact while it can be, and never further off than it says."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholesight.io import reading
from wholesight.metrics import body, oracle, ranking
from wholesight.metrics.pool import Pool, Pooled
from wholesight.metrics.pro import aupro_of
from wholesight.metrics.ranking import Steps

Case = tuple[np.ndarray, np.ndarray]

ROUNDING = 1e-12


def drawn(rng: np.random.Generator, n: int, *, share: float = 0.02, shift: float = 0.0) -> Case:
    truth = rng.random(n) < share
    return rng.normal(1.5 * truth + shift, 1.0).astype(np.float32), truth


def pooled(cases: Sequence[Case], **options: int) -> Pooled:
    pool = Pool(**options)
    for scores, truth in cases:
        pool.add(scores, truth)
    return pool.close()


def joined(cases: Sequence[Case]) -> Case:
    scores, truth = zip(*cases, strict=True)
    return np.concatenate(scores), np.concatenate(truth)


def errors(result: Pooled, cases: Sequence[Case]) -> tuple[float, float]:
    """How far AUROC and average precision are from the exact ones."""
    exact = joined(cases)
    auroc = float(ranking.auroc_of(result.steps)) - ranking.auroc(*exact)
    precision = float(ranking.average_precision_of(result.steps))
    return abs(auroc), abs(precision - ranking.average_precision(*exact))


def test_up_to_the_limit_all_is_exact() -> None:
    rng = np.random.default_rng(0)
    cases = [drawn(rng, 3000) for _ in range(4)]
    shares = [rng.random(int(truth.sum())).astype(np.float32) for _, truth in cases]
    pool = Pool(exact_up_to=12_000)
    for (scores, truth), share in zip(cases, shares, strict=True):
        pool.add(scores, truth, region_share=share)
    result = pool.close()
    scores, truth = joined(cases)
    thresholds, steps = ranking.steps_of(scores, truth)
    assert result.exact
    assert result.error == (0.0, 0.0)
    np.testing.assert_array_equal(result.thresholds, thresholds)
    np.testing.assert_array_equal(result.steps, steps)
    above = scores[truth][None] >= thresholds[:, None]
    expected = (above * np.concatenate(shares)).sum(axis=1)
    np.testing.assert_allclose(np.cumsum(result.regions), expected, rtol=1e-6)


def _case(rng: np.random.Generator, case: int, *, late: float = 0.0) -> Case:
    return drawn(rng, 60_000, shift=late * (case > 4))


# Scores of one case by the number of the case, of 20.
SCENES = {
    "normal": _case,
    "skewed": lambda rng, case: _mapped(np.exp, _case(rng, case)),
    "many zeros": lambda rng, case: _mapped(lambda s: np.maximum(s, 0), _case(rng, case)),
    "large offset": lambda rng, case: _mapped(lambda s: s + 1000, _case(rng, case)),
    "later cases higher": lambda rng, case: _case(rng, case, late=1.0),
    "later cases elsewhere": lambda rng, case: _case(rng, case, late=50.0),
    "normal cases first": lambda rng, case: drawn(rng, 60_000, share=0.04 * (case > 7)),
    "an offset of every case": lambda rng, case: _case(rng, case, late=rng.normal()),
}


def _mapped(function, case: Case) -> Case:
    return function(case[0]).astype(np.float32), case[1]


@pytest.mark.parametrize("scene", SCENES)
def test_usual_scores_are_off_by_less_than_1e_4(scene: str) -> None:
    """A quarter of the pixels is seen before the bins are learnt."""
    rng = np.random.default_rng(1)
    cases = [SCENES[scene](rng, number) for number in range(20)]
    result = pooled(cases, exact_up_to=300_000)
    assert not result.exact
    assert result.thresholds.size <= 2**16
    for error, bound in zip(errors(result, cases), result.error, strict=True):
        assert error <= bound + ROUNDING
        assert error < 1e-4
        # With more lesion pixels than these 6000 to learn from, the bound is under 1e-4 as well:
        # benchmarks/metrics_scale.md.
        assert 0 < bound < 2e-4


def test_unusual_scores_say_how_far_off_they_may_be() -> None:
    """Each case on a scale of its own, always above what was seen: 1e-4 is out of reach."""
    rng = np.random.default_rng(1)
    cases = [_mapped(lambda s, c=c: s * 2.0**c, drawn(rng, 60_000, shift=3)) for c in range(20)]
    result = pooled(cases, exact_up_to=300_000)
    for error, bound in zip(errors(result, cases), result.error, strict=True):
        assert error <= bound + ROUNDING
    assert 1e-4 < result.error[1] < 1e-2


def test_scores_of_few_values_stay_exact() -> None:
    """Every value gets a bin, whose pixels are all equal: a tie, as it is exactly.

    Values that come late, in the tails, get one too.
    """
    rng = np.random.default_rng(2)
    cases = [_mapped(lambda s: np.round(s, 1), drawn(rng, 20_000)) for _ in range(5)]
    result = pooled(cases, exact_up_to=30_000)
    assert not result.exact
    assert result.error == pytest.approx((0.0, 0.0), abs=ROUNDING)
    assert errors(result, cases) == pytest.approx((0.0, 0.0), abs=ROUNDING)


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    decimals=st.integers(0, 7),
    spread=st.sampled_from([0.0, 1.0, 100.0, 1e30]),
    share=st.sampled_from([0.02, 0.3, 0.9]),
)
def test_no_figure_is_further_off_than_its_bound(
    seed: int, sizes: list[int], decimals: int, spread: float, share: float
) -> None:
    """Few bins and batches unlike one another, so that bins are coarse, and are divided late."""
    rng = np.random.default_rng(seed)
    cases = []
    for size in sizes:
        scores, truth = drawn(rng, size, share=share, shift=rng.normal())
        scores = np.round(scores, decimals) + np.float32(rng.normal() * spread)
        cases.append((scores * np.float32(rng.choice([1, 1e-3])), truth))
    result = pooled(cases, exact_up_to=0, bins=128, coarse=64)
    exact = joined(cases)
    assert result.steps.lesion.sum() == exact[1].sum()
    assert result.steps.other.sum() == (~exact[1]).sum()
    if 0 < exact[1].sum() < exact[1].size:
        for error, bound in zip(errors(result, cases), result.error, strict=True):
            assert error <= bound + ROUNDING


@pytest.mark.parametrize("exact_up_to", [2**24, 0])
def test_pixels_below_all_others_need_not_be_there(exact_up_to: int) -> None:
    rng = np.random.default_rng(5)
    cases = [_mapped(lambda s: np.round(s, 1), drawn(rng, 3000)) for _ in range(3)]
    pool = Pool(exact_up_to=exact_up_to)
    for number, (scores, truth) in enumerate(cases):
        pool.add(scores, truth, below=(number, 500))
    result = pool.close()
    air = np.full(1503, -99.0, np.float32), np.arange(1503) < 3
    assert errors(result, [*cases, air]) == pytest.approx((0.0, 0.0), abs=ROUNDING)
    assert result.thresholds[-1] == result.case_thresholds[-1] == -np.inf
    assert result.case_lesion[:, -1].tolist() == [0, 1, 2]
    assert result.case_other[:, -1].tolist() == [500, 500, 500]
    assert result.steps.lesion[-1] == 3


@pytest.mark.parametrize("exact_up_to", [2**24, 10_000])
def test_infinite_scores_rank_first_and_last(exact_up_to: int) -> None:
    rng = np.random.default_rng(6)
    cases = [_mapped(np.round, drawn(rng, 6000)) for _ in range(3)]
    for scores, _ in cases:
        scores[:40] = np.inf
        scores[40:90] = -np.inf
        scores[90:95] = np.finfo(np.float32).max
        scores[95:99] = -0.0
    result = pooled(cases, exact_up_to=exact_up_to)
    assert result.thresholds[0] == np.inf
    assert result.thresholds[-1] == -np.inf
    assert errors(result, cases) == pytest.approx((0.0, 0.0), abs=ROUNDING)
    assert result.error == pytest.approx((0.0, 0.0), abs=ROUNDING)


@pytest.mark.parametrize("exact_up_to", [2**24, 60_000])
def test_the_cases_histograms_count_each_case(exact_up_to: int) -> None:
    rng = np.random.default_rng(7)
    cases = [drawn(rng, 30_000) for _ in range(6)]
    pool = Pool(exact_up_to=exact_up_to)
    for scores, truth in cases:
        pool.add(scores, truth, region_share=np.full(truth.sum(), 0.5, np.float32))
    result = pool.close()
    assert (np.diff(result.case_thresholds) < 0).all()
    assert result.case_thresholds.size <= 2**12
    np.testing.assert_array_equal(result.case_regions, result.case_lesion / 2)
    scores, truth = cases[4]
    for at in rng.integers(result.case_thresholds.size, size=20):
        flagged = scores >= result.case_thresholds[at]
        # A bin that was divided after this case was counted may be off.
        assert result.case_lesion[4, : at + 1].sum() == (flagged & truth).sum()
        assert result.case_other[4, : at + 1].sum() == (flagged & ~truth).sum()
    whole = Steps(result.case_lesion.sum(axis=0), result.case_other.sum(axis=0))
    for figure in (ranking.auroc_of, ranking.average_precision_of, oracle.best_dice_of):
        assert figure(whole) == pytest.approx(float(figure(result.steps)), abs=1e-3)
    fine = aupro_of(np.cumsum(result.regions), result.steps.false_flags, limit=0.3)
    regions = np.cumsum(result.case_regions.sum(axis=0))
    assert aupro_of(regions, whole.false_flags, limit=0.3) == pytest.approx(fine, abs=1e-3)


def test_the_cases_histograms_follow_later_cases() -> None:
    """Cases that lie where none was before are resolved, and earlier ones keep their counts."""
    rng = np.random.default_rng(8)
    cases = [drawn(rng, 30_000, shift=40.0 * (number > 2)) for number in range(9)]
    result = pooled(cases, exact_up_to=60_000)
    for number, (scores, truth) in enumerate(cases):
        steps = Steps(result.case_lesion[number], result.case_other[number])
        assert steps.lesion.sum() == truth.sum()
        assert steps.other.sum() == (~truth).sum()
        assert ranking.auroc_of(steps) == pytest.approx(ranking.auroc(scores, truth), abs=3e-3)


def test_memory_does_not_grow_with_pixels() -> None:
    def peak(number: int) -> int:
        rng = np.random.default_rng(9)
        tracemalloc.start()
        pool = Pool(exact_up_to=100_000, bins=2**12, coarse=64)
        for _ in range(number):
            pool.add(*drawn(rng, 50_000))
        pool.close()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak(6), peak(60)
    # 54 more cases; half of one array of their scores.
    assert many - few < 54 * 50_000 * 2
    assert many < 1.1 * few


def test_nothing_is_nothing() -> None:
    result = Pool().close()
    assert result.exact
    assert result.thresholds.size == result.case_thresholds.size == 0
    assert np.isnan(ranking.auroc_of(result.steps))
    empty = pooled([(np.empty(0, np.float32), np.empty(0, bool))] * 2)
    assert empty.case_lesion.shape == (2, 0)


def test_what_cannot_be_pooled_is_refused() -> None:
    pool = Pool()
    with pytest.raises(ValueError, match="NaN"):
        pool.add(np.array([0.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="truth"):
        pool.add(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ValueError, match="region shares"):
        pool.add(np.zeros(3), np.ones(3, bool), region_share=np.ones(2))
    with pytest.raises(ValueError, match="coarse"):
        Pool(bins=128, coarse=256)


def test_pooling_is_not_averaging() -> None:
    """A scale that differs between cases must cost something: one threshold serves them all."""
    truth = np.array([False, True])
    dim, bright = np.array([0.0, 1.0], np.float32), np.array([10.0, 11.0], np.float32)
    assert ranking.auroc_of(pooled([(dim, truth), (bright, truth)]).steps) == 0.75


@pytest.mark.slow
def test_the_benchmark_at_small_size() -> None:
    """`benchmarks/metrics_scale.py` runs 10^9 voxels; here 10^6, most of them beyond the buffer."""
    path = Path(__file__).parents[2] / "benchmarks" / "metrics_scale.py"
    spec = importlib.util.spec_from_file_location("metrics_scale", path)
    assert spec is not None
    assert spec.loader is not None
    scale = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scale)
    measured = scale.measure(1_000_000, exact_up_to=250_000, voxels_a_case=60_000)
    assert (measured.voxels, measured.cases) == (1_000_000, 17)
    for ours, exact, bound in zip(measured.figure, measured.exact, measured.bound, strict=True):
        assert 0 < abs(ours - exact) <= bound < 2e-4
    everything = scale.measure(500_000)
    assert everything.bound == (0.0, 0.0)
    assert everything.figure == pytest.approx(everything.exact, abs=ROUNDING)
    assert "500,000 voxels, cases: 1." in scale.table(everything)


def _raw_intensity(lgg_flair: Path) -> Iterator[Case]:
    for case in json.loads((lgg_flair / "split.json").read_text())["validation"]:
        image = reading.read_image(lgg_flair / case / f"{case}_flair.nii.gz").voxels
        truth = reading.read_mask(lgg_flair / case / f"{case}_seg.nii.gz").voxels
        inside = body.eroded(image > 0, axis=2)
        yield image[inside].astype(np.float32), truth[inside].astype(bool)


@pytest.mark.parametrize("exact_up_to", [2**24, 2**18])
def test_floor_of_raw_intensity_on_real_tumours(lgg_flair: Path, exact_up_to: int) -> None:
    """The whole set at once, against figures measured by other code before this one."""
    result = pooled(list(_raw_intensity(lgg_flair)), exact_up_to=exact_up_to)
    assert ranking.average_precision_of(result.steps) == pytest.approx(0.419, abs=5e-4)
    assert oracle.best_dice_of(result.steps) == pytest.approx(0.434, abs=5e-4)
    assert result.exact == (exact_up_to == 2**24)
    assert max(result.error) < 1e-4
