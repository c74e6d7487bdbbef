"""Counts of cases that add up, so that a set, a part of it and a resampled one cost the same.

Every figure of a set is a function of sums over its cases: pixels by score, flagged and missed
pixels, lesions found. A bootstrap over subjects then draws sums, never pixels.

Axes: c cases; r sets, each with its own weight for every case; b score bins, the strictest first;
p thresholds of the FROC curve; u distinct scan scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from wholesight.metrics.overlap import share
from wholesight.metrics.ranking import Steps


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a method counted in each of c cases, inside the body.

    Attributes
    ----------
    subjects : whose case it is; several cases may share a subject.
    steps : (c, b) lesion and other pixels by score, on bins that all cases share; None for a
        method that gives masks alone, as are the other fields that need scores.
    regions : (c, b) lesion pixels by score, each with the weight 1 / size of its region.
    overlap : (c, 4) true flags, false flags, missed, rest; None without a threshold, as is
        `lesions`.
    lesions : (c, 4) lesions, found ones, flagged components, true ones.
    froc_threshold, froc_found, froc_false : (p,), (c, p) at thresholds that all cases share.
    lesion_number : (c,) lesions in the judged body.
    scan_score : (c,) how odd each scan is as a whole.
    cases : {metric: (c,)} the figure of every case alone, NaN where undefined.
    """

    subjects: tuple[str, ...]
    steps: Steps | None
    regions: Float[np.ndarray, "c b"] | None
    overlap: Int[np.ndarray, "c 4"] | None
    lesions: Int[np.ndarray, "c 4"] | None
    froc_threshold: Float[np.ndarray, " p"] | None
    froc_found: Int[np.ndarray, "c p"] | None
    froc_false: Int[np.ndarray, "c p"] | None
    lesion_number: Int[np.ndarray, " c"]
    scan_score: Float[np.ndarray, " c"]
    cases: Mapping[str, Float[np.ndarray, " c"]]

    def sums(self, weights: Float[np.ndarray, "r c"]) -> Sums:
        """Add the cases up, each as often as `weights` says."""
        return Sums(self, weights.astype(float))

    def whole(self, finer: Finer | None = None) -> Sums:
        """Add all cases up once, with what `finer` knows in place of the common bins."""
        return Sums(self, np.ones((1, len(self.subjects))), finer)

    @cached_property
    def region_flags(self) -> Float[np.ndarray, "c b"] | None:
        """(c, b) running sums of `regions`."""
        return None if self.regions is None else np.cumsum(self.regions, axis=-1, dtype=float)

    @cached_property
    def scan_steps(self) -> Steps:
        """(c, u) scans with a lesion and others by the score of the scan."""
        falling = -np.unique(-self.scan_score)
        at = self.scan_score[:, None] == falling
        ill = (self.lesion_number > 0)[:, None]
        return Steps((at & ill).astype(float), (at & ~ill).astype(float))


class Finer(NamedTuple):
    """All cases of a tally together, by score, on more thresholds than its common bins.

    steps : (m,) lesion and other pixels. regions : (m,) as the tally's, or None.
    """

    steps: Steps
    regions: Float[np.ndarray, " m"] | None


@dataclass(frozen=True)
class Sums:
    """The sums that figures of r sets are made of; None where the method has no such thing."""

    tally: Tally
    weights: Float[np.ndarray, "r c"]
    finer: Finer | None = None

    @cached_property
    def steps(self) -> Steps | None:
        """(r, b) lesion and other pixels by score."""
        if self.finer is not None:
            return Steps(self.finer.steps.lesion[None], self.finer.steps.other[None])
        found = self.tally.steps
        return found and found.weighted(self.weights)

    @cached_property
    def regions(self) -> Float[np.ndarray, "r b"] | None:
        """(r, b) region shares flagged at each threshold, so that every region counts the same."""
        if self.finer is not None and self.finer.regions is not None:
            return np.cumsum(self.finer.regions)[None]
        return self._sum(self.tally.region_flags)

    @cached_property
    def overlap(self) -> Float[np.ndarray, "r 4"] | None:
        """(r, 4) true flags, false flags, missed, rest."""
        return self._sum(self.tally.overlap)

    @cached_property
    def lesions(self) -> Float[np.ndarray, "r 4"] | None:
        """(r, 4) lesions, found ones, flagged components, true ones."""
        return self._sum(self.tally.lesions)

    @cached_property
    def froc(self) -> tuple[Float[np.ndarray, "r p"], Float[np.ndarray, "r p"]] | None:
        """(r, p) found lesions and false ones at each threshold."""
        found, false = self._sum(self.tally.froc_found), self._sum(self.tally.froc_false)
        return None if found is None or false is None else (found, false)

    @cached_property
    def lesion_number(self) -> Float[np.ndarray, " r"]:
        """Lesions in the judged bodies."""
        return self.weights @ self.tally.lesion_number

    @cached_property
    def scans(self) -> Float[np.ndarray, " r"]:
        """Number of cases."""
        return self.weights.sum(axis=1)

    @cached_property
    def scan_steps(self) -> Steps:
        """(r, u) scans with a lesion and others by the score of the scan."""
        return self.tally.scan_steps.weighted(self.weights)

    def mean(self, metric: str) -> Float[np.ndarray, " r"]:
        """Mean of a metric over the cases where it is defined; NaN where it is in none."""
        figures = self.tally.cases[metric]
        defined = np.isfinite(figures)
        return share(self.weights @ np.where(defined, figures, 0.0), self.weights @ defined)

    def _sum(self, counts: np.ndarray | None) -> np.ndarray | None:
        return None if counts is None else self.weights @ counts
