"""The answer of a report in plain words, never surer than its intervals and tests are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from wholesight.benchmark.report import wording
from wholesight.benchmark.report.lineup import HEADLINE_METRIC, failed, judged, lead, mean_of
from wholesight.benchmark.results import Compared, DataSetResult, MethodResult
from wholesight.datasets.finding import count

# Up to so many methods beside the reference, each has a sentence of its own.
_NAMED: Final = 3

Verdict = Literal["better", "worse", "unclear"]


class Words(NamedTuple):
    """A piece of a sentence; strong pieces stand out."""

    text: str
    strong: bool = False


def verdict(compared: Compared | None) -> Verdict:
    """Say whether a method is told from the reference by AUPRC.

    Better or worse needs both: an interval of the gain that leaves zero out, and a Holm-adjusted
    p-value under `wording.LEVEL` on differences that lean the same way. All else is unclear.
    """
    if compared is None or compared.gain is None or compared.holm_p is None:
        return "unclear"
    effect = compared.test.rank_biserial or 0.0
    if compared.holm_p >= wording.LEVEL:
        return "unclear"
    if compared.gain.low > 0 and effect > 0:
        return "better"
    if compared.gain.high < 0 and effect < 0:
        return "worse"
    return "unclear"


def verdicts(dataset: DataSetResult) -> dict[str, Verdict]:
    """Judge every method but the reference, the highest AUPRC first.

    Intervals and tests resample subjects and know nothing of trainings. So where the seeds of the
    two overlap, so that training again could turn the order round, the verdict is unclear too.
    """
    able = judged(dataset)
    reference = [method for method in able if method.name == dataset.reference]
    return {
        method.name: verdict(by_headline(dataset, method.name))
        if all(_seeds_apart(method, each) for each in reference)
        else "unclear"
        for method in able
        if method.name != dataset.reference
    }


def _seeds_apart(one: MethodResult, other: MethodResult) -> bool:
    """Whether every seed of the one is above, or below, every seed of the other."""
    (a, b) = (method.figures[HEADLINE_METRIC] for method in (one, other))
    if a.lowest is None or a.highest is None or b.lowest is None or b.highest is None:
        return True
    return a.lowest > b.highest or a.highest < b.lowest


def by_headline(dataset: DataSetResult, name: str) -> Compared | None:
    """Return how a method compares with the reference by AUPRC."""
    return dataset.comparisons.get(name, {}).get(HEADLINE_METRIC)


def answer(dataset: DataSetResult) -> list[Words]:
    """Say what the data set shows: of few methods in a sentence each, of many in one."""
    able = judged(dataset)
    if not able:
        return [Words("No method gave figures; what failed is listed below.")]
    if all(mean_of(method, HEADLINE_METRIC) is None for method in able):
        return [Words("No case has both lesion and other tissue in the judged body: no ranking.")]
    reference = next((method for method in able if method.name == dataset.reference), None)
    if len(able) == 1 or reference is None:
        return _alone(able[0])
    found = verdicts(dataset)
    if len(found) > _NAMED:
        return _many(able, reference, found)
    pairs = [
        _pair(dataset, each, reference, found[each.name]) for each in able if each.name in found
    ]
    return [piece for n, pair in enumerate(pairs) for piece in ([Words(" ")] * (n > 0) + pair)]


def support(dataset: DataSetResult) -> list[Words]:
    """Give the figures behind the answer: cases, chance, own threshold, oracle."""
    leading = lead(dataset)
    if leading is None:
        return []
    counts = leading.evaluations[0].counts
    prevalence = leading.evaluations[0].prevalence
    chance = "" if prevalence is None else f", where chance is {wording.figure(prevalence)}"
    words = [
        Words(
            f"{count(counts['cases'], 'case')} of {count(counts['subjects'], 'subject')} "
            f"{'was' if counts['cases'] == 1 else 'were'} judged{_in_folds(dataset)}. "
        ),
        Words(leading.name, True),
        Words(f" ranks pixels with an AUPRC of {_sure(leading)}{chance}. "),
    ]
    return words + _threshold(leading) + _untrained(dataset, leading) + _lost(dataset)


def _in_folds(dataset: DataSetResult) -> str:
    if dataset.folds == 1:
        return ""
    return f" in {dataset.folds} folds, each by a model that has not seen it"


def _alone(method: MethodResult) -> list[Words]:
    return [
        Words(method.name, True),
        Words(f" ranks pixels with an AUPRC of {_sure(method)}; nothing stands beside it."),
    ]


def _pair(
    dataset: DataSetResult, method: MethodResult, reference: MethodResult, found: Verdict
) -> list[Words]:
    compared = by_headline(dataset, method.name)
    difference = None if compared is None else compared.set_difference
    ours, theirs = (wording.figure(mean_of(each, HEADLINE_METRIC)) for each in (method, reference))
    before, after = {
        "better": (" ranks lesion pixels better than ", ": "),
        "worse": (" ranks lesion pixels worse than ", ": "),
        "unclear": _unclear(compared),
    }[found]
    return [
        Words(method.name, True),
        Words(before),
        Words(reference.name, True),
        Words(after),
        Words(
            f"AUPRC {ours} against {theirs}, a difference of {wording.signed(difference)} "
            f"({_evidence(compared)})."
        ),
    ]


def _unclear(compared: Compared | None) -> tuple[str, str]:
    """Say what is not clear, in words before and after the reference's name.

    The test asks each subject, the interval all pixels together. Large lesions weigh more in the
    latter, so a method can be ahead in most subjects and not over the set.
    """
    effect = (compared.test.rank_biserial if compared else None) or 0.0
    if (
        compared is None
        or compared.holm_p is None
        or compared.holm_p >= wording.LEVEL
        or not effect
    ):
        return " cannot be told from ", " on these subjects: "
    ahead = "higher" if effect > 0 else "lower"
    if compared.gain and (compared.gain.low > 0 or compared.gain.high < 0):
        return f" is {ahead} than ", " on these subjects, but seeds of the two overlap: "
    return f" is {ahead} than ", " in most subjects, but not surely so over all pixels together: "


def _evidence(compared: Compared | None) -> str:
    """Give what a verdict rests on: the interval of the gain, the adjusted p-value."""
    if compared is None:
        return "nothing to compare on"
    ends = wording.signed_interval(compared.gain)
    p = compared.holm_p
    interval = f"95 % interval {ends}" if ends else "too few subjects for an interval"
    return f"{interval}, {'no test' if p is None else f'adjusted p {wording.p_value(p)}'}"


def _many(
    able: Sequence[MethodResult], reference: MethodResult, found: dict[str, Verdict]
) -> list[Words]:
    better, worse, unclear = (
        [name for name, each in found.items() if each == kind]
        for kind in ("better", "worse", "unclear")
    )
    if len(unclear) == len(found):
        words = [
            Words(f"None of {len(found)} methods can be told", True),
            Words(" from "),
            Words(reference.name, True),
            Words(" on these subjects"),
        ]
        return words + _best(able[0])
    words = [
        Words(f"Of {len(found)} methods, "),
        Words(f"{len(better) or 'none'} {_rank(len(better))} lesion pixels better", True),
        Words(" than "),
        Words(reference.name, True),
    ]
    if better:
        named = better if len(better) <= 4 else [*better[:3], f"{len(better) - 3} more"]
        words.append(Words(f" ({wording.listed(named)})"))
    words.append(Words(f", {len(worse) or 'none'} worse"))
    if unclear:
        words.append(Words(f", and {len(unclear)} cannot be told from it on these subjects"))
    return words + _best(able[0])


def _best(method: MethodResult) -> list[Words]:
    return [
        Words("; the highest AUPRC is that of "),
        Words(method.name, True),
        Words(f", {_sure(method)}."),
    ]


def _rank(number: int) -> str:
    return "ranks" if number <= 1 else "rank"


def _untrained(dataset: DataSetResult, leading: MethodResult) -> list[Words]:
    methods = judged(dataset)
    untrained = [m for m in methods if not m.trained and m.name != leading.name]
    # Of few methods the answer has named each, with its AUPRC.
    if not untrained or len(methods) <= _NAMED + 1:
        return []
    best = untrained[0]
    return [
        Words(" Where no network is trained, the best is "),
        Words(best.name, True),
        Words(f" with {_sure(best)}."),
    ]


def _lost(dataset: DataSetResult) -> list[Words]:
    names = [method.name for method in failed(dataset)]
    return (
        [Words(f" Without figures, as every run failed: {wording.listed(names)}.")] if names else []
    )


def _threshold(leading: MethodResult) -> list[Words]:
    own, oracle = mean_of(leading, "dice"), mean_of(leading, "best_dice")
    if own is None:
        first = "It has no threshold of its own that could be judged"
    else:
        first = f"At its own threshold its Dice is {wording.figure(own)}"
    return [
        Words(f"{first}; a threshold chosen on the labels would reach {wording.figure(oracle)}.")
    ]


def _sure(method: MethodResult) -> str:
    """Write the AUPRC and how sure it is."""
    figure = method.figures[HEADLINE_METRIC]
    ends = wording.interval(HEADLINE_METRIC, figure.interval)
    return wording.figure(figure.mean) + (f" (95 % interval {ends})" if ends else "")
