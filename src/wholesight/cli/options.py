"""Options that several commands share, with one wording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from wholesight.calibration import Terms


class DeviceName(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set's folder or cases.tsv.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder made by fit.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")]
_WHICH_IMAGE = (
    "Which image of each case, where a case has several: flair, t1, ...; in BIDS a suffix, "
    "entities before it: acq-tse_FLAIR."
)
# A list, though one is all that is taken (`the_modality`): of a scalar the last would win silently.
Modality = Annotated[
    list[str] | None, typer.Option("--modality", metavar="TEXT", help=_WHICH_IMAGE)
]
Modalities = Annotated[
    list[str] | None,
    typer.Option(
        "--modality",
        help=f"{_WHICH_IMAGE} Repeated, each is a channel of its own, and the body is found in the "
        "first.",
    ),
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


Series = Annotated[
    str | None,
    typer.Option(
        metavar="UID",
        help="Which DICOM series of a folder, by its UID or by what the refusal calls it.",
    ),
]


class RuleName(StrEnum):
    """The rules of `wholesight.calibration`."""

    crc = "crc"
    percentile = "percentile"
    fwe = "fwe"
    tolerance = "tolerance"
    fixed = "fixed"


class GroupName(StrEnum):
    """What thresholds can be set apart for."""

    site = "site"


Rule = Annotated[
    RuleName,
    typer.Option(
        metavar="RULE",
        help="crc bounds how much of a healthy body is flagged on average, fwe how many healthy "
        "scans have anything flagged, tolerance the same with --confidence; percentile and fixed "
        "promise nothing.",
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        help="What may be flagged: a share of a healthy body (crc, percentile), or of healthy "
        "scans (fwe, tolerance)."
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(help="With tolerance: of calibration sets that keep the promise; else 0.95."),
]
Share = Annotated[
    float,
    typer.Option(
        help="With fwe and tolerance: a scan counts as flagged when more of its body is than this."
    ),
]
Level = Annotated[
    float | None,
    typer.Option(help="With fwe: take this map value, and find the smallest lesion for it."),
]
MinLesion = Annotated[
    str | None,
    typer.Option(
        metavar="MM3|normals",
        help="Smallest lesion that is kept, else as the recipe says; normals finds it on half of "
        "the subjects.",
    ),
]
By = Annotated[
    GroupName | None, typer.Option(help="One threshold a site, each from its own normal scans.")
]


def terms_of(
    *,
    rule: RuleName,
    alpha: float,
    confidence: float | None,
    share: float,
    level: float | None,
    min_lesion: str | None,
) -> Terms:
    """Return what the options ask of a threshold. Raises UsageError."""
    from wholesight.calibration import Terms
    from wholesight.errors import UsageError

    if confidence is not None and rule is not RuleName.tolerance:
        raise UsageError(
            f"--confidence is of the rule tolerance, {rule.value} has none. Add --rule tolerance, "
            "or leave it out."
        )
    return Terms(
        rule=rule.value,
        alpha=alpha,
        confidence=0.95 if confidence is None else confidence,
        share=share,
        level=level,
        min_lesion_mm3=_min_lesion_mm3(min_lesion),
    )


def _min_lesion_mm3(told: str | None) -> float | Literal["normals"] | None:
    from wholesight.errors import UsageError

    if told is None or told == "normals":
        return told
    try:
        return float(told)
    except ValueError:
        raise UsageError(
            f"--min-lesion {told}: legal is a volume in mm3, for instance 30, or normals."
        ) from None


Fdr = Annotated[
    float,
    typer.Option(
        metavar="SHARE", help="Of the scans called abnormal, the share that may be normal."
    ),
]


def the_modality(named: list[str] | None) -> str | None:
    """Return the one modality that was named, if one was. Raises UsageError for several."""
    from wholesight.errors import UsageError

    if named and named[1:]:
        raise UsageError(
            f"--modality {' --modality '.join(named)}: name one, that in which the body is found. "
            "A model knows its other channels itself; fit alone is told them."
        )
    return named[0] if named else None


def require_fdr(fdr: float) -> None:
    """Refuse a share of false discoveries that is none."""
    from wholesight.errors import UsageError

    if not 0 < fdr < 1:
        raise UsageError(f"--fdr {fdr:g}: legal is 0 < fdr < 1, for instance 0.05.")
