"""`wholesight phantom OUT`: made-up heads with made-up lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholesight.cli.options import Seed


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the data set.")],
    normal: Annotated[int, typer.Option(min=0, help="Heads without a lesion.")] = 24,
    lesion: Annotated[int, typer.Option(min=0, help="Heads with lesions.")] = 8,
    seed: Seed = 0,
    spacing: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="X Y Z", help="Voxels in mm; a large Z gives thick slices."),
    ] = (2.0, 2.0, 6.0),
) -> None:
    """Make a data set of heads with known lesions, in BraTS layout with a split.json."""
    from wholesight.cli.speech import command
    from wholesight.datasets.phantom import write_phantom

    cases = write_phantom(out, normal=normal, lesion=lesion, seed=seed, spacing_mm=spacing)
    typer.echo(f"{len(cases)} heads in {out}. Next:\n  {command('check', out)}")
