"""What a threshold promises, and of whom, in words."""

from __future__ import annotations

from wholesight.calibration.normals import Normals
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import NO_PROMISE


def guarantee(terms: Terms, min_lesion_mm3: float) -> str:
    """Return in a sentence what a rule promises, where it promises something.

    >>> guarantee(Terms(alpha=0.1), 0.0)
    'on average at most 10 % of a healthy body lies above the threshold'
    """
    at_most = f"at most {percent(terms.alpha)}"
    left = _counted(terms, min_lesion_mm3)
    promised = {
        "crc": f"on average {at_most} of a healthy body lies above the threshold",
        "fwe": f"{at_most} of healthy scans have {left}",
        "tolerance": f"with {percent(terms.confidence)} confidence, {at_most} of healthy scans "
        f"have {left}",
    }[terms.rule]
    if terms.min_lesion_mm3 != "normals":
        return promised
    return (
        f"{promised}, and {at_most} of them have any place of {in_mm3(min_lesion_mm3)} or more "
        "flagged"
    )


def statement(
    terms: Terms, promised: str, normals: Normals, value: float, *, void: str = ""
) -> str:
    """Return in words what a threshold is, what it promises, on average over what, and to whom.

    void : why a rule that promises something promises nothing here.
    """
    n, scans = len(normals.by_subject), len(normals.scans)
    several = f" ({scans} scans)" if scans != n else ""
    set_on = f"Set on {n} calibration subject{'s' * (n != 1)}{several}."
    if promised == NO_PROMISE:
        found = _found(terms, normals, value)
        return f"{terms.rule}: {found} {set_on} Nothing is promised for a new scan. {void}".rstrip()
    return (
        f"{terms.rule}: {promised}. {set_on} The finest alpha that {n} subjects can support is "
        f"1/{n + 1} = {1 / (n + 1):.3g}. {_averaged(terms)} It holds for subjects like these "
        "(same scanner, protocol and population) and for no others."
    )


def partly_normal(normals: Normals, promised: str) -> tuple[str, ...]:
    """Say of how many scans only a part was normal; nothing where all were whole or no promise."""
    cut = sum(not scan.whole for scan in normals.scans)
    if not cut or promised == NO_PROMISE:
        return ()
    return (
        f"{cut} of {len(normals.scans)} scans had abnormal slices left out, so the promise is for "
        "the normal slices of such scans, not for whole healthy scans.",
    )


def _found(terms: Terms, normals: Normals, value: float) -> str:
    """Say how a threshold was found that promises nothing."""
    if terms.rule == "fixed":
        return f"{value:g}, as published (BMVC 2021), whatever the normal scans are."
    if terms.rule == "percentile":
        voxels = sum(scan.curve.voxels for scan in normals.scans)
        return (
            f"{percent(1 - terms.alpha)} of the body's {voxels} voxels in the normal slices lie at "
            "or below the threshold."
        )
    return f"found at alpha {percent(terms.alpha)}, as if it could keep its promise."


def _averaged(terms: Terms) -> str:
    """Say what is random in a promise."""
    if terms.rule == "tolerance":
        return (
            f"Of calibration sets like this one, {percent(terms.confidence)} keep it; it is about "
            "new subjects."
        )
    return (
        "It is an average over new subjects and over calibration sets of this size: with one set "
        "more, or less, may be flagged."
    )


def _counted(terms: Terms, min_lesion_mm3: float) -> str:
    if terms.share:
        return f"more than {percent(terms.share)} of the body flagged"
    if terms.min_lesion_mm3 != "normals" and min_lesion_mm3 > 0:
        return f"any place of {in_mm3(min_lesion_mm3)} or more flagged"
    return "any voxel above the threshold"


def percent(share: float) -> str:
    """Write a share in percent.

    >>> percent(0.05), percent(0.001)
    ('5 %', '0.1 %')
    """
    return f"{100 * share:.4g} %"


def in_mm3(volume: float) -> str:
    """Write a volume in full, with four significant digits.

    >>> in_mm3(136123.4)
    '136100 mm3'
    """
    return f"{float(f'{volume:.4g}'):.12g} mm3"
