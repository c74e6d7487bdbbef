"""What methods are worth and how they compare: figures by hand, scipy's bootstrap, the traps."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from wholesight.benchmark.judge.evaluate import Evaluation, Scored, evaluate
from wholesight.benchmark.results import (
    COMPARED,
    DataSetResult,
    Failure,
    Figure,
    MethodResult,
    summarise,
)
from wholesight.metrics.comparison import compare, holm
from wholesight.metrics.ranking import Steps
from wholesight.metrics.registry import METRICS, metric_key, set_figures
from wholesight.metrics.tally import Tally

CASES = 12
BINS = 64


def evaluation(
    seed: int,
    *,
    gain: float = 1.0,
    cases: int = CASES,
    bins: int = BINS,
    subjects: Sequence[str] | None = None,
    with_masks: bool = True,
) -> Evaluation:
    """Judge made-up maps: lesion pixels score `gain` higher. Case by case from the same lesions."""
    rng, lesions = np.random.default_rng(seed), np.random.default_rng(99)
    number = lesions.integers(20, 400, cases)
    scores = [rng.normal(gain, 1.0, n) for n in number], rng.normal(0.0, 1.0, (cases, 2000))
    edges = np.r_[-np.inf, np.linspace(-3, 4, bins - 1), np.inf]
    lesion, other = (np.stack([np.histogram(x, edges)[0][::-1] for x in part]) for part in scores)
    flagged = [np.array([np.sum(x > 1.5) for x in part]) for part in scores]
    overlap = np.stack([*flagged, number - flagged[0], 2000 - flagged[1]], axis=1)
    found = np.minimum(flagged[0], 3)
    tally = Tally(
        subjects=tuple(subjects or [f"subject-{i:03d}" for i in range(cases)]),
        steps=Steps(lesion, other),
        regions=lesion / number[:, None],
        overlap=overlap if with_masks else None,
        lesions=np.stack([np.full(cases, 3), found, found + 2, found], 1) if with_masks else None,
        froc_threshold=np.linspace(4, -3, 20),
        froc_found=np.cumsum(rng.random((cases, 20)) < 0.15, axis=1),
        froc_false=np.cumsum(rng.integers(0, 2, (cases, 20)), axis=1),
        lesion_number=np.full(cases, 3),
        scan_score=rng.random(cases),
        cases={name: np.full(cases, np.nan) for name in METRICS},
    )
    return as_judged(tally)


def as_judged(tally: Tally) -> Evaluation:
    """Fill in the figures that `evaluate` derives from counts."""
    alone = set_figures(tally.sums(np.eye(len(tally.subjects))))
    whole = set_figures(tally.sums(np.ones((1, len(tally.subjects)))))
    rows = [
        {"case": f"case-{i}", "subject": subject}
        | {metric_key(name): or_none(figures[i]) for name, figures in alone.items()}
        for i, subject in enumerate(tally.subjects)
    ]
    sections = {
        oracle: {
            "set": {name: or_none(whole[name][0]) for name in names},
            "per_case": {
                name: {"mean": mean([r[metric_key(name)] for r in rows])} for name in names
            },
            "all_pixels": {name: or_none(whole[name][0] / 2) for name in names},
        }
        for oracle in (False, True)
        if (names := [name for name in METRICS if (METRICS[name].kind == "oracle") == oracle])
    }
    found = SimpleNamespace(
        rows=tuple(rows), tally=tally, deployable=sections[False], oracle=sections[True]
    )
    return cast(Evaluation, found)


def or_none(figure: float) -> float | None:
    return float(figure) if np.isfinite(figure) else None


def mean(figures: Sequence[float | None]) -> float | None:
    defined = [figure for figure in figures if figure is not None]
    return float(np.mean(defined)) if defined else None


def method(name: str, *evaluations: Evaluation, **details: Any) -> MethodResult:
    return MethodResult(
        name,
        summary="",
        citation="",
        trained=len(evaluations) > 1,
        seeds=range(len(evaluations)),
        evaluations=evaluations,
        **details,
    )


def summary(*methods: MethodResult, reference: str = "floor", **options: Any) -> DataSetResult:
    options = {"resamples": 400} | options
    return summarise("made-up", methods, subset="test", reference=reference, **options)


def floor() -> MethodResult:
    return method("floor", evaluation(0, gain=0.8))


def ours() -> MethodResult:
    return method("ours", *(evaluation(seed, gain=1.4) for seed in (1, 2, 3)))


@pytest.fixture(scope="module")
def both() -> DataSetResult:
    return summary(floor(), ours())


def test_a_figure_is_the_mean_and_the_range_over_seeds(both: DataSetResult) -> None:
    for name in ("average_precision", "dice", "best_dice"):
        section = "oracle" if METRICS[name].kind == "oracle" else "deployable"
        for table, key in (("figures", "set"), ("all_pixels", "all_pixels")):
            seeds = [getattr(each, section)[key][name] for each in ours().evaluations]
            found = getattr(both.methods[1], table)[name]
            assert found.mean == pytest.approx(np.mean(seeds))
            assert (found.lowest, found.highest) == (min(seeds), max(seeds))
        figure = both.methods[0].figures[name]
        assert figure.mean == figure.lowest == figure.highest


def test_every_figure_that_is_defined_and_varies_has_an_interval_around_it(
    both: DataSetResult,
) -> None:
    for each in both.methods:
        for name in ("auroc", "average_precision", "dice", "precision", "aupro_30", "best_dice"):
            for figure in (each.figures[name], each.per_case[name]):
                assert figure.interval is not None
                assert figure.mean is not None
                assert figure.interval.low < figure.mean < figure.interval.high


def test_an_interval_is_scipys_of_the_mean_over_seeds(both: DataSetResult) -> None:
    """Seeds are averaged under each draw of subjects; they are never drawn themselves."""
    counts = np.stack([each.tally.overlap for each in ours().evaluations])

    def dice(drawn: np.ndarray, axis: int) -> np.ndarray:
        assert axis == -1
        true, false, missed, _ = np.moveaxis(counts[:, drawn].sum(axis=-2), -1, 0)
        return (2 * true / (2 * true + false + missed)).mean(axis=0)

    theirs = stats.bootstrap(
        (np.arange(CASES),), dice, n_resamples=400, rng=np.random.default_rng(0)
    ).confidence_interval
    assert both.methods[1].figures["dice"].interval == pytest.approx(tuple(theirs), abs=1e-12)


def test_more_seeds_do_not_narrow_an_interval_over_subjects() -> None:
    """Nine seeds of the same maps say about the subjects what one says."""
    once = evaluation(1)
    one, nine = method("floor", once), method("nine", *[once] * 9)
    found = summary(one, nine)
    narrow, wide = (each.figures["average_precision"].interval for each in found.methods)
    assert narrow == pytest.approx(wide, abs=1e-12)
    assert found.comparisons["nine"]["average_precision"].gain is None


def test_cases_of_a_subject_are_drawn_together() -> None:
    """Six subjects with two cases each: the draws of six, not of twelve."""
    pairs = [f"s{i // 2}" for i in range(CASES)]
    judged = evaluation(4, subjects=pairs)
    found = summary(method("floor", judged)).methods[0].figures["dice"].interval
    counts = judged.tally.overlap
    assert counts is not None
    by_subject = counts.reshape(6, 2, 4).sum(axis=1)

    def dice(drawn: np.ndarray, axis: int) -> np.ndarray:
        true, false, missed, _ = np.moveaxis(by_subject[drawn].sum(axis=-2), -1, 0)
        return 2 * true / (2 * true + false + missed)

    theirs = stats.bootstrap(
        (np.arange(6),), dice, n_resamples=400, rng=np.random.default_rng(0)
    ).confidence_interval
    assert found == pytest.approx(tuple(theirs), abs=1e-12)


def test_the_test_is_paired_by_subject_over_cases_and_seeds() -> None:
    pairs = [f"s{i // 2}" for i in range(CASES)]
    seeds = [evaluation(seed, gain=1.4, subjects=pairs) for seed in (1, 2)]
    base = evaluation(0, gain=0.8, subjects=pairs)
    found = summary(method("floor", base), method("ours", *seeds)).comparisons["ours"]["dice"]

    def by_subject(each: Evaluation) -> np.ndarray:
        return np.array([cast(float, row["dice"]) for row in each.rows]).reshape(6, 2).mean(axis=1)

    expected = compare(np.mean([by_subject(each) for each in seeds], axis=0), by_subject(base))
    assert found.test.subjects == 6
    assert found.test.mean_difference == pytest.approx(expected.mean_difference)
    assert found.test.wilcoxon_p == expected.wilcoxon_p
    assert found.test.permutation_p == expected.permutation_p


def test_p_values_are_adjusted_over_the_other_methods_by_metric() -> None:
    others = [method(f"m{i}", evaluation(i, gain=0.8 + 0.02 * i)) for i in range(1, 5)]
    found = summary(floor(), *others, method("silent", evaluation(9, with_masks=False)))
    assert set(found.comparisons) == {"m1", "m2", "m3", "m4", "silent"}
    for metric in COMPARED:
        compared = [methods[metric] for methods in found.comparisons.values()]
        raw = np.array([each.test.wilcoxon_p for each in compared], dtype=float)
        adjusted = np.array([each.holm_p for each in compared], dtype=float)
        np.testing.assert_allclose(adjusted, holm(raw))
        drawn = np.array([each.test.permutation_p for each in compared], dtype=float)
        adjusted = np.array([each.permutation_holm_p for each in compared], dtype=float)
        np.testing.assert_allclose(adjusted, holm(drawn))
        assert not np.allclose(raw, drawn, equal_nan=True), "two tests, not one"
        # A method without masks has no Dice: it is not tested, and no member of that family.
        assert np.isnan(raw).sum() == (metric == "dice")
    silent = found.comparisons["silent"]["dice"]
    assert (silent.holm_p, silent.set_difference, silent.gain) == (None, None, None)
    assert silent.test.left_out == CASES


def test_the_gain_is_paired(both: DataSetResult) -> None:
    """Two methods that share what makes a case hard differ far less than either varies."""
    compared = both.comparisons["ours"]["average_precision"]
    base, better = (each.figures["average_precision"] for each in both.methods)
    assert base.mean is not None
    assert better.mean is not None
    assert compared.set_difference == pytest.approx(better.mean - base.mean)
    assert compared.gain is not None
    assert compared.gain.low < compared.set_difference < compared.gain.high
    assert base.interval is not None
    assert better.interval is not None
    apart = (better.interval.high - base.interval.low) - (better.interval.low - base.interval.high)
    assert compared.gain.high - compared.gain.low < 0.8 * apart


def test_a_gain_is_the_mirror_of_a_loss(both: DataSetResult) -> None:
    gain = both.comparisons["ours"]["dice"].gain
    loss = summary(ours(), floor(), reference="ours").comparisons["floor"]["dice"].gain
    assert gain is not None
    assert loss is not None
    assert loss == pytest.approx((-gain.high, -gain.low), abs=1e-12)


def test_the_reference_is_not_compared_with_itself(both: DataSetResult) -> None:
    assert list(both.comparisons) == ["ours"]
    assert list(both.comparisons["ours"]) == ["average_precision", "dice", "best_dice"]


def test_the_order_of_cases_changes_nothing() -> None:
    subjects = [f"s{i // 2}" for i in range(CASES)]
    straight = evaluation(4, subjects=subjects)
    order = np.random.default_rng(0).permutation(CASES)
    found = [
        summary(method("floor", each)).methods[0]
        for each in (straight, as_judged(reordered(straight.tally, order)))
    ]
    for name, figure in found[0].figures.items():
        assert found[1].figures[name].mean == pytest.approx(figure.mean, abs=1e-12)
        assert found[1].figures[name].interval == pytest.approx(figure.interval, abs=1e-12)


def reordered(tally: Tally, order: np.ndarray) -> Tally:
    kept = {
        name: value if value is None or name == "froc_threshold" else taken(value, order)
        for name, value in vars(tally).items()
        if name in Tally.__dataclass_fields__
    }
    return Tally(**kept)


def taken(value: Any, order: np.ndarray) -> Any:
    if isinstance(value, Steps):
        return Steps(*(part[order] for part in value))
    if isinstance(value, dict):
        return {name: part[order] for name, part in value.items()}
    return tuple(value[i] for i in order) if isinstance(value, tuple) else value[order]


def test_the_same_input_gives_the_same_result() -> None:
    first, again, other = (summary(floor(), ours(), seed=seed) for seed in (0, 0, 1))
    assert first.comparisons == again.comparisons
    assert [each.figures for each in first.methods] == [each.figures for each in again.methods]
    assert first.methods[0].figures["dice"].interval != other.methods[0].figures["dice"].interval


def test_a_method_whose_every_seed_failed_keeps_its_failures() -> None:
    failed = method("broken", failures=[Failure(0, "E_DIVERGED", "the loss is not finite")])
    found = summary(floor(), failed, ours())
    assert [each.name for each in found.methods] == ["floor", "broken", "ours"]
    assert found.methods[1] == failed
    assert list(found.comparisons) == ["ours"]


def test_without_the_reference_there_is_nothing_to_compare_with() -> None:
    found = summary(method("floor", failures=[Failure(0, "E_X", "")]), ours())
    assert found.comparisons == {}
    assert found.methods[1].figures["dice"].interval is not None


def test_when_everything_failed_there_is_a_result_still() -> None:
    failed = method("floor", failures=[Failure(0, "E_X", "")])
    assert summary(failed).methods == [failed]


def test_under_five_subjects_figures_have_no_interval() -> None:
    found = summary(*(method(n, evaluation(i, cases=4)) for i, n in enumerate(("floor", "ours"))))
    for each in found.methods:
        assert each.figures["dice"].mean is not None
        assert {figure.interval for figure in each.figures.values()} == {None}
    assert found.comparisons["ours"]["dice"].gain is None
    assert found.comparisons["ours"]["dice"].test.subjects == 4


def test_a_seed_that_does_not_define_a_figure_is_left_out_and_counted() -> None:
    seeds = evaluation(1), evaluation(2, with_masks=False)
    found = summary(method("floor", *seeds)).methods[0]
    alone = summary(method("floor", seeds[0])).methods[0].figures["dice"]
    assert found.figures["dice"] == Figure(
        alone.mean, alone.lowest, alone.highest, alone.interval, undefined=1
    )
    assert found.figures["average_precision"].undefined == 0
    unmasked = summary(method("floor", seeds[1])).methods[0].figures["dice"]
    assert unmasked == Figure(None, None, None, None, undefined=1)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ([floor(), floor()], "share a name"),
        ([ours()], "none of"),
        ([floor(), method("ours", evaluation(1, cases=5))], "other cases"),
        ([method("floor", evaluation(1), evaluation(2, subjects=["s"] * CASES))], "other cases"),
        ([method("floor", evaluation(1), training_s=[1.0, 2.0])], "evaluations"),
    ],
)
def test_what_cannot_be_compared_is_refused(methods: list[MethodResult], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        summary(*methods)


def scored(seed: int, case: int, gain: float) -> Scored:
    """Make up one of eight cases of six subjects; the last case is a normal scan."""
    rng = np.random.default_rng([seed, case])
    truth = np.zeros((16, 16, 4), dtype=bool)
    if case < 7:
        truth[3 : 5 + case, 4:8, 1:3] = True
    anomaly = rng.normal(gain * truth, 1.0).astype(np.float32)
    return Scored(
        case=f"case-{case}",
        subject=f"subject-{min(case, 5)}",
        image=anomaly,
        body=np.ones(truth.shape, dtype=bool),
        inside=np.ones(truth.shape, dtype=bool),
        truth=truth,
        map=anomaly,
        mask=anomaly > 1.5,
        axis=2,
        affine=np.eye(4),
    )


def test_real_evaluations_are_summarised() -> None:
    """The whole way from maps, with what `evaluate` itself says as the answer."""
    judged = {
        gain: evaluate("m", [scored(seed, i, gain) for i in range(8)], threshold_note="")
        for seed, gain in enumerate((0.5, 2.0))
    }
    found = summary(method("floor", judged[0.5]), method("ours", judged[2.0]))
    figures = found.methods[1].figures
    assert set(figures) == set(METRICS)
    for name in ("average_precision", "dice", "lesion_sensitivity", "hd95_mm", "best_dice"):
        figure = figures[name]
        section = judged[2.0].oracle if name == "best_dice" else judged[2.0].deployable
        assert figure.mean == section["set"][name]
        assert found.methods[1].per_case[name].mean == section["per_case"][name]["mean"]
        assert figure.interval is None or figure.interval.low <= figure.interval.high
    compared = found.comparisons["ours"]["average_precision"]
    # Three cases of the sixth subject, one of them without a lesion: still one pair.
    assert (compared.test.subjects, compared.test.left_out) == (6, 0)
    assert compared.test.rank_biserial == 1.0
    assert compared.test.wilcoxon_p == compared.holm_p == pytest.approx(2 / 2**6)
    assert compared.gain is not None
    assert compared.gain.low > 0
