"""Measure the paper's claim on real tumours: what the constraint adds to Grad-CAM.

    python benchmarks/claim.py [--seeds 3] [--out out/claim]

Trains `quick` and `vae` (the same network and budget without the constraint) on lgg-flair, judges
them and the intensity floor on its validation patients, and prints the table of the README. Prints
the paired difference per seed. Everything in the table is measured by this run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from lgg import Figures, figures, judge, judge_floor, normals, open_lgg
from wholesight.datasets import DataSet
from wholesight.datasets.scans import Scans
from wholesight.io.files import write_json, write_text
from wholesight.recipe import Recipe
from wholesight.training.fit import fit

RECIPES = {"vae": "Grad-CAM, no constraint", "quick": "Grad-CAM, constrained"}


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/claim"))
    arguments = parser.parse_args()
    data = open_lgg()
    rows: dict[str, list[Figures]] = {name: [] for name in RECIPES}
    for seed in range(arguments.seeds):
        for name in RECIPES:
            rows[name].append(train_and_judge(name, seed, data, arguments.out))
            print(f"seed {seed} {name}: AUPRC {rows[name][-1].auprc:.3f}", file=sys.stderr)
    text = table(rows, figures(judge_floor(data)))
    print(text)
    write_text(arguments.out / "claim.md", text + "\n")
    write_json(
        arguments.out / "claim.json",
        {name: [found._asdict() for found in of_seeds] for name, of_seeds in rows.items()},
    )


def train_and_judge(name: str, seed: int, data: DataSet, out: Path) -> Figures:
    """Fit, calibrate and judge one recipe with one seed."""
    folder = out / f"{name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = Recipe.load(name, seed=seed)
    detector = fit(recipe, Scans(data.subset("train")), folder, seed=seed, device="cpu")
    detector = detector.calibrate(normals(data), rule="percentile", alpha=0.05)
    detector.save_threshold(folder)
    return figures(judge(name, detector, data))


def table(rows: dict[str, list[Figures]], floor: Figures) -> str:
    """Write the Markdown table: mean over seeds with the range, the floor, the gain per seed."""
    lines = [
        "| map | AUPRC | Dice, threshold from normals | best Dice (oracle) |",
        "|---|---|---|---|",
    ]
    for name, title in RECIPES.items():
        cells = [spread(column) for column in zip(*rows[name], strict=True)]
        lines.append(f"| {title} (`{name}`) | {' | '.join(cells)} |")
    cells = [f"{value:.3f}" for value in floor]
    lines.append(f"| intensity floor (`floor`) | {' | '.join(cells)} |")
    gains = [on.auprc - off.auprc for on, off in zip(rows["quick"], rows["vae"], strict=True)]
    gained = ", ".join(f"{gain:+.3f}" for gain in gains)
    lines += ["", f"Gain in AUPRC by the constraint, seed by seed: {gained}."]
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Write a mean and, over several seeds, the smallest and largest value."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
