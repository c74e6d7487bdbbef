"""What a threshold flags in normal subjects that it has not seen: each judged by the others.

Axes: n judged subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from wholesight.calibration.choose import (
    curves_of,
    dropping_up_to,
    largest_of,
    rule_of,
    statistics_of,
)
from wholesight.calibration.conformal import subjects_needed
from wholesight.calibration.crc import crc_budget, pooled_by_subject
from wholesight.calibration.fwe import fwe_rank
from wholesight.calibration.normals import Normals, NormalScan
from wholesight.calibration.percentile import pooled_by_voxel
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import Threshold
from wholesight.calibration.tolerance import tolerance_rank

# A share is a quotient of whole numbers; this little above another is rounding.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Realised:
    """False positives in normal subjects, each at the threshold that the others set.

    shares : (n,) of each judged subject's body above the level, a mean over its scans, at most 1 %
    of itself too high. Places too small to be kept count here, too. flagged : (n,) whether anything
    is flagged in any of its scans that counts, for `fwe` and `tolerance` as they count.
    reason : why nobody is judged, a sentence; else None.
    """

    shares: Float[np.ndarray, " n"]
    flagged: Bool[np.ndarray, " n"]
    reason: str | None = None

    @property
    def mean_share(self) -> float | None:
        """What `crc` promises about: the mean share of the body above the level."""
        return float(self.shares.mean()) if self.shares.size else None

    @property
    def flagged_rate(self) -> float | None:
        """What `fwe` and `tolerance` promise about: the share of subjects with something."""
        return float(self.flagged.mean()) if self.flagged.size else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: how many subjects were judged, and the means over them."""
        return {
            "subjects": self.shares.size,
            "mean_share": self.mean_share,
            "flagged_rate": self.flagged_rate,
            "reason": self.reason,
        }


def leave_one_out(
    normals: Normals, terms: Terms, threshold: Threshold, min_lesion_mm3: float
) -> Realised:
    """Judge each subject by the threshold that the same terms set on all other subjects.

    The result describes these normals; it is no promise, and its subjects are not independent of
    each other. Where half of the subjects set the level and the other half the smallest lesion,
    those of the other half are judged: none of them has set the level, and each is left out where
    the smallest lesion is set. A fixed level is nobody's, and all are judged by it.

    normals, terms : what `threshold` was set on. min_lesion_mm3 : the recipe's; taken where the
    terms name none. Where the others are too few for the terms, nobody is judged, and `reason` says
    so.
    """
    judged = normals.halves()[1] if terms.min_lesion_mm3 == "normals" else normals
    reason = _too_few(len(judged.by_subject), terms)
    if reason:
        return Realised(shares=np.empty(0), flagged=np.empty(0, bool), reason=reason)
    levels, lesions = _without_each(judged, terms, threshold, min_lesion_mm3)
    groups = judged.by_subject.values()
    shares = [_share(scans, level) for scans, level in zip(groups, levels, strict=True)]
    flagged = [_counts(*each, terms.share) for each in zip(groups, levels, lesions, strict=True)]
    return Realised(shares=np.array(shares), flagged=np.array(flagged, bool))


def ranked_without_each(statistics: Float[np.ndarray, " n"], rank: int) -> np.ndarray:
    """Return, for each of n statistics, the rank-th smallest (from 1) of the n - 1 others.

    >>> ranked_without_each(np.array([3.0, 1.0, 2.0]), 1)
    array([1., 2., 1.])
    """
    rising = np.sort(statistics)
    # Without one of the first `rank`, the next one moves up into its place.
    return np.where(statistics <= rising[rank - 1], rising[rank], rising[rank - 1])


def _too_few(judged: int, terms: Terms) -> str | None:
    """Say why nobody can be left out, where nobody can."""
    of_lesion = terms.min_lesion_mm3 == "normals"
    needed = subjects_needed(terms.alpha) if of_lesion else rule_of(terms).needs(terms)
    if judged - 1 >= needed or (terms.rule == "fixed" and not of_lesion):
        return None
    what = "a smallest lesion of the normals" if of_lesion else terms.rule
    half = "the other half of the " if of_lesion else ""
    return (
        f"{what} at alpha {terms.alpha:g} needs {needed} subjects, and with each left out in turn "
        f"{needed + 1}; {half}calibration subjects are {judged}."
    )


def _without_each(
    judged: Normals, terms: Terms, threshold: Threshold, min_lesion_mm3: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the level and the smallest lesion that the others set, for each judged subject."""
    asked, n = terms.min_lesion_mm3, len(judged.by_subject)
    least = float(asked if isinstance(asked, float | int) else min_lesion_mm3)
    if asked == "normals" or terms.level is not None:
        largest = largest_of(judged, threshold.value)
        bounds = ranked_without_each(largest, fwe_rank(n - 1, terms.alpha))
        return np.full(n, threshold.value), np.maximum(least, dropping_up_to(bounds))
    if terms.rule == "fixed":
        return np.full(n, threshold.value), np.full(n, least)
    return _LEVELS[terms.rule](judged, terms, least), np.full(n, least)


def _share(scans: list[NormalScan], level: float) -> float:
    return float(np.mean([scan.curve.share_above(level) for scan in scans]))


def _counts(scans: list[NormalScan], level: float, lesion_mm3: float, share: float) -> bool:
    """Return whether more of a scan than may lie above the level does, in a place large enough."""
    return any(
        scan.curve.share_above(level) > share + _ROUNDING
        and scan.largest_above(level) >= lesion_mm3
        for scan in scans
    )


def _crc(judged: Normals, terms: Terms, _: float) -> np.ndarray:
    n = len(judged.by_subject)
    pooled = pooled_by_subject(curves_of(judged))
    return pooled.levels_without_each(np.full(n, crc_budget(n - 1, terms.alpha)))


def _percentile(judged: Normals, terms: Terms, _: float) -> np.ndarray:
    curves = curves_of(judged)
    voxels = np.array([sum(curve.voxels for curve in several) for several in curves])
    return pooled_by_voxel(curves).levels_without_each(terms.alpha * (voxels.sum() - voxels))


def _fwe(judged: Normals, terms: Terms, least: float) -> np.ndarray:
    rank = fwe_rank(len(judged.by_subject) - 1, terms.alpha)
    return ranked_without_each(statistics_of(judged, terms, least), rank)


def _tolerance(judged: Normals, terms: Terms, least: float) -> np.ndarray:
    rank = tolerance_rank(len(judged.by_subject) - 1, terms.alpha, terms.confidence)
    return ranked_without_each(statistics_of(judged, terms, least), rank)


# The level that all others set, for each subject: of the rules whose level the subjects set.
_LEVELS: Final[dict[str, Callable[[Normals, Terms, float], np.ndarray]]] = {
    "crc": _crc,
    "percentile": _percentile,
    "fwe": _fwe,
    "tolerance": _tolerance,
}
