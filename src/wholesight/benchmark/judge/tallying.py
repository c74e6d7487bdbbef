"""Count while cases stream through; memory depends on the number of cases, not on voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from wholesight.metrics.froc import Froc, on_common
from wholesight.metrics.oracle import dice_of_steps
from wholesight.metrics.pool import Pool, Pooled
from wholesight.metrics.ranking import Steps
from wholesight.metrics.registry import METRICS, metric_key
from wholesight.metrics.seen import Seen
from wholesight.metrics.tally import Finer, Sums, Tally

# Where a picture's colours begin and end, as shares of all in-body pixels of all cases.
_COLOUR_SHARES = (0.01, 0.995)


class Counted(NamedTuple):
    """What was counted over all cases.

    inside, everywhere : sums over the set, inside the body and over all pixels; their ranking is
    exact where `ranking_error` says so. thresholds, steps : of the curves inside the body, (m,).
    best_threshold : where the set's Dice is best (an oracle's). map_range : for pictures.
    """

    inside: Sums
    everywhere: Sums
    thresholds: Float[np.ndarray, " m"]
    steps: Steps
    best_threshold: float
    ranking_error: dict[str, Any]
    map_range: tuple[float, float]


class Tallying:
    """Takes one case at a time, and sums them up at the end."""

    def __init__(self) -> None:
        self._inside, self._everywhere = Pool(), Pool()
        self._subjects: list[str] = []
        self._seen: list[_Counts] = []
        self._rows: list[Mapping[str, Any]] = []

    def add(self, subject: str, inside: Seen, everywhere: Seen, row: Mapping[str, Any]) -> None:
        """Count one case. Raises ValueError when it has a map or a mask and others have none."""
        counts = _Counts.of(inside, everywhere)
        if self._seen and counts.kind != self._seen[0].kind:
            raise ValueError(f"{row['case']}: some cases have a map or a mask, others none")
        self._subjects.append(subject)
        self._seen.append(counts)
        self._rows.append(row)
        if inside.pixels.scores is not None and everywhere.pixels.scores is not None:
            self._inside.add(
                inside.pixels.scores, inside.pixels.truth, region_share=inside.region_share
            )
            self._everywhere.add(
                everywhere.pixels.scores, everywhere.pixels.truth, below=everywhere.below
            )

    def close(self) -> Counted:
        """Sum up. The object cannot be used afterwards."""
        pooled = self._inside.close() if self._seen[0].kind[0] else None
        beside = self._everywhere.close() if self._seen[0].kind[0] else None
        inside = self._tally(pooled, [seen.overlap for seen in self._seen], with_lesions=True)
        everywhere = self._tally(
            beside, [seen.overlap_everywhere for seen in self._seen], with_lesions=False
        )
        nothing = np.empty(0)
        return Counted(
            inside=inside.whole(pooled and Finer(pooled.steps, pooled.regions)),
            everywhere=everywhere.whole(beside and Finer(beside.steps, None)),
            thresholds=pooled.thresholds if pooled else nothing,
            steps=pooled.steps if pooled else Steps(nothing, nothing),
            best_threshold=_best_threshold(pooled),
            ranking_error=_ranking_error(pooled),
            map_range=_map_range(pooled),
        )

    def _tally(
        self, pooled: Pooled | None, overlap: Sequence[np.ndarray | None], *, with_lesions: bool
    ) -> Tally:
        frocs = [seen.froc for seen in self._seen if seen.froc is not None]
        common = on_common(frocs) if with_lesions and frocs else (None, None, None)
        lesions = [seen.lesions for seen in self._seen] if with_lesions else [None]
        names = [m for m, metric in METRICS.items() if metric.of_case is not None]
        return Tally(
            subjects=tuple(self._subjects),
            steps=pooled and Steps(pooled.case_lesion, pooled.case_other),
            regions=pooled.case_regions if pooled and with_lesions else None,
            overlap=_stacked(overlap),
            lesions=_stacked(lesions),
            froc_threshold=common[0],
            froc_found=common[1],
            froc_false=common[2],
            lesion_number=np.array([row["lesions"] for row in self._rows]),
            scan_score=_floats(row["scan_score"] for row in self._rows),
            cases={m: _floats(row[metric_key(m)] for row in self._rows) for m in names},
        )


class _Counts(NamedTuple):
    """What is kept of one case beside its row. kind : (has a map, has a mask)."""

    kind: tuple[bool, bool]
    overlap: Int[np.ndarray, " 4"] | None
    overlap_everywhere: Int[np.ndarray, " 4"] | None
    lesions: Int[np.ndarray, " 4"] | None
    froc: Froc | None

    @classmethod
    def of(cls, inside: Seen, everywhere: Seen) -> _Counts:
        return cls(
            kind=(inside.scores is not None, inside.mask is not None),
            overlap=inside.overlap,
            overlap_everywhere=everywhere.overlap,
            lesions=None if inside.lesions is None else np.array(inside.lesions),
            froc=inside.froc,
        )


def _stacked(counts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    there = [each for each in counts if each is not None]
    return np.stack(there) if len(there) == len(counts) else None


def _floats(figures: Any) -> Float[np.ndarray, " c"]:
    return np.array([np.nan if figure is None else figure for figure in figures], float)


def _best_threshold(pooled: Pooled | None) -> float:
    if pooled is None or not pooled.steps.lesion.sum():
        return float("inf")
    return float(pooled.thresholds[int(np.argmax(dice_of_steps(pooled.steps)))])


def _ranking_error(pooled: Pooled | None) -> dict[str, Any]:
    if pooled is None:
        return {"exact": True, "auroc": 0.0, "average_precision": 0.0}
    auroc, average_precision = pooled.error
    return {"exact": pooled.exact, "auroc": auroc, "average_precision": average_precision}


def _map_range(pooled: Pooled | None) -> tuple[float, float]:
    """Return the map values that a picture shows as dark and as bright."""
    if pooled is None:
        return 0.0, 1.0
    rising = (pooled.case_lesion + pooled.case_other).sum(axis=0)[::-1]
    if not rising.sum():
        return 0.0, 1.0
    reached = np.cumsum(rising) / rising.sum()
    low, high = np.searchsorted(reached, _COLOUR_SHARES)
    values = pooled.case_thresholds[::-1]
    return float(values[low]), float(values[min(high, values.size - 1)])
