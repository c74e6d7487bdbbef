"""`wholesight fit DATA --recipe R --out MODEL`: train on the normal slices of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholesight.cli.options import Data, Device, DeviceName, Modalities, Seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wholesight.datasets import DataSet


def fit(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="MODEL", help="A new folder for the model.")
    ],
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="A name of wholesight info --methods, or a .yaml of your own.",
        ),
    ] = "standard",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the recipe: training.epochs=20. May be repeated.",
        ),
    ] = None,
    modality: Modalities = None,
    seed: Seed = 0,
    device: Device = DeviceName.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
) -> None:
    """Train a recipe on the subjects of `train`; slices with an abnormal voxel are left out."""
    from rich.text import Text

    from wholesight.cli.speech import command, console
    from wholesight.datasets import open_dataset
    from wholesight.datasets.scans import Scans, file_hashes

    # What is wrong with the data is said before torch is loaded, which takes seconds.
    image = modality[0] if modality else None
    found = open_dataset(data, modality=image)
    cases = found.subset("train")
    from wholesight.detector import device_name
    from wholesight.recipe import Recipe
    from wholesight.training.fit import fit as train
    from wholesight.training.record import training_data

    screen = console()
    several = _channels(found, modality or (), overrides or ())
    chosen = Recipe.load(recipe, [*several, *(overrides or ())], seed=seed)
    screen.print(Text.assemble((chosen.name, "bold"), f": {chosen.summary}"))
    if chosen.cost in ("hours", "days") and device_name(device.value) == "cpu":
        screen.print(
            f"note: that takes {chosen.cost} on a CPU. Recipes of minutes: wholesight info "
            "--methods. Ctrl-C stops it; what is kept then is the last full epoch.",
            soft_wrap=True,
        )
    files = file_hashes(cases, channels=chosen.prep.channels)
    detector = train(
        chosen,
        Scans(cases),
        out,
        seed=seed,
        device=device.value,
        resume=resume,
        record={"data": {"layout": found.layout, **training_data(files)}},
        console=screen,
    )
    seconds = detector.record["seconds"]
    terms = _softened(found, screen)
    screen.print(f"Model {detector.digest} in {out}, {seconds:.0f} s. Next:", soft_wrap=True)
    shown = ["--modality", image] if image else []
    screen.print("  " + command("calibrate", out, data, *terms, *shown), soft_wrap=True)


def _channels(found: DataSet, modalities: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the override that makes channels of several modalities.

    Raises UsageError where the channels are named by --set, too.
    """
    from wholesight.datasets.channels import channels_of
    from wholesight.errors import UsageError

    names = channels_of(found.cases, found.layout, modalities)
    if names and any(change.startswith("channels=") for change in overrides):
        raise UsageError(
            "--modality given several times, and --set channels: both name the channels. Leave "
            "one of them out."
        )
    return [f"channels=[{', '.join(names)}]"] if names else []


def _softened(data: DataSet, screen: Console) -> list[str]:
    """Say before they are needed that calibration subjects are too few; return what they allow."""
    from wholesight.calibration import Terms
    from wholesight.calibration.choose import finest_percent, require_subjects
    from wholesight.errors import UsageError

    terms = Terms()
    there = len({case.subject for case in data.cases if case.split == "calibration"})
    try:
        require_subjects(there, terms)
    except UsageError as fault:
        screen.print(f"note: {fault}", soft_wrap=True)
        return ["--alpha", f"{finest_percent(there, terms) / 100:g}"] if there else []
    return []
