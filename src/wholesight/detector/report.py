"""What `wholesight calibrate` has to say of a calibration, as plain data, a group for each site."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wholesight.calibration import NO_PROMISE, SCREENING, Normals, Terms, Threshold
from wholesight.calibration.fwe import fwe_rank
from wholesight.calibration.odd import Odd, sticking_out
from wholesight.calibration.realised import Realised, leave_one_out
from wholesight.calibration.spread import beta_spread, mean_spread
from wholesight.calibration.tolerance import tolerance_rank
from wholesight.calibration.typical import limit_of
from wholesight.detector.cost import Cost, silent
from wholesight.detector.detector import Detector
from wholesight.detector.folder import THRESHOLD


class Group(NamedTuple):
    """One threshold and what is known of it.

    spread : (low, high), the 5 and 95 % quantile over calibration sets of the true rate that the
    rule is about; None where none follows. realised : on each subject, with the others' threshold.
    odd : subjects that stick out. unlike : those whose scans are unlike the training's. costs :
    what is found of made-up lesions, or None.
    """

    threshold: Threshold
    spread: tuple[float, float] | None
    realised: Realised
    odd: list[Odd]
    unlike: list[str]
    costs: Sequence[Cost] | None

    @property
    def is_silent(self) -> bool | None:
        """Whether even the plainest made-up lesions are hardly ever found; None: not known."""
        return None if self.costs is None else silent(self.costs)


class Before(NamedTuple):
    """A threshold that was there before. site : None where it was not by site."""

    site: str | None
    rule: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is said of a calibration.

    groups : {site: group}, the site None where thresholds are not by site. replaced : what was
    there before. left_out : scans without a normal slice.
    """

    terms: Terms
    groups: Mapping[str | None, Group]
    replaced: Sequence[Before]
    left_out: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is not known (NaN) is null."""
        told = {
            "terms": asdict(self.terms),
            "by": None if None in self.groups else "site",
            "groups": {site or "all": _plain(group) for site, group in self.groups.items()},
            "replaced": [before._asdict() for before in self.replaced],
            "without_a_normal_slice": list(self.left_out),
        }
        return _without_nan(told)


def report_of(
    detector: Detector,
    terms: Terms,
    *,
    costs: Mapping[str | None, Sequence[Cost]] | None,
    replaced: Sequence[Before] = (),
    left_out: Sequence[str] = (),
) -> Report:
    """Gather what there is to say of a detector that `with_normals` has just given thresholds.

    costs : {site: costs}, the site None where thresholds are not by site.
    """
    groups = {
        site: _group(detector.at_site(site), terms, costs[site] if costs else None)
        for site in detector.by_site or [None]
    }
    return Report(terms=terms, groups=groups, replaced=replaced, left_out=left_out)


def thresholds_before(folder: Path) -> list[Before]:
    """Return the thresholds of a model folder, of any version; empty when there is none to read."""
    try:
        content = json.loads((folder / THRESHOLD).read_bytes())
        if "thresholds" not in content:
            return [Before(None, str(content["rule"]), float(content["value"]))]
        by_site = content.get("by") == "site"
        return [
            Before(site if by_site else None, str(each["rule"]), float(each["value"]))
            for site, each in content["thresholds"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def expected_spread(
    normals: Normals, terms: Terms, threshold: Threshold, realised: Realised
) -> tuple[float, float] | None:
    """Return how far one calibration set's true rate may be from the mean over all of them.

    Of fwe and tolerance the rate of scans that show anything, of crc and percentile the mean share
    of the body above the threshold, after what each subject shows at the others' threshold. None of
    a fixed level, where no promise holds, and for a share that nobody was left out for: shares of
    the subjects that set the level themselves would be too low.
    """
    void = terms.rule in SCREENING and threshold.guarantee == NO_PROMISE
    if terms.rule == "fixed" or void:
        return None
    # Where the smallest lesion is of the normals, half of them have set the level.
    used = normals.halves()[0] if terms.min_lesion_mm3 == "normals" else normals
    n = len(used.by_subject)
    if terms.rule == "fwe":
        return beta_spread(n, fwe_rank(n, terms.alpha))
    if terms.rule == "tolerance":
        return beta_spread(n, tolerance_rank(n, terms.alpha, terms.confidence))
    return mean_spread(realised.shares, n) if realised.shares.size else None


def _group(detector: Detector, terms: Terms, costs: Sequence[Cost] | None) -> Group:
    normals, threshold = detector.normals, detector.calibrated_threshold
    if normals is None:
        raise ValueError("the detector has no normals to report on")
    least = detector.recipe.cleanup.min_lesion_mm3
    realised = leave_one_out(normals, terms, threshold, least)
    return Group(
        threshold=threshold,
        spread=expected_spread(normals, terms, threshold, realised),
        realised=realised,
        odd=sticking_out(normals),
        unlike=_unlike(normals),
        costs=costs,
    )


def _unlike(normals: Normals) -> list[str]:
    """Return the subjects that `segment` would mark qc: fail."""
    distances = normals.distances
    if distances is None:
        return []
    far = distances > limit_of(distances)
    return [subject for subject, is_far in zip(normals.subjects, far, strict=True) if is_far]


def _plain(group: Group) -> dict[str, Any]:
    return {
        "threshold": group.threshold.to_json(),
        "spread": group.spread,
        "realised": group.realised.to_json(),
        "sticking_out": [odd._asdict() for odd in group.odd],
        "unlike_training": group.unlike,
        "cost": None if group.costs is None else [cost._asdict() for cost in group.costs],
        "silent": group.is_silent,
    }


def _without_nan(value: Any) -> Any:
    """Return plain data with null for what is no number."""
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
