"""What is kept of normal scans for setting thresholds: curves, largest places, scores; no voxels.

Axes: i j k file voxels, k kept ranks of a curve, s levels at which places were measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.ndimage import find_objects, generate_binary_structure, label

from wholesight.calibration.conformal import p_values
from wholesight.calibration.curve import Curve, kept_ranks
from wholesight.scan_score import scan_score

# Places are measured at this many levels, from the maximum to where this share of the body lies
# above; below that nearly all of a body is one place.
_LEVELS: Final = 64
_LARGEST_SHARE: Final = 0.5
_ROUNDING: Final = 1e-9
# Voxels that touch by a corner belong to one place, as where masks are cleaned up.
_NEIGHBOURS: Final = generate_binary_structure(3, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalScan:
    """What is kept of the normal part of one scan.

    subject : whose scan it is. site : where it was acquired. curve : of its map. largest_mm3 : (s,)
    volume of the largest connected place above each of some levels of the curve, never rounded
    down. voxel_mm3 : volume of a voxel. score : the scan's, see `scan_score`; None of a map whose
    slices share no scale. slices : how many. whole : whether no slice was left out as abnormal.
    distance : of its appearance from that of the training scans; None where that is not known.
    """

    subject: str
    site: str | None
    curve: Curve
    largest_mm3: Float32[np.ndarray, " s"]
    voxel_mm3: float
    score: float | None
    slices: int
    whole: bool
    distance: float | None = None

    @property
    def measured(self) -> Float32[np.ndarray, " s"]:
        """The falling levels of `largest_mm3`."""
        return self.curve.levels[measured_at(self.curve.voxels)]

    def largest_above(self, level: float) -> float:
        """Return the volume in mm3 of the largest place above a level, never too small.

        Between two measured levels it is that of the lower one, which holds every place above it.
        """
        at = int(np.searchsorted(-self.measured, -level, side="left"))
        if at == self.largest_mm3.size:
            return self.curve.voxels * self.voxel_mm3
        return float(self.largest_mm3[at])

    def level_without(self, *, share: float = 0.0, min_lesion_mm3: float = 0.0) -> float:
        """Return the lowest kept level above which nothing is left that counts.

        Nothing that counts: at most this share of the body, or no place as large as min_lesion_mm3.
        """
        level = self.curve.level_leaving(share)
        small = np.flatnonzero(self.largest_mm3 < min_lesion_mm3)
        return min(level, float(self.measured[small[-1]])) if small.size else level


@lru_cache(maxsize=64)
def measured_at(voxels: int) -> Int64[np.ndarray, " s"]:
    """Return at which kept ranks, counted from 0, places are measured in a body of so many voxels.

    >>> measured_at(8)
    array([0, 1, 2, 3])
    """
    ranks = np.geomspace(1, max(1, _LARGEST_SHARE * voxels), _LEVELS)
    # Some are whole numbers but for rounding, which may differ where a file is read again.
    whole = np.floor(ranks * (1 + _ROUNDING)).astype(np.int64)
    return np.unique(np.searchsorted(kept_ranks(voxels), whole))


def summarise(
    anomaly: Float[np.ndarray, "i j k"],
    normal_body: Bool[np.ndarray, "i j k"],
    *,
    subject: str,
    site: str | None,
    slices: int,
    whole: bool,
    voxel_mm3: float,
    scored: bool = True,
    distance: float | None = None,
) -> NormalScan:
    """Keep of one scan's map what thresholds are set on.

    anomaly : higher = odder. normal_body : the body in normal slices, the only voxels looked at.
    scored : False for a map whose slices share no scale. distance : see NormalScan. Raises
    ValueError without such a voxel.
    """
    values = anomaly[normal_body]
    curve = Curve.of(values)
    box = find_objects(normal_body.astype(np.int8))[0]
    low = np.where(normal_body[box], anomaly[box], -np.inf)
    levels = curve.levels[measured_at(curve.voxels)]
    return NormalScan(
        subject=subject,
        site=site,
        curve=curve,
        largest_mm3=_no_less([_largest(low > level) * voxel_mm3 for level in levels]),
        voxel_mm3=voxel_mm3,
        score=scan_score(values) if scored else None,
        slices=slices,
        whole=whole,
        distance=distance,
    )


def _largest(mask: Bool[np.ndarray, "i j k"]) -> int:
    """Return how many voxels the largest connected place has."""
    labels = np.zeros(mask.shape, np.int32)
    places = label(mask, _NEIGHBOURS, output=labels)
    # Of the mask alone: most levels leave little of a body, and counting all takes twice as long.
    return int(np.bincount(labels[mask]).max()) if places else 0


def _no_less(volumes_mm3: Sequence[float]) -> Float32[np.ndarray, " s"]:
    """Round to single precision, up.

    Rounded to the nearest, a place of 2 voxels of 0.7 mm3 would be a little less than its 1.4 mm3,
    and so would a smallest lesion that drops just such places: in a mask they would be kept.
    """
    exact = np.array(volumes_mm3, np.float64)
    nearest = exact.astype(np.float32)
    return np.where(nearest < exact, np.nextafter(nearest, np.float32(np.inf)), nearest)


class Normals:
    """The normal scans that a threshold is set on; the subject is what counts, not the scan."""

    def __init__(self, scans: Iterable[NormalScan]) -> None:
        self.scans = tuple(scans)

    @cached_property
    def by_subject(self) -> dict[str, list[NormalScan]]:
        """Each subject's scans, subjects in the order of their first scan."""
        found: dict[str, list[NormalScan]] = {}
        for scan in self.scans:
            found.setdefault(scan.subject, []).append(scan)
        return found

    @property
    def subjects(self) -> list[str]:
        """The subjects, in the order of their first scan."""
        return list(self.by_subject)

    @property
    def sites(self) -> list[str]:
        """The sites, in the order of their first scan; without the scans of no known site."""
        return list(dict.fromkeys(scan.site for scan in self.scans if scan.site is not None))

    @cached_property
    def scores(self) -> Float[np.ndarray, " n"] | None:
        """Each subject's score, that of its oddest scan; None where a scan has none."""
        return self._largest_of_each({id(scan): scan.score for scan in self.scans})

    @cached_property
    def distances(self) -> Float[np.ndarray, " n"] | None:
        """Each subject's distance from the training scans, the largest; None where one has none."""
        return self._largest_of_each({id(scan): scan.distance for scan in self.scans})

    def _largest_of_each(self, values: dict[int, float | None]) -> Float[np.ndarray, " n"] | None:
        each = [[values[id(scan)] for scan in scans] for scans in self.by_subject.values()]
        known = [[value for value in several if value is not None] for several in each]
        return np.array([max(several) for several in known]) if each == known else None

    def p_value(self, score: float | None) -> float | None:
        """Return how rare a scan's score is among them; None where there is nothing to compare."""
        scores = self.scores
        if scores is None or score is None:
            return None
        return float(p_values(scores, np.array([score]))[0])

    def of_site(self, site: str) -> Normals:
        """Return the scans of one site."""
        return Normals(scan for scan in self.scans if scan.site == site)

    def halves(self) -> tuple[Normals, Normals]:
        """Deal the subjects out in two, in turn: which half one is in depends on no score."""
        halves: tuple[list[NormalScan], list[NormalScan]] = ([], [])
        for number, scans in enumerate(self.by_subject.values()):
            halves[number % 2].extend(scans)
        return Normals(halves[0]), Normals(halves[1])

    def without(self, subject: str) -> Normals:
        """Return the scans of all other subjects."""
        return Normals(scan for scan in self.scans if scan.subject != subject)

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file. Subjects are numbered in it, not named."""
        numbers = {subject: number for number, subject in enumerate(self.by_subject)}
        sites = self.sites
        arrays = {
            "levels": _joined([scan.curve.levels for scan in self.scans]),
            "largest_mm3": _joined([scan.largest_mm3 for scan in self.scans]),
            "voxels": np.array([scan.curve.voxels for scan in self.scans], np.int64),
            "voxel_mm3": np.array([scan.voxel_mm3 for scan in self.scans], np.float64),
            "score": np.array([_or_nan(scan.score) for scan in self.scans], np.float64),
            "distance": np.array([_or_nan(scan.distance) for scan in self.scans], np.float64),
            "slices": np.array([scan.slices for scan in self.scans], np.int64),
            "whole": np.array([scan.whole for scan in self.scans], np.uint8),
            "subject": np.array([numbers[scan.subject] for scan in self.scans], np.int64),
            "site": np.array([_index(scan.site, sites) for scan in self.scans], np.int64),
            "sites": np.frombuffer(json.dumps(sites).encode(), np.uint8),
        }
        return save(arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Normals:
        """Read what `to_bytes` wrote. Raises ValueError when it is damaged."""
        try:
            arrays = load(content)
            return cls(_scans(arrays))
        except (SafetensorError, KeyError, IndexError, TypeError) as fault:
            raise ValueError(f"damaged ({fault})") from fault


def _scans(arrays: dict[str, np.ndarray]) -> list[NormalScan]:
    names: list[str] = json.loads(arrays["sites"].tobytes())
    voxels = [int(count) for count in arrays["voxels"]]
    curves = _parted(arrays["levels"], [kept_ranks(count).size for count in voxels])
    # A calibration of before distances were kept has none.
    distances = arrays.get("distance", np.full(len(voxels), np.nan))
    largest = _parted(arrays["largest_mm3"], [measured_at(count).size for count in voxels])
    return [
        NormalScan(
            subject=str(arrays["subject"][at]),
            site=None if arrays["site"][at] < 0 else names[arrays["site"][at]],
            curve=Curve(curves[at], count),
            largest_mm3=largest[at],
            voxel_mm3=float(arrays["voxel_mm3"][at]),
            score=_or_none(arrays["score"][at]),
            slices=int(arrays["slices"][at]),
            whole=bool(arrays["whole"][at]),
            distance=_or_none(distances[at]),
        )
        for at, count in enumerate(voxels)
    ]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _parted(joined: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    if joined.size != sum(sizes):
        raise ValueError(f"damaged ({joined.size} values where {sum(sizes)} belong)")
    return np.split(joined, np.cumsum(sizes)[:-1]) if sizes else []


def _or_nan(score: float | None) -> float:
    return float("nan") if score is None else score


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _index(site: str | None, sites: Sequence[str]) -> int:
    return -1 if site is None else sites.index(site)
