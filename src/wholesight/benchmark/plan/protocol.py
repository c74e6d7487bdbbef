"""What a benchmark will do, to the last setting and file: written before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from wholesight.benchmark.plan.contenders import Contender, contenders
from wholesight.benchmark.plan.leakage import require_no_leak
from wholesight.benchmark.plan.material import Material, gather
from wholesight.benchmark.plan.place import PROTOCOL
from wholesight.benchmark.plan.suite import Suite
from wholesight.benchmark.results import COMPARED
from wholesight.calibration import Terms
from wholesight.calibration.choose import require_subjects
from wholesight.detector import device_name
from wholesight.errors import OutputError, UsageError
from wholesight.io.files import write_json
from wholesight.training.record import first_difference, software

# Threads of every cell: how sums are split among threads changes their last digits.
THREADS: Final = 1
RESAMPLES: Final = 2000
STATISTICS: Final = {
    "unit": "subject",
    "interval": "bootstrap over subjects, BCa, of the mean over seeds",
    "resamples": RESAMPLES,
    "confidence": 0.95,
    "compared": list(COMPARED),
    "tests": ["Wilcoxon signed-rank", "sign-flip permutation"],
    "adjustment": "Holm, over the methods of a data set, per metric",
    "seeds": "reported as lowest and highest, never mixed with subjects",
}

# What need not agree for a run to go on: when and on which machine it began.
_CIRCUMSTANCES: Final = "begun"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A suite with its methods resolved and its data at hand.

    device : where networks run. Figures of a CPU and of a GPU differ in their last digits, and
    what is trained on either differs more.
    """

    suite: Suite
    contenders: tuple[Contender, ...]
    materials: tuple[Material, ...]
    device: Literal["cpu", "cuda"]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; two runs that agree in it compute the same."""
        stated = self.suite.model_dump(exclude={"methods", "subset"}, mode="json")
        told = software()
        return {
            "suite": stated,
            "methods": {each.name: asdict(each) for each in self.contenders},
            "data": {each.name: each.to_json() for each in self.materials},
            "statistics": STATISTICS,
            "device": self.device,
            "threads_per_cell": THREADS,
            "versions": told["versions"],
            _CIRCUMSTANCES: {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "platform": told["platform"],
                "git": told["git"],
            },
        }


def draw_up(
    suite: Suite, data: Sequence[Path], *, device: Literal["auto", "cpu", "cuda"] = "auto"
) -> Protocol:
    """Resolve the methods, look at every file, and refuse what cannot be judged honestly.

    Raises RecipeError, UsageError for a device that is not here, a data set given twice or too few
    calibration subjects for the suite's rule, and InputError for data that cannot be used or
    (E_LEAK) serve twice.
    """
    where: Literal["cpu", "cuda"] = "cuda" if device_name(device) == "cuda" else "cpu"
    methods = contenders(suite)
    channels = {name for each in methods for name in each.resolved["prep"]["channels"]}
    materials = gather(data, suite, channels=channels)
    require_no_leak(materials)
    _require_calibration_subjects(suite, materials)
    _require_training_subjects(methods, materials)
    return Protocol(suite=suite, contenders=methods, materials=tuple(materials), device=where)


def _require_calibration_subjects(suite: Suite, materials: Sequence[Material]) -> None:
    """Refuse a rule that cannot keep its promise before days of training, not after them."""
    for material in materials:
        for fold in material.folds:
            subjects = {case.subject for case in fold.calibration}
            if subjects:
                try:
                    require_subjects(len(subjects), Terms(rule=suite.rule, alpha=suite.alpha))
                except UsageError as fault:
                    raise UsageError(f"suite {suite.name}, {material.name}: {fault}") from fault


def _require_training_subjects(methods: Sequence[Contender], materials: Sequence[Material]) -> None:
    """Refuse a method that asks for more training subjects than there are in some fold."""
    for material in materials:
        least = min(len({case.subject for case in fold.train}) for fold in material.folds)
        for method in methods:
            if method.train_subjects is not None and method.train_subjects > least:
                raise UsageError(
                    f"method '{method.name}' of the suite: train_subjects is "
                    f"{method.train_subjects}, but {material.name} has {least} to train on. Lower "
                    "it, or leave it out to take all."
                )


def write_protocol(protocol: Protocol, out: Path) -> None:
    """Write it, or make sure that what is there is the same.

    Raises UsageError that names the first difference, OutputError when it cannot be written.
    """
    now = json.loads(json.dumps(protocol.to_json()))
    path = out / PROTOCOL
    if not path.is_file():
        write_json(path, now)
        return
    try:
        begun = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as fault:
        raise OutputError(
            f"{path}: cannot be read, so it is not known what to go on with. Choose another --out."
        ) from fault
    begun[_CIRCUMSTANCES] = now[_CIRCUMSTANCES]
    difference = first_difference(begun, now)
    if difference:
        raise UsageError(
            f"{out}: this benchmark began otherwise: {difference}. Use the same suite, options, "
            "data and versions with --resume, or choose another --out."
        )
