"""One head of a stress cohort, in memory, and its copies with lesions of any size and contrast.

Axes: i j k voxels.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wholesight.datasets.phantom.atlas import load_atlas
from wholesight.datasets.phantom.compose import DEFAULT_GRID, PhantomHead, head_facts
from wholesight.datasets.phantom.field import Grid
from wholesight.datasets.phantom.flair import Scanner, draw_scanner, flair_signal, scan
from wholesight.datasets.phantom.graded import (
    GradedLesion,
    add_graded,
    draw_graded,
    graded_weight,
)
from wholesight.datasets.phantom.head import Tissue, draw_head, tissue_of


class StressHead(NamedTuple):
    """The head of one repeat: everything that its cases share.

    signal : without a lesion. noise : its random stream, the same for each case.
    """

    tissue: Tissue
    signal: Float[np.ndarray, "i j k"]
    scanner: Scanner
    noise: np.random.Generator
    lesion: GradedLesion
    grid: Grid
    facts: dict[str, Any]

    def weight(self, volume_ml: float) -> Float[np.ndarray, "i j k"]:
        """Return what share of the contrast each voxel takes, for a lesion of this volume."""
        return graded_weight(self.lesion, self.tissue, self.grid, volume_ml)

    def with_lesion(self, weight: Float[np.ndarray, "i j k"], contrast: float) -> PhantomHead:
        """Image the head with a lesion. `abnormal` is where the weight is above 0."""
        signal = add_graded(self.signal, weight, contrast)
        # a copy, because drawing the noise uses the stream up
        image = scan(signal, self.scanner, self.grid, copy.deepcopy(self.noise))
        abnormal = weight > 0
        realised_ml = round(float(abnormal.sum()) * self.grid.voxel_ml, 3)
        return PhantomHead(image, abnormal, {**self.facts, "realised_ml": realised_ml})


def stress_head(rng: np.random.Generator, grid: Grid = DEFAULT_GRID) -> StressHead:
    """Draw one head and the place of its lesions: `phantom_head` of the same generator, healthy."""
    for_head, for_scanner, for_noise, for_lesion = rng.spawn(4)
    atlas = load_atlas()
    head, scanner = draw_head(for_head), draw_scanner(for_scanner)
    tissue = tissue_of(head, atlas, grid)
    # on one grid always: the place is drawn among voxels, and must not change with their size
    placing = tissue if grid == DEFAULT_GRID else tissue_of(head, atlas, DEFAULT_GRID)
    lesion = draw_graded(for_lesion, placing, DEFAULT_GRID)
    facts = head_facts(head, tissue, grid)
    facts["centre_mm"] = [round(float(x), 1) for x in lesion.centre_mm]
    signal = flair_signal(tissue, scanner, grid)
    return StressHead(tissue, signal, scanner, for_noise, lesion, grid, facts)
