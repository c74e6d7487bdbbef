"""From normal scans and what is asked to a threshold, by name of the rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from wholesight.calibration.conformal import subjects_needed
from wholesight.calibration.crc import crc
from wholesight.calibration.curve import Curve
from wholesight.calibration.fixed import fixed
from wholesight.calibration.fwe import fwe
from wholesight.calibration.normals import Normals, NormalScan
from wholesight.calibration.percentile import percentile
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import NO_PROMISE, Threshold
from wholesight.calibration.tolerance import tolerance, tolerance_finest, tolerance_needed
from wholesight.calibration.wording import guarantee, partly_normal, statement
from wholesight.errors import UsageError, nearest


class Level(NamedTuple):
    """A map value, and the smallest place that is kept above it."""

    value: float
    min_lesion_mm3: float


class Rule(NamedTuple):
    """How a level is found. needs : how many subjects at least, for a promise to be possible."""

    level: Callable[[Normals, Terms, float], float]
    needs: Callable[[Terms], int]
    promises: bool


def threshold_of(
    normals: Normals,
    terms: Terms,
    *,
    min_lesion_mm3: float,
    doubts: Sequence[str] = (),
    void: str = "",
) -> Threshold:
    """Set a threshold on normal scans.

    min_lesion_mm3 : the recipe's; taken where the terms name none. doubts : what is known against
    the promise, a sentence each. void : why nothing at all is promised, a sentence. Raises
    UsageError when the rule cannot keep its promise with so few subjects, and says how many.
    """
    rule = rule_of(terms)
    level = level_of(normals, terms, min_lesion_mm3)
    least = min_lesion_mm3 if terms.min_lesion_mm3 == "normals" else level.min_lesion_mm3
    promised = (
        guarantee(terms, least, level.min_lesion_mm3) if rule.promises and not void else NO_PROMISE
    )
    finest = finest_alpha(len(normals.by_subject), terms)
    return Threshold(
        value=level.value,
        min_lesion_mm3=level.min_lesion_mm3,
        rule=terms.rule,
        alpha=None if terms.rule == "fixed" else terms.alpha,
        confidence=terms.confidence if terms.rule == "tolerance" else None,
        share=terms.share if terms.rule in ("fwe", "tolerance") and terms.level is None else None,
        subjects=len(normals.by_subject),
        scans=len(normals.scans),
        slices=sum(scan.slices for scan in normals.scans),
        voxels=sum(scan.curve.voxels for scan in normals.scans),
        finest=finest,
        guarantee=promised,
        statement=statement(terms, promised, normals, level.value, finest=finest, void=void),
        doubts=(*((void,) if void else ()), *partly_normal(normals, promised), *doubts),
        void=void,
    )


def rule_of(terms: Terms) -> Rule:
    """Return the rule that the terms name. Raises UsageError for a name that is none."""
    if terms.rule not in RULES:
        raise UsageError(f"'{terms.rule}' is no rule for thresholds. {nearest(terms.rule, RULES)}")
    return RULES[terms.rule]


def level_of(normals: Normals, terms: Terms, min_lesion_mm3: float) -> Level:
    """Return the level and the smallest lesion, without a word about them. Raises UsageError.

    min_lesion_mm3 : the recipe's; taken where the terms name none.
    """
    rule = rule_of(terms)
    if not normals.scans:
        raise UsageError("There is no normal slice to set a threshold on.")
    require_subjects(len(normals.by_subject), terms)
    asked = terms.min_lesion_mm3
    if asked == "normals":
        return _level_and_lesion(rule, normals, terms, min_lesion_mm3)
    least = float(min_lesion_mm3 if asked is None else asked)
    if terms.level is not None:
        return Level(
            float(terms.level), max(least, _lesion_above(normals, terms.level, terms.alpha))
        )
    return Level(rule.level(normals, terms, least), least)


def _level_and_lesion(rule: Rule, normals: Normals, terms: Terms, least: float) -> Level:
    """Set the level on half of the subjects, and the smallest lesion above it on the others.

    On the same subjects the level would fit the very places that are then measured, and neither
    promise would hold.
    """
    first, second = normals.halves()
    value = rule.level(first, terms, least)
    return Level(value, max(least, _lesion_above(second, value, terms.alpha)))


def _lesion_above(normals: Normals, level: float, alpha: float) -> float:
    """Return a volume that places above the level reach in at most a share alpha of subjects."""
    return float(dropping_up_to(fwe(largest_of(normals, level), alpha=alpha)))


def dropping_up_to(largest_mm3: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
    """Return the smallest lesion that drops places as large as these: what is dropped is smaller.

    0 where there is no place to drop.
    """
    return np.where(np.equal(largest_mm3, 0), 0.0, np.nextafter(largest_mm3, np.inf))


def finest_alpha(there: int, terms: Terms) -> float:
    """Return the smallest alpha that so many subjects can support, by the rule of the terms."""
    n = there // 2 if terms.min_lesion_mm3 == "normals" else there
    ranked = 1 / (n + 1)
    if terms.rule != "tolerance":
        return ranked
    limit = tolerance_finest(n, terms.confidence)
    # The smallest lesion is a rank among the other half, whatever sets the level.
    return max(ranked, limit) if terms.min_lesion_mm3 == "normals" else limit


def finest_percent(there: int, terms: Terms) -> int:
    """Return the smallest alpha in whole percent that so many subjects can support.

    >>> [finest_percent(n, Terms()) for n in (0, 1, 10, 19)]
    [100, 50, 10, 5]
    """
    return math.ceil(100 * finest_alpha(there, terms)) if there else 100


def require_subjects(there: int, terms: Terms) -> None:
    """Refuse terms that so many subjects cannot support. Raises UsageError with what would do."""
    needed = rule_of(terms).needs(terms)
    if terms.min_lesion_mm3 == "normals":
        _require_halves(there, max(needed, subjects_needed(terms.alpha)), terms)
    elif there < needed:
        finest = finest_percent(there, terms) / 100
        softer = f"take --alpha {finest:g} or more, " if finest < 1 else ""
        raise UsageError(
            f"{terms.rule} at alpha {terms.alpha:g} needs {needed} calibration subjects, there "
            f"{'is' if there == 1 else 'are'} {there}. Add subjects, {softer}or take --rule "
            "percentile, which promises nothing for a single scan."
        )


def _require_halves(there: int, needed: int, terms: Terms) -> None:
    if there // 2 < needed:
        raise UsageError(
            "--min-lesion normals sets the level on half of the subjects and the smallest lesion "
            f"on the other half: that needs {2 * needed} subjects at alpha {terms.alpha:g}, there "
            f"{'is' if there == 1 else 'are'} {there}. Name a volume in mm3 instead."
        )


def curves_of(normals: Normals) -> list[list[Curve]]:
    """Return the curves of each subject's scans."""
    return [[scan.curve for scan in scans] for scans in normals.by_subject.values()]


def largest_of(normals: Normals, level: float) -> np.ndarray:
    """(n,) the largest place in mm3 above a level in any scan of each subject."""
    return np.array(
        [max(scan.largest_above(level) for scan in scans) for scans in normals.by_subject.values()]
    )


def statistics_of(normals: Normals, terms: Terms, least: float) -> np.ndarray:
    """(n,) each subject's level above which none of its scans has anything left that counts."""
    return np.array(
        [
            max(scan.level_without(share=terms.share, min_lesion_mm3=least) for scan in scans)
            for scans in normals.by_subject.values()
        ]
    )


def _fixed(normals: Normals) -> float:
    scan = next((scan for scan in normals.scans if not _in_unit_range(scan)), None)
    if scan is not None:
        raise UsageError(
            "--rule fixed is 0.5 on a map that is scaled to 0..1, and this model's map reaches "
            f"from {scan.curve.levels[-1]:.4g} to {scan.curve.maximum:.4g}. Take another rule."
        )
    return fixed()


def _in_unit_range(scan: NormalScan) -> bool:
    return scan.curve.levels[-1] >= 0 and scan.curve.maximum <= 1


RULES: Final = {
    "crc": Rule(
        lambda normals, terms, _: crc(curves_of(normals), alpha=terms.alpha),
        lambda terms: subjects_needed(terms.alpha),
        promises=True,
    ),
    "percentile": Rule(
        lambda normals, terms, _: percentile(curves_of(normals), alpha=terms.alpha),
        lambda _: 1,
        promises=False,
    ),
    "fwe": Rule(
        lambda normals, terms, least: fwe(statistics_of(normals, terms, least), alpha=terms.alpha),
        lambda terms: subjects_needed(terms.alpha),
        promises=True,
    ),
    "tolerance": Rule(
        lambda normals, terms, least: tolerance(
            statistics_of(normals, terms, least), alpha=terms.alpha, confidence=terms.confidence
        ),
        lambda terms: tolerance_needed(terms.alpha, terms.confidence),
        promises=True,
    ),
    "fixed": Rule(lambda normals, _, __: _fixed(normals), lambda _: 1, promises=False),
}
# Those that promise something of a healthy scan.
SCREENING: Final = tuple(name for name, rule in RULES.items() if rule.promises)
