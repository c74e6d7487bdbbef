"""One head of the phantom, in memory: drawn, imaged, with or without a lesion.

Axes: i j k voxels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int16

from wholesight.datasets.phantom.atlas import load_atlas
from wholesight.datasets.phantom.field import Grid
from wholesight.datasets.phantom.flair import draw_scanner, flair_signal, scan
from wholesight.datasets.phantom.head import Head, Tissue, draw_head, tissue_of
from wholesight.datasets.phantom.lesion import add_lesion, draw_lesion

# As thick as clinical FLAIR, in plane as fine as a CPU trains on in minutes.
DEFAULT_GRID = Grid((2.0, 2.0, 6.0))


class PhantomHead(NamedTuple):
    """A scan and its truth.

    image : 0 outside the brain, at least 1 inside. abnormal : the lesion. facts : what was drawn.
    """

    image: Int16[np.ndarray, "i j k"]
    abnormal: Bool[np.ndarray, "i j k"]
    facts: dict[str, Any]


def phantom_head(
    rng: np.random.Generator, *, lesion: bool, grid: Grid = DEFAULT_GRID
) -> PhantomHead:
    """Make one head. A generator of the same seed without a lesion gives the same head, healthy.

    >>> head = phantom_head(np.random.default_rng(0), lesion=False, grid=Grid((6.0, 6.0, 12.0)))
    >>> head.image.shape, bool(head.abnormal.any())
    ((32, 37, 12), False)
    """
    # one stream for each part, so that a draw in one does not shift the others
    for_head, for_scanner, for_noise, for_lesion = rng.spawn(4)
    atlas = load_atlas()
    head, scanner = draw_head(for_head), draw_scanner(for_scanner)
    tissue = tissue_of(head, atlas, grid)
    facts = head_facts(head, tissue, grid)
    if not lesion:
        image = scan(flair_signal(tissue, scanner, grid), scanner, grid, for_noise)
        return PhantomHead(image, np.zeros(grid.shape, bool), facts)

    # on one grid always: its place is drawn among voxels, and must not change with their size
    placing = tissue if grid == DEFAULT_GRID else tissue_of(head, atlas, DEFAULT_GRID)
    drawn = draw_lesion(for_lesion, placing, DEFAULT_GRID)
    if drawn.push_mm > 0:
        tissue = tissue_of(head, atlas, grid, drawn.push)
    signal, abnormal = add_lesion(flair_signal(tissue, scanner, grid), drawn, tissue, grid)
    volume_ml = round(float(abnormal.sum()) * grid.voxel_ml, 3)
    facts["lesion"] = {"volume_ml": volume_ml, **drawn.facts()}
    return PhantomHead(scan(signal, scanner, grid, for_noise), abnormal, facts)


def head_facts(head: Head, tissue: Tissue, grid: Grid) -> dict[str, Any]:
    """Return what of a head is worth a line in the cohort's record."""
    return {
        "brain_ml": round(float(tissue.brain.sum()) * grid.voxel_ml, 1),
        "ventricle_mm": round(head.ventricle_mm, 2),
    }
