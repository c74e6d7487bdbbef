"""Options that several commands share, with one wording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DeviceName(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set's folder or cases.tsv.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder made by fit.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")]
Modality = Annotated[
    str | None,
    typer.Option(help="Which image of each case, where a case has several (flair, t1, ...)."),
]
Device = Annotated[
    DeviceName, typer.Option(help="Where the network runs; auto takes a GPU when there is one.")
]
Subset = Annotated[
    str, typer.Option(help="Split of a data set: train, calibration, validation, test or all.")
]
_JUDGING = ("validation", "test")
JudgedSubset = Annotated[
    str | None,
    typer.Option(
        "--subset", help="Split to judge on: validation or test; else test where there is one."
    ),
]


def require_judging(subset: str | None) -> None:
    """Refuse to judge on subjects that a model or its threshold has seen."""
    from wholesight.errors import UsageError, nearest

    if subset is not None and subset not in _JUDGING:
        raise UsageError(
            f"--subset {subset}: methods are judged on subjects that served neither the training "
            f"nor the threshold. {nearest(subset, _JUDGING)}"
        )


Seed = Annotated[
    int,
    # The range that every random generator takes.
    typer.Option(min=0, max=2**32 - 1, help="Same seed, same result."),
]
Alpha = Annotated[float, typer.Option(help="Share of a healthy body that may be flagged.")]
