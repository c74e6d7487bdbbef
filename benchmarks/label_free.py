"""Ask whether one would have chosen the right method without looking at a real lesion.

    wholesight benchmark standard --data lgg-flair --out out/standard
    python benchmarks/label_free.py out/standard

Takes the models of a benchmark on lgg-flair that is finished, in part or whole. Into normal slices
of the calibration subjects it inserts lesions of known size and contrast (`calibration.inserted`:
balls, which the made-up lesions of training are not), and ranks their pixels among all others of
the normal slices, with lesion and without: labels only leave abnormal slices out. Beside it the
AUPRC of the benchmark, on real lesions, and how well the two orders agree (Spearman). Writes
label_free.md there.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from scipy.stats import rankdata

from lgg import open_lgg, spread
from wholesight.benchmark.judge import stored
from wholesight.benchmark.plan.place import is_finished
from wholesight.calibration.inserted import draw_weight, with_lesion
from wholesight.datasets import Case
from wholesight.detector import Detector
from wholesight.io.files import write_text
from wholesight.metrics import eroded
from wholesight.metrics.ranking import average_precision
from wholesight.prep.orient import axial_axis

VOLUMES_ML: Final = (2.0, 20.0)
CONTRASTS: Final = (-0.4, 0.3, 0.6)


class Row(NamedTuple):
    """One method: its score on inserted lesions and its AUPRC on real ones, seed by seed."""

    method: str
    inserted: list[float]
    real: list[float]


def main() -> None:
    """Score every model that is there, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of a benchmark on lgg-flair")
    out = parser.parse_args().out
    cases = open_lgg().subset("calibration")
    if next((out / "cells").glob("*/*/seed-*/model/fold-*"), None):
        parser.error(f"{out}: was judged in folds; take a benchmark of the data's own split")
    methods = sorted(path for path in (out / "cells" / "lgg-flair").iterdir() if path.is_dir())
    rows = [row for folder in methods if (row := scored(folder, cases)).real]
    text = table(rows)
    print(text)
    write_text(out / "label_free.md", text + "\n")


def scored(folder: Path, cases: list[Case]) -> Row:
    """Score the finished seeds of one method."""
    row = Row(folder.name, [], [])
    for cell in sorted(folder.glob("seed-*")):
        if is_finished(cell):
            detector = Detector.load(cell / "model")
            detector.require_unseen_subjects(case.subject for case in cases)
            row.inserted.append(score(detector, cases))
            row.real.append(stored.load(cell).deployable["set"]["average_precision"])
            print(f"{cell}: {row.inserted[-1]:.3f} inserted, {row.real[-1]:.3f} real", flush=True)
    return row


def score(detector: Detector, cases: list[Case]) -> float:
    """Return the AUPRC of inserted lesions among the pixels of normal slices."""
    pairs = [pair for number, case in enumerate(cases) for pair in looks(detector, case, number)]
    scores, lesions = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return average_precision(scores, lesions)


def looks(detector: Detector, case: Case, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (scores, lesion) of the judged normal pixels, untouched and with every lesion."""
    scan = case.read()
    prepared = detector.recipe.prep.forward(scan)
    body = prepared.normal_body()
    judged = eroded(prepared.body, axis=axial_axis(scan.image.affine)) & body
    if not judged.any():
        return

    def seen(voxels: np.ndarray) -> np.ndarray:
        return detector.map(scan.image.like(voxels), scan.inside).voxels[judged]

    yield seen(scan.image.voxels), np.zeros(int(judged.sum()), bool)
    for volume in VOLUMES_ML:
        rng = np.random.default_rng((0, number))
        weight = draw_weight(body, scan.image.spacing_mm, volume_ml=volume, rng=rng)
        if weight is not None:
            for contrast in CONTRASTS:
                yield seen(with_lesion(scan.image.voxels, weight, contrast)), weight[judged] > 0


def table(rows: list[Row]) -> str:
    """Write the Markdown table, the best by inserted lesions first, and the agreement."""
    ordered = sorted(rows, key=lambda row: -statistics.fmean(row.inserted))
    lines = [
        "| method | AUPRC, inserted lesions in normals | AUPRC, real lesions |",
        "|---|---|---|",
        *(f"| {row.method} | {spread(row.inserted)} | {spread(row.real)} |" for row in ordered),
    ]
    if len(rows) > 2:
        means = [[statistics.fmean(part) for part in (row.inserted, row.real)] for row in rows]
        ranks = rankdata(means, axis=0)
        agreement = np.corrcoef(ranks, rowvar=False)[0, 1]
        lines += ["", f"Agreement of the two orders (Spearman): {agreement:.2f}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
