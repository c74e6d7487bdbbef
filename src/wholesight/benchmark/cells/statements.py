"""What was done in a run, in sentences, from the protocol alone.

What holds for every report (how figures are read, what each method is) the report itself says.
"""

from __future__ import annotations

from collections.abc import Iterator

from wholesight.benchmark.plan.material import Material
from wholesight.benchmark.plan.protocol import STATISTICS, Protocol
from wholesight.benchmark.plan.suite import Suite
from wholesight.datasets.finding import count


def statements(protocol: Protocol) -> list[str]:
    """Return the sentences, in the order in which things were done."""
    suite = protocol.suite
    return [
        *(sentence for each in protocol.materials for sentence in _data(each, suite)),
        _methods(protocol),
        *([_threshold(suite)] if any(each.calibration for each in protocol.materials) else []),
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
        f"{material.name}: {train} trained every method that learns, {threshold}, and {judged} "
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


def _methods(protocol: Protocol) -> str:
    times = max(len(each.seeds) for each in protocol.contenders)
    repeated = f"with up to {count(times, 'seed')} each" if times > 1 else "once each"
    return (
        f"{count(len(protocol.contenders), 'method')} were run, {repeated}. Training saw "
        "slices without a lesion, and no label in any other way. No setting was chosen in this "
        "run."
    )


def _threshold(suite: Suite) -> str:
    return (
        "Thresholds follow from normal slices of the calibration subjects alone (rule "
        f"{suite.rule}, alpha {suite.alpha:g})."
    )


def _judgement(suite: Suite) -> str:
    return (
        "All are judged in one body: the case's own mask where it has one, else by the rule "
        f"{suite.body}."
    )


def _comparison(suite: Suite) -> str:
    return (
        f"Every method is compared with {suite.reference}, paired by subject; intervals are of "
        f"{STATISTICS['resamples']} resamples of the subjects."
    )
