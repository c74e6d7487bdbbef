"""`wholesight threshold MAPS --out DIR`: another threshold for maps that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholesight.cli.options import (
    Alpha,
    By,
    Confidence,
    Fdr,
    Level,
    MinLesion,
    Out,
    Rule,
    RuleName,
    Share,
    require_fdr,
    terms_of,
)


def threshold(
    maps: Annotated[
        Path, typer.Argument(metavar="MAPS", help="A folder that wholesight segment wrote.")
    ],
    out: Out,
    rule: Rule = RuleName.crc,
    alpha: Alpha = 0.05,
    confidence: Confidence = None,
    share: Share = 0.0,
    level: Level = None,
    min_lesion: MinLesion = None,
    by: By = None,
    fdr: Fdr = 0.05,
    normals: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Take the normal scans from this model folder, in place of those beside the maps.",
        ),
    ] = None,
) -> None:
    """Set another threshold for the maps of `segment`, from the same normal scans.

    Needs neither scans nor network: MAPS holds all that it takes. DIR becomes a folder as segment
    would have written it, its maps being links to those of MAPS; MAPS stays as it is. What is
    promised holds for terms that were not chosen by what the masks show.
    """
    from wholesight.cli.calibration_report import show_threshold
    from wholesight.cli.segment import concluded, style_of
    from wholesight.cli.speech import console

    require_fdr(fdr)
    terms = terms_of(
        rule=rule,
        alpha=alpha,
        confidence=confidence,
        share=share,
        level=level,
        min_lesion=min_lesion,
    )
    from wholesight.cohort.rethreshold import rethreshold, set_thresholds
    from wholesight.cohort.source import open_run
    from wholesight.datasets.finding import count
    from wholesight.errors import Interrupted
    from wholesight.io.files import require_new

    require_new(out)
    source = open_run(maps, normals_of=normals)
    groups = set_thresholds(source, terms, by_site=by is not None)
    screen = console()
    for site, group in groups.items():
        show_threshold(group.threshold, site, screen)
    screen.print()
    if source.missing:
        left = count(source.missing, "scan")
        why = "they failed (see failures.tsv there), or the run was stopped"
        screen.print(f"{left} of {maps} without a map: {why}.", soft_wrap=True)
    width = max(map(len, source.cases))

    def tell(case: str, what: str) -> None:
        screen.print(f"{case:<{width}}  {what}", soft_wrap=True, style=style_of(what))

    try:
        ended, decision = rethreshold(source, groups, out, fdr=fdr, tell=tell)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"Stopped. {out} is as it was before.") from stop
    for line in concluded(decision):
        screen.print(line, soft_wrap=True)
    screen.print(f"{ended.line}. Results in {out}", soft_wrap=True)
    raise typer.Exit(ended.exit_code)
