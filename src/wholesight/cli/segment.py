"""`wholesight segment MODEL INPUT... --out DIR`: maps and masks in the scans' own geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholesight.cli.options import Device, DeviceName, Modality, Model, Out, Subset


def segment(
    model: Model,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Scans, folders of scans, or data sets."),
    ],
    out: Out,
    subset: Subset = "all",
    modality: Modality = None,
    device: Device = DeviceName.auto,
    resume: Annotated[
        bool, typer.Option("--resume", help="Segment only what is missing in DIR.")
    ] = False,
) -> None:
    """Write a map, a mask and a JSON for every scan; a bad scan is listed and the rest goes on."""
    from wholesight.cli.speech import console
    from wholesight.cohort.plan import plan

    jobs, left_out = plan(inputs, subset=subset, modality=modality)
    from wholesight.cohort.run import segment_cohort
    from wholesight.datasets.finding import some
    from wholesight.detector import Detector, device_name

    say = console().print
    detector = Detector.load(model, device=device_name(device.value))
    if left_out:
        say(f"Not segmented, as no scans or not chosen: {some(map(str, left_out))}", soft_wrap=True)
    width = max(len(job.stem) for job in jobs)
    told = iter(range(1, len(jobs) + 1))

    def tell(case: str, what: str) -> None:
        line = f"{next(told):>{len(str(len(jobs)))}}/{len(jobs)}  {case:<{width}}  {what}"
        say(line, soft_wrap=True)

    ended = segment_cohort(detector, jobs, out, resume=resume, tell=tell)
    say(f"{ended.line}. Results in {out}", soft_wrap=True)
    raise typer.Exit(ended.exit_code)
