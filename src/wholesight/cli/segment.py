"""`wholesight segment MODEL INPUT... --out DIR`: maps and masks in the scans' own geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholesight.cli.options import (
    Device,
    DeviceName,
    Fdr,
    Modality,
    Model,
    Out,
    Series,
    Subset,
    require_fdr,
    the_modality,
)

if TYPE_CHECKING:
    from wholesight.cohort.decision import Decision
    from wholesight.detector import Detector


def segment(
    model: Model,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Scans, folders of scans, or data sets."),
    ],
    out: Out,
    subset: Subset = "all",
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Only this subject of a data set, with or without sub-. May be repeated.",
        ),
    ] = None,
    modality: Modality = None,
    site: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where the scans were acquired, for a model calibrated by site; a data set's own "
            "site goes before.",
        ),
    ] = None,
    volume: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="K", help="Which volume of a 4-D file, counted from 0; of every scan."
        ),
    ] = None,
    series: Series = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Take scans whose voxel size is far from that of the training, too."
        ),
    ] = False,
    fdr: Fdr = 0.05,
    device: Device = DeviceName.auto,
    resume: Annotated[
        bool, typer.Option("--resume", help="Segment only what is missing in DIR.")
    ] = False,
) -> None:
    """Write a map, a mask and a JSON for every scan; a bad scan is listed and the rest goes on.

    results.tsv says how rare the score of each is among normal scans (p_value),
    and which are abnormal, decided over all of them together.
    """
    from wholesight.cli.speech import console
    from wholesight.cohort.plan import plan

    require_fdr(fdr)
    jobs, left_out = plan(
        inputs,
        subset=subset,
        participants=participant_label or (),
        modality=the_modality(modality),
        site=site,
        volume=volume,
        series=series,
    )
    from wholesight.cohort.run import segment_cohort
    from wholesight.datasets.finding import some
    from wholesight.detector import Detector, device_name

    say = console().print
    detector = Detector.load(model, device=device_name(device.value))
    _require_known(site, detector)
    if left_out:
        say(f"Not segmented, as no scans or not chosen: {some(map(str, left_out))}", soft_wrap=True)
    width = max(len(job.stem) for job in jobs)
    told = iter(range(1, len(jobs) + 1))

    def tell(case: str, what: str) -> None:
        line = f"{next(told):>{len(str(len(jobs)))}}/{len(jobs)}  {case:<{width}}  {what}"
        say(line, soft_wrap=True, style=style_of(what))

    ended, decision = segment_cohort(
        detector, jobs, out, resume=resume, fdr=fdr, tell=tell, force=force
    )
    for line in concluded(decision):
        say(line)
    say(f"{ended.line}. Results in {out}", soft_wrap=True)
    raise typer.Exit(ended.exit_code)


def _require_known(site: str | None, detector: Detector) -> None:
    """Refuse a --site that no threshold is of, before the first scan."""
    if site is None:
        return
    from wholesight.errors import UsageError

    if not detector.by_site:
        raise UsageError(
            f"--site {site}: this model has one threshold for all sites. Leave out --site, or "
            "calibrate the model with --by site."
        )
    detector.at_site(site)


def style_of(what: str) -> str:
    """Return how to print what became of a scan: in red what nobody should overlook."""
    return "red" if what.startswith(("failed", "qc fail")) else ""


def concluded(decision: Decision) -> list[str]:
    """Return what is said of a cohort at its end: how many are abnormal, and what limits that."""
    lines = [f"{note['code']}: {note['text']}" for note in decision.notes]
    return lines + [f"{decision.line}."] * bool(decision.line)
