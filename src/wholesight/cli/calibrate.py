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
    from rich.console import Console

    from wholesight.datasets import open_dataset
    from wholesight.datasets.scans import Scans

    cases = open_dataset(data, modality=modality).subset("calibration")
    from wholesight.detector import Detector, device_name

    detector = Detector.load(model, device=device_name(device.value))
    pairs = zip((case.subject for case in cases), Scans(cases), strict=True)
    found = detector.calibrate(pairs, rule=rule.value, alpha=alpha)
    found.save_threshold(model)
    threshold = found.calibrated_threshold
    console = Console(highlight=False)
    console.print(
        f"threshold {threshold.value:.6g} from {threshold.slices} normal slices of "
        f"{threshold.subjects} subjects"
    )
    console.print(threshold.statement)
    console.print(f"Saved in {model}. Next:")
    console.print(f"  wholesight segment {model} SCAN.nii.gz --out DIR", soft_wrap=True)
