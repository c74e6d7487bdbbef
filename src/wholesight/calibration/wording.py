"""What a threshold promises, and of whom, in words."""

from __future__ import annotations

from wholesight.calibration.normals import Normals
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import NO_PROMISE


def guarantee(terms: Terms, counted_mm3: float, min_lesion_mm3: float) -> str:
    """Return in a sentence what a rule promises, where it promises something.

    counted_mm3 : the smallest lesion that the level was set for. min_lesion_mm3 : that of the mask,
    which is larger where the normals choose it.

    >>> guarantee(Terms(alpha=0.1), 0.0, 0.0)
    'on average at most 10 % of a healthy body lies above the threshold'
    """
    of_healthy = f"at most {percent(terms.alpha)} of healthy subjects have"
    promised = {
        "crc": f"on average at most {percent(terms.alpha)} of a healthy body lies above the "
        "threshold",
        "fwe": f"{of_healthy} {_counted(terms, counted_mm3)}",
        "tolerance": f"with {percent(terms.confidence)} confidence, {of_healthy} "
        f"{_counted(terms, counted_mm3)}",
    }[terms.rule]
    if terms.min_lesion_mm3 != "normals":
        return promised
    # The smallest lesion is set by a rule that holds on average, whatever the level's rule is.
    averaged = "on average over calibration sets " if terms.rule == "tolerance" else ""
    return f"{promised}, and {averaged}{of_healthy} {_place(min_lesion_mm3)} flagged"


def statement(
    terms: Terms,
    promised: str,
    normals: Normals,
    value: float,
    *,
    finest: float,
    void: str = "",
) -> str:
    """Return in words what a threshold is, what it promises, on average over what, and to whom.

    finest : the smallest alpha that so many subjects can support. void : why a rule that promises
    something promises nothing here.
    """
    set_on = _set_on(terms, normals)
    if promised == NO_PROMISE:
        found = _found(terms, normals, value)
        return f"{terms.rule}: {found} {set_on} Nothing is promised for a new scan. {void}".rstrip()
    return (
        f"{terms.rule}: {promised}. {set_on} The finest alpha that so many can support is "
        f"{finest:.3g}. {_averaged(terms)} It holds for subjects like these (same scanner, "
        "protocol and population) and for no others."
    )


def _set_on(terms: Terms, normals: Normals) -> str:
    """Say on how many subjects a threshold was set."""
    n, scans = len(normals.by_subject), len(normals.scans)
    several = f" ({scans} scans)" if scans != n else ""
    halves = ""
    if terms.min_lesion_mm3 == "normals":
        first, second = (len(half.by_subject) for half in normals.halves())
        halves = f", the level on {first} of them and the smallest lesion on the other {second}"
    return f"Set on {n} calibration subject{'s' * (n != 1)}{several}{halves}."


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
        used = normals.halves()[0] if terms.min_lesion_mm3 == "normals" else normals
        voxels = sum(scan.curve.voxels for scan in used.scans)
        return (
            f"at least {percent(1 - terms.alpha)} of the body's {voxels} voxels in the normal "
            "slices lie at or below the threshold."
        )
    return f"found at alpha {percent(terms.alpha)}, as if it could keep its promise."


def _averaged(terms: Terms) -> str:
    """Say what is random in a promise."""
    if terms.rule == "tolerance":
        return (
            f"Confidence is over calibration sets: at least {percent(terms.confidence)} of sets of "
            "this size give a threshold that keeps this for new subjects."
        )
    return (
        "It is an average over new subjects and over calibration sets of this size: with the one "
        "set that there is, more may be flagged, or less."
    )


def _counted(terms: Terms, min_lesion_mm3: float) -> str:
    if terms.share:
        return f"more than {percent(terms.share)} of the body flagged"
    where = "above the threshold" if terms.min_lesion_mm3 == "normals" else "flagged"
    return (
        f"{_place(min_lesion_mm3)} {where}" if min_lesion_mm3 else "any voxel above the threshold"
    )


def _place(least_mm3: float) -> str:
    return f"any place of {in_mm3(least_mm3)} or more" if least_mm3 else "any voxel"


def percent(share: float) -> str:
    """Write a share in percent.

    >>> percent(0.05), percent(0.001)
    ('5 %', '0.1 %')
    """
    return f"{100 * share:.6g} %"


def in_mm3(volume: float) -> str:
    """Write a volume in full, with four significant digits.

    >>> in_mm3(136123.4)
    '136100 mm3'
    """
    return f"{float(f'{volume:.4g}'):.12g} mm3"
