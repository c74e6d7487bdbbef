"""How well skull stripping finds the brain: six heads with their skull, and twenty stripped brains.

    python benchmarks/skull_strip.py

Data: `lgg-flair` in the folder that WHOLESIGHT_DATA names, else in `../shared/data`. The heads are
compared with the brains that the data set's own automatic stripping found; of one case it is wrong
(it keeps the orbits and cuts the cortex off), so five of six is what can be reached. The stripped
brains are to come back as they are.

Exit codes: 0 all well, 1 fewer than five heads or not all brains reach the Dice goal, 3 no data.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgg import lgg_folder
from wholesight.io import reading
from wholesight.metrics.overlap import dice
from wholesight.prep.body import Nonzero, SkullStrip
from wholesight.prep.orient import canonical
from wholesight.volume import Volume

GOAL = 0.95
HEADS_NEEDED = 5


class Row(NamedTuple):
    """One case: Dice with the brain that the data set gives, and the time it took."""

    case: str
    dice: float
    seconds: float


def main() -> int:
    """Print the table and the summary; return the exit code."""
    folder = lgg_folder()
    heads = [_shown(row) for row in _heads(folder)]
    brains = [_shown(row) for row in _stripped(folder)]
    good = sum(row.dice >= GOAL for row in heads)
    kept = sum(row.dice >= GOAL for row in brains)
    slowest = max(row.seconds for row in heads + brains)
    print(
        f"Dice >= {GOAL}: {good} of {len(heads)} heads (goal {HEADS_NEEDED}), "
        f"{kept} of {len(brains)} stripped brains (goal all); slowest case {slowest:.1f} s"
    )
    return 0 if good >= HEADS_NEEDED and kept == len(brains) else 1


def _heads(folder: Path) -> Iterator[Row]:
    for path in sorted((folder / "with-skull").glob("*/*_flair.nii.gz")):
        case = path.parent.name
        yield _row(case, path, folder / case / path.name)


def _stripped(folder: Path) -> Iterator[Row]:
    split = json.loads((folder / "split.json").read_text())
    for case in split["validation"]:
        path = folder / case / f"{case}_flair.nii.gz"
        yield _row(f"{case} stripped", path, path)


def _row(case: str, scan: Path, stripped: Path) -> Row:
    voxels, spacing_mm = _canonical(scan)
    truth = Nonzero()(*_canonical(stripped))
    start = time.perf_counter()
    brain = SkullStrip()(voxels, spacing_mm)
    return Row(case, dice(brain, truth), time.perf_counter() - start)


def _canonical(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    scan = reading.read_image(path)
    turned = canonical(scan.voxels, scan.affine)
    return turned.voxels, Volume(turned.voxels, turned.affine).spacing_mm


def _shown(row: Row) -> Row:
    print(f"{row.case:<32} Dice {row.dice:.4f}   {row.seconds:.1f} s", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
