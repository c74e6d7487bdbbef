"""What a report shows: every method's figures, how sure they are, and how they compare.

Axes: none here; what is resampled over subjects is in `sample.py`.

Two spreads that are never mixed: over seeds (the same data, trained again) there are the lowest
and the highest; over subjects there is an interval, of the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from wholesight.benchmark.judge.evaluate import Evaluation
from wholesight.benchmark.sample import Drawn, Sample, sample_of
from wholesight.metrics.comparison import Comparison, compare, holm
from wholesight.metrics.interval import Interval, Resamples

# What methods are compared on, subject by subject. Best Dice is an oracle's figure (`METRICS`).
COMPARED: Final = ("average_precision", "dice", "best_dice")


@dataclass(frozen=True)
class Figure:
    """A figure over seeds. All None where no seed defines it.

    Attributes
    ----------
    mean, lowest, highest : over the seeds that define it.
    interval : of the mean over seeds, subjects resampled (95 %, BCa); None where there is none.
    undefined : the number of seeds that do not define it.
    """

    mean: float | None
    lowest: float | None
    highest: float | None
    interval: Interval | None = None
    undefined: int = 0


@dataclass(frozen=True)
class Failure:
    """A seed of a method that gave no figures, and why."""

    seed: int
    code: str
    reason: str


@dataclass(frozen=True)
class MethodResult:
    """One method on one data set.

    Attributes
    ----------
    name, summary, citation : as the report calls and explains it.
    trained : whether its weights are learnt, so that seeds matter.
    seeds, evaluations : the seeds that went well, and for each the judgement of the same cases in
        the same order. None of both when every seed failed.
    histories : per seed the rows of history.csv, no rows when nothing is trained; with folds,
        those of the first.
    training_s, case_s : per seed, seconds of training (of all folds together) and seconds per
        case; None unknown.
        These three may be empty altogether.
    clocks : what these seconds are, each once: "CPU time", "time passed"; none unknown.
    notes : warnings while it was trained, calibrated and judged, each once.
    failures : the seeds that failed.
    figures : {metric: figure over the set, inside the body}. This and the next two are empty until
        `summarise` has filled them in, and stay empty for a method without evaluations.
    all_pixels : {metric: figure over all pixels, background too}, without intervals.
    per_case : {metric: figure of the mean over cases}.
    """

    name: str
    summary: str
    citation: str
    trained: bool
    seeds: Sequence[int] = ()
    evaluations: Sequence[Evaluation] = ()
    histories: Sequence[Sequence[Mapping[str, float]]] = ()
    training_s: Sequence[float | None] = ()
    case_s: Sequence[float | None] = ()
    clocks: Sequence[str] = ()
    notes: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    all_pixels: Mapping[str, Figure] = field(default_factory=dict)
    per_case: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """One method beside the reference, by one metric; positive says that the method is higher.

    Attributes
    ----------
    test : paired by subject: mean over the subject's cases, then over seeds.
    holm_p, permutation_holm_p : the test's two p-values, adjusted over the other methods.
    set_difference : of the set figure's mean over seeds, method minus reference.
    gain : interval of that difference, subjects resampled for both together.
    """

    test: Comparison
    holm_p: float | None
    permutation_holm_p: float | None
    set_difference: float | None
    gain: Interval | None


@dataclass(frozen=True)
class DataSetResult:
    """All methods on one data set, each beside the reference.

    Attributes
    ----------
    name, subset : the data set and which of its subjects were judged.
    folds : in how many parts they were judged, each by models of its own.
    methods : in the order of the report.
    reference : the name of the method that all others are compared with.
    comparisons : {method: {metric: comparison}}, of the methods that have figures but the
        reference; the metrics are `COMPARED`.
    exclusions : (case, reason) of every case that was not judged.
    design : {case: {"volume_ml", "contrast"}} of made-up lesions; None for scans.
    unlike : cases that `segment` marked qc: fail, as none of the kind that the model knows.
    facts : what a reader needs to repeat it.
    """

    name: str
    subset: str
    methods: Sequence[MethodResult]
    reference: str
    comparisons: Mapping[str, Mapping[str, Compared]]
    folds: int = 1
    exclusions: Sequence[tuple[str, str]] = ()
    design: Mapping[str, Mapping[str, float]] | None = None
    unlike: Collection[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Everything that a report says.

    Attributes
    ----------
    title, question : of the report.
    datasets : one section each.
    statements : what was done, in sentences with citations.
    facts : what a reader needs to repeat it.
    """

    title: str
    question: str
    datasets: Sequence[DataSetResult]
    statements: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def summarise(
    name: str,
    methods: Sequence[MethodResult],
    *,
    subset: str,
    reference: str,
    folds: int = 1,
    exclusions: Sequence[tuple[str, str]] = (),
    design: Mapping[str, Mapping[str, float]] | None = None,
    unlike: Collection[str] = (),
    facts: Mapping[str, str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> DataSetResult:
    """Fill in the figures of every method and compare each with the reference.

    Every method and seed is asked under the same draws of subjects, so that the interval of a
    difference is paired. The same input gives the same result.

    Parameters
    ----------
    methods
        Without figures; methods may have different numbers of seeds, and none that went well.
    reference
        The name of one of them. When it has no evaluations there is nothing to compare with.
    resamples, seed
        Of the bootstrap over subjects; the seed also draws the sign flips of the tests.

    Raises
    ------
    ValueError
        Names are shared, the reference is none of the methods, or methods or seeds were judged on
        different cases, or on the same in another order.
    """
    _require_one_of_each(methods, reference)
    judged = {each.name: each.evaluations for each in methods if each.evaluations}
    sample = sample_of(judged, resamples=resamples, seed=seed)
    drawn = {method: sample.set_figures(seeds) for method, seeds in judged.items()}
    described = [
        _described(each, sample, drawn[each.name]) if each.evaluations else each for each in methods
    ]
    return DataSetResult(
        name=name,
        subset=subset,
        methods=described,
        reference=reference,
        comparisons=_comparisons(described, reference, sample, drawn, seed=seed),
        folds=folds,
        exclusions=exclusions,
        design=design,
        unlike=unlike,
        facts=facts or {},
    )


def _described(method: MethodResult, sample: Sample, drawn: Drawn) -> MethodResult:
    """Return the method with its figures."""
    per_case = [_summary_means(_section(each, "per_case")) for each in method.evaluations]
    means = sample.case_means(method.evaluations, list(per_case[0]))
    of_set = [_section(each, "set") for each in method.evaluations]
    all_pixels = [_section(each, "all_pixels") for each in method.evaluations]
    return replace(
        method,
        figures=_figures(of_set, drawn, sample.draws),
        all_pixels=_figures(all_pixels, {}, sample.draws),
        per_case=_figures(per_case, means, sample.draws),
    )


def _section(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """One part of the figures, those of the oracle last."""
    return evaluation.deployable[name] | evaluation.oracle[name]


def _summary_means(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    return {name: summary["mean"] for name, summary in summaries.items()}


def _figures(
    seeds: Sequence[Mapping[str, float | None]], drawn: Drawn, draws: Resamples
) -> dict[str, Figure]:
    return {
        name: _figure(
            [each[name] for each in seeds],
            draws.interval(drawn[name]) if name in drawn else None,
        )
        for name in seeds[0]
    }


def _figure(seeds: Sequence[float | None], interval: Interval | None) -> Figure:
    defined = [figure for figure in seeds if figure is not None]
    if not defined:
        return Figure(None, None, None, undefined=len(seeds))
    mean = float(np.mean(defined))
    return Figure(mean, min(defined), max(defined), interval, len(seeds) - len(defined))


def _comparisons(
    methods: Sequence[MethodResult],
    reference: str,
    sample: Sample,
    drawn: Mapping[str, Drawn],
    *,
    seed: int,
) -> dict[str, dict[str, Compared]]:
    theirs = next(each for each in methods if each.name == reference)
    others = [each for each in methods if each.evaluations and each.name != reference]
    if not theirs.evaluations or not others:
        return {}
    compared: dict[str, dict[str, Compared]] = {each.name: {} for each in others}
    for metric in COMPARED:
        tests = [_test(each, theirs, metric, sample, seed) for each in others]
        adjusted = _holm([test.wilcoxon_p for test in tests])
        permuted = _holm([test.permutation_p for test in tests])
        for each, test, *holm_p in zip(others, tests, adjusted, permuted, strict=True):
            difference = drawn[each.name][metric] - drawn[reference][metric]
            compared[each.name][metric] = Compared(
                test,
                *holm_p,
                set_difference=_difference(each.figures[metric], theirs.figures[metric]),
                gain=sample.draws.interval(difference),
            )
    return compared


def _test(
    ours: MethodResult, theirs: MethodResult, metric: str, sample: Sample, seed: int
) -> Comparison:
    pair = (sample.subject_means(each.evaluations, metric) for each in (ours, theirs))
    return compare(*pair, seed=seed)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    adjusted = holm(np.array(p_values, dtype=float))
    return [None if np.isnan(p) else float(p) for p in adjusted]


def _difference(ours: Figure, theirs: Figure) -> float | None:
    return None if ours.mean is None or theirs.mean is None else ours.mean - theirs.mean


def _require_one_of_each(methods: Sequence[MethodResult], reference: str) -> None:
    names = [each.name for each in methods]
    if len(set(names)) < len(names):
        raise ValueError(f"methods share a name: {names}")
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is none of {names}")
    for each in methods:
        per_seed = (each.seeds, each.histories, each.training_s, each.case_s)
        # What is kept per seed may be unknown altogether, but for the seeds themselves.
        lengths = {len(kept) for kept in per_seed if kept} | {len(each.seeds)}
        if lengths != {len(each.evaluations)}:
            raise ValueError(
                f"{each.name}: {len(each.evaluations)} evaluations, seeds {each.seeds}"
            )
