"""What was done, in sentences, from the protocol alone."""

from __future__ import annotations

from collections.abc import Iterator

from wholesight.benchmark.plan.material import Material
from wholesight.benchmark.plan.protocol import STATISTICS, Protocol
from wholesight.benchmark.plan.suite import Suite
from wholesight.datasets.finding import count
from wholesight.metrics.body import EROSION_PX


def statements(protocol: Protocol) -> list[str]:
    """Return the sentences, in the order in which things were done."""
    suite = protocol.suite
    return [
        *(sentence for each in protocol.materials for sentence in _data(each, suite)),
        *_methods(protocol),
        _threshold(suite),
        _judgement(suite),
        _comparison(suite),
    ]


def _data(material: Material, suite: Suite) -> Iterator[str]:
    train, calibration, judged = (
        count(len({case.subject for case in cases}), "subject")
        for cases in (material.train, material.calibration, material.judged)
    )
    dealt = (
        f", dealt out with seed {suite.split.seed} from all subjects sorted by name"
        if suite.split
        else ""
    )
    threshold = (
        f"{calibration} set the thresholds"
        if material.calibration
        else "nobody set a threshold, so maps alone are judged"
    )
    yield (
        f"{material.name}: {train} trained every method, {threshold}, and {judged} "
        f"({material.subset}) were judged{dealt}; none is in two of these, nor is any image file."
    )
    if suite.slices:
        first, last = suite.slices
        yield f"Axial slices {first} to {last} of each file, counted from 0, belong to the study."
    least = suite.exclude.min_lesion_share
    if least:
        yield (
            f"Before anything was trained, {count(len(material.excluded), 'case')} with less "
            f"lesion than {100 * least:g} % of the body were left out of the judgement."
        )


def _methods(protocol: Protocol) -> Iterator[str]:
    yield (
        "Methods were trained on slices without a lesion, and saw no label in any other way. No "
        "setting was chosen in this run."
    )
    for each in protocol.contenders:
        times = f"run with {count(len(each.seeds), 'seed')}" if each.seeds[1:] else "run once"
        yield f"{each.name}: {each.summary} ({times}). {each.citation}"


def _threshold(suite: Suite) -> str:
    return (
        f"Thresholds follow from normal slices of the calibration subjects alone (rule {suite.rule}"
        f", alpha {suite.alpha:g}). Figures whose threshold the labels chose are called oracle."
    )


def _judgement(suite: Suite) -> str:
    return (
        f"All are judged in one body: the case's own mask where it has one, else by the rule "
        f"{suite.body}, eroded by {EROSION_PX} x {EROSION_PX} pixels in every axial slice."
    )


def _comparison(suite: Suite) -> str:
    return (
        f"Every method is compared with {suite.reference}, paired by subject: Wilcoxon's "
        "signed-rank test (Wilcoxon 1945) and a permutation test of the signs, p-values adjusted "
        "over the methods (Holm 1979). Intervals are bootstrapped over subjects, BCa (Efron 1987), "
        f"{STATISTICS['resamples']} resamples, {100 * float(STATISTICS['confidence']):g} %; the "
        "spread over seeds is shown beside them and never mixed in."
    )
