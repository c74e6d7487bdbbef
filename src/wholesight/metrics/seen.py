"""One case as a metric sees it; what several metrics need is worked out once.

Axes: i j k as in the file; n in-body pixels; m thresholds from the strictest down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from wholesight.metrics.body import Pixels, pixels_inside
from wholesight.metrics.froc import Froc, froc
from wholesight.metrics.lesion import LesionCounts, components, lesion_counts
from wholesight.metrics.overlap import counts_of
from wholesight.metrics.pro import region_shares, region_steps
from wholesight.metrics.ranking import Steps, steps_of
from wholesight.scan_score import scan_score


@dataclass(frozen=True)
class Seen:
    """One case: maps and masks on one grid, and where in it is judged.

    scores : (i, j, k) higher = odder, or None for a method that gives masks alone. truth : lesion.
    inside : the voxels that are judged. mask : flagged, or None without a threshold.
    spacing_mm : along i, j and k. below : (lesion, other) numbers of pixels outside `inside` that
    are judged too, and rank under every other pixel (air).
    """

    scores: Float[np.ndarray, "i j k"] | None
    truth: Bool[np.ndarray, "i j k"]
    inside: Bool[np.ndarray, "i j k"]
    mask: Bool[np.ndarray, "i j k"] | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    below: tuple[int, int] = (0, 0)

    @cached_property
    def pixels(self) -> Pixels:
        """The judged pixels. Raises ValueError when shapes differ or a score is not finite."""
        return pixels_inside(self.inside, scores=self.scores, truth=self.truth, mask=self.mask)

    @cached_property
    def steps(self) -> Steps | None:
        """What each fall of the threshold newly flags; None without scores."""
        return None if self._ladder is None else below_all(self._ladder[1], self.below)

    @cached_property
    def region_steps(self) -> Float[np.ndarray, " m"] | None:
        """(m,) as `steps`, of lesion pixels that weigh 1 / size of their region."""
        if self._ladder is None or self.pixels.scores is None:
            return None
        thresholds, _ = self._ladder
        lesion_scores = self.pixels.scores[self.pixels.truth]
        return region_steps(thresholds, lesion_scores, self.region_share)

    @cached_property
    def _ladder(self) -> tuple[Float[np.ndarray, " m"], Steps] | None:
        if self.pixels.scores is None:
            return None
        return steps_of(self.pixels.scores, self.pixels.truth)

    @cached_property
    def overlap(self) -> Int[np.ndarray, " 4"] | None:
        """True flags, false flags, missed and rest; None without a mask. Air is never flagged."""
        if self.pixels.mask is None:
            return None
        return counts_of(self.pixels.mask, self.pixels.truth) + np.array([0, 0, *self.below])

    @cached_property
    def lesion(self) -> Bool[np.ndarray, "i j k"]:
        """The lesion within the judged body."""
        return self.truth & self.inside

    @cached_property
    def flagged(self) -> Bool[np.ndarray, "i j k"] | None:
        """What is flagged within the judged body; None without a mask."""
        return None if self.mask is None else self.mask & self.inside

    @cached_property
    def lesions(self) -> LesionCounts | None:
        """How many lesions, found ones, flagged components and true ones; None without a mask."""
        return (
            None if self.flagged is None else lesion_counts(self.flagged, self.lesion, self.inside)
        )

    @cached_property
    def regions(self) -> tuple[Int[np.ndarray, "i j k"], int]:
        """The lesion's connected regions, numbered from 1, and their number."""
        return components(self.lesion)

    @cached_property
    def region_share(self) -> Float[np.ndarray, " l"]:
        """Of each lesion pixel, in the order of `pixels`: 1 / size of its region."""
        return region_shares(self.regions[0][self.lesion])

    @cached_property
    def froc(self) -> Froc | None:
        """Lesions found and false ones at levels of the case's own; None without scores."""
        return None if self.scores is None else froc(self.scores, self.truth, self.inside)

    @cached_property
    def score(self) -> float:
        """The scan's own score: the mean of its oddest pixels; NaN without scores or pixels."""
        return float("nan") if self.pixels.scores is None else scan_score(self.pixels.scores)


def below_all(steps: Steps, below: tuple[int, int]) -> Steps:
    """Add (lesion, other) pixels that are flagged last of all."""
    if not any(below):
        return steps
    return Steps(np.append(steps.lesion, below[0]), np.append(steps.other, below[1]))
