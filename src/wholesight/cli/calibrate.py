"""`wholesight calibrate MODEL DATA`: set the threshold on normal slices, without a label."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wholesight.cli.options import Alpha, Data, Device, DeviceName, Modality, Model


class RuleName(StrEnum):
    """The rules of `wholesight.calibration`."""

    percentile = "percentile"


def calibrate(
    model: Model,
    data: Data,
    rule: Annotated[RuleName, typer.Option(help="How the threshold is set.")] = RuleName.percentile,
    alpha: Alpha = 0.05,
    modality: Modality = None,
    device: Device = DeviceName.auto,
) -> None:
    """Set the threshold of a model on the normal slices of the subjects of `calibration`."""
    from wholesight.cli.speech import command, console
    from wholesight.datasets import open_dataset
    from wholesight.datasets.scans import Scans, file_hashes

    cases = open_dataset(data, modality=modality).subset("calibration")
    from wholesight.detector import Detector, device_name

    # A damaged threshold is no reason not to set another.
    detector = Detector.load(model, device=device_name(device.value), with_threshold=False)
    detector.require_unseen(file_hashes(cases))
    pairs = zip((case.subject for case in cases), Scans(cases), strict=True)
    found = detector.calibrate(pairs, rule=rule.value, alpha=alpha)
    found.save_threshold(model)
    threshold = found.calibrated_threshold
    say = console().print
    say(
        f"threshold {threshold.value:.6g} from {threshold.slices} normal slices of "
        f"{threshold.subjects} subjects"
    )
    say(threshold.statement)
    say(f"Saved in {model}. Next:", soft_wrap=True)
    say("  " + command("segment", model, "SCAN.nii.gz", "--out", "DIR"), soft_wrap=True)
