"""What `promises.py` measures, once the network has looked at every scan.

Axes: i j k file voxels; d deals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from wholesight.calibration import Normals, NormalScan, Terms, p_values
from wholesight.calibration.choose import level_of
from wholesight.calibration.conformal import subjects_needed
from wholesight.calibration.curve import Curve
from wholesight.calibration.tolerance import tolerance_needed
from wholesight.cleanup import Cleanup
from wholesight.metrics.lesion import lesion_counts
from wholesight.metrics.overlap import counts_of, dice_of, sensitivity_of

CONFIDENCE: Final = 0.95
TO_CALIBRATE: Final = 20
SEED: Final = 0


class Asked(NamedTuple):
    """A rule, or p-values of scans. share, min_lesion_mm3 : of its terms; None is the recipe's."""

    rule: str
    share: float = 0.0
    min_lesion_mm3: float | None = None

    @property
    def title(self) -> str:
        """The rule as the command line has it."""
        least = self.min_lesion_mm3
        options = [f" --share {self.share:g}"] if self.share else []
        options += [] if least is None else [f" --min-lesion {least:g}"]
        return "".join([self.rule, *options])

    @property
    def is_share(self) -> bool:
        """Whether it speaks of the flagged share of a body, not of scans with anything flagged."""
        return self.rule in ("percentile", "crc")

    def terms(self, alpha: float) -> Terms:
        """Return its terms at one level."""
        return Terms(
            rule=self.rule,
            alpha=alpha,
            confidence=CONFIDENCE,
            share=self.share,
            min_lesion_mm3=self.min_lesion_mm3,
        )

    def refusal(self, alpha: float, n: int) -> str:
        """Return why there is no threshold on n subjects, in a few words; empty where there is."""
        if self.rule == "percentile":
            return ""
        by_wilks = self.rule == "tolerance"
        needed = tolerance_needed(alpha, CONFIDENCE) if by_wilks else subjects_needed(alpha)
        return f"refused: needs n >= {needed}, there are {n}" if n < needed else ""


P_VALUE: Final = Asked("p-value")


class Voxels(NamedTuple):
    """A validation scan's map with its masks, all (i, j, k), and the volume of a voxel."""

    anomaly: np.ndarray
    body: np.ndarray
    normal_body: np.ndarray
    inside: np.ndarray
    truth: np.ndarray
    voxel_mm3: float


class Looked(NamedTuple):
    """One subject after the network's one look at its scan.

    normal : summary of the normal slices, None when every slice has lesion. lesion : the map in the
    lesion, within the judged body. score : of the whole scan. voxels : of validation subjects.
    """

    subject: str
    normal: NormalScan | None
    lesion: Curve
    score: float
    voxels: Voxels | None


class Cost(NamedTuple):
    """What is found: share of lesion voxels, Dice over the set, share of lesions or of scans."""

    flagged: float
    dice: float
    found: float


class Row(NamedTuple):
    """On the given split: what came of the promise in each subject (0 to 1), and the cost."""

    realised: np.ndarray
    cost: Cost


class Dealt(NamedTuple):
    """Over many deals: realised (d,), flagged share of a lesion, or of scans called (d,)."""

    realised: np.ndarray
    flagged: np.ndarray


def normals_of(looked: Iterable[Looked]) -> Normals:
    """Return the summaries of those that have a normal slice."""
    return Normals(each.normal for each in looked if each.normal is not None)


def on_the_split(
    asked: Asked, alpha: float, cleanup: Cleanup, known: Normals, new: Sequence[Looked]
) -> Row:
    """Set a threshold on the calibration subjects, and judge it on the validation subjects."""
    if asked == P_VALUE:
        return _by_score(alpha, known, new)
    value, least = level_of(known, asked.terms(alpha), cleanup.min_lesion_mm3)
    cleanup = cleanup.dropping_below(least)
    realised, counts, lesions = [], np.zeros(4, int), np.zeros(4, int)
    for each in new:
        seen = each.voxels
        assert seen is not None
        if seen.normal_body.any():
            # As at calibration: what lies in the slices left out is no part of the normal scan.
            part = _masked(cleanup, seen, seen.normal_body, value)[seen.normal_body].mean()
            realised.append(part if asked.is_share else float(part > asked.share))
        mask = _masked(cleanup, seen, seen.body, value) & seen.inside
        counts += counts_of(mask[seen.inside], seen.truth[seen.inside])
        lesions += lesion_counts(mask, seen.truth & seen.inside, seen.inside)
    found = float(lesions[1] / lesions[0])
    return Row(
        np.array(realised), Cost(float(sensitivity_of(counts)), float(dice_of(counts)), found)
    )


def dealt_anew(
    asked: Asked, alpha: float, min_lesion_mm3: float, looked: Sequence[Looked], deals: int
) -> Dealt:
    """Deal the subjects out again and again; the same deals for every rule, level and method."""
    rng = np.random.default_rng(SEED)
    results = []
    for _ in range(deals):
        order = rng.permutation(len(looked))
        known, new = ([looked[at] for at in part] for part in np.split(order, [TO_CALIBRATE]))
        results.append(tried(asked, alpha, min_lesion_mm3, known, new))
    realised, flagged = np.array(results).T
    return Dealt(realised, flagged)


def tried(
    asked: Asked,
    alpha: float,
    min_lesion_mm3: float,
    known: Sequence[Looked],
    new: Sequence[Looked],
) -> tuple[float, float]:
    """Return what is realised in `new`, all with a normal slice, and what of a lesion is flagged.

    From summaries. The flagged share of a lesion is that above the level, small places and all, in
    the mean over subjects; for p-values it is the share of whole scans that are called.
    """
    normals, others = normals_of(known), normals_of(new)
    if asked == P_VALUE:
        whole = np.array([each.score for each in new])
        wrong, found = (_called(normals, scores, alpha) for scores in (others.scores, whole))
        return float(wrong.mean()), float(found.mean())
    value, least = level_of(normals, asked.terms(alpha), min_lesion_mm3)
    realised = [_wrong(scan, asked, value, least) for scan in others.scans]
    flagged = [each.lesion.share_above(value) for each in new]
    return float(np.mean(realised)), float(np.mean(flagged))


def by_chance(alpha: float) -> float:
    """Return the mean that fwe and p-values have over all deals: floor(alpha (n + 1)) / (n + 1).

    The new subject's rank among n + 1 is as likely to be any; ties lower it.
    """
    return int(alpha * (TO_CALIBRATE + 1) + 1e-9) / (TO_CALIBRATE + 1)


def institution(subject: str) -> str:
    """Return the code of the institution that a TCGA barcode names.

    >>> institution("TCGA_CS_4941_19960909")
    'CS'
    """
    return subject.split("_")[1]


def without_each(
    asked: Asked, alpha: float, min_lesion_mm3: float, looked: Sequence[Looked]
) -> dict[str, float]:
    """Calibrate without an institution and try it there; returns {institution: realised}."""
    found = {}
    for place in sorted({institution(each.subject) for each in looked}):
        new = [each for each in looked if institution(each.subject) == place]
        known = [each for each in looked if institution(each.subject) != place]
        found[place] = tried(asked, alpha, min_lesion_mm3, known, new)[0]
    return found


def _masked(cleanup: Cleanup, seen: Voxels, body: np.ndarray, value: float) -> np.ndarray:
    """Return the mask (i, j, k) within a body."""
    return cleanup(seen.anomaly, body, threshold=value, voxel_mm3=seen.voxel_mm3)


def _by_score(alpha: float, known: Normals, new: Sequence[Looked]) -> Row:
    """Judge p-values: which normal parts, and how many whole scans, are called abnormal."""
    whole = np.array([each.score for each in new])
    found = float(_called(known, whole, alpha).mean())
    realised = _called(known, normals_of(new).scores, alpha).astype(float)
    return Row(realised, Cost(np.nan, np.nan, found))


def _called(known: Normals, scores: np.ndarray | None, alpha: float) -> np.ndarray:
    """Return which p-values are alpha or less, with a hair of room for their rounding."""
    if known.scores is None or scores is None:
        raise ValueError("these maps have no score for a scan")
    return p_values(known.scores, scores) <= alpha + 1e-12


def _wrong(scan: NormalScan, asked: Asked, value: float, least: float) -> float:
    """Return what a rule counts in a normal scan: a share of the body, or whether anything."""
    share = scan.curve.share_above(value)
    if asked.is_share:
        return share
    return float(share > asked.share and scan.largest_above(value) >= least)
