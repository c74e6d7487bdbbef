"""Look at the claim's maps in three ways, lest it be a matter of sign or scale.

    python benchmarks/claim.py [--seeds 3] [--out out/claim-maps]

The suite `claim` judges the maps of `quick` and `vae` as shipped. Without a constraint the sign of
the score that Grad-CAM explains is arbitrary, and both recipes divide a map by its median in the
body. So this trains the same networks on lgg-flair and judges each map as shipped, as it is, and
negated, on the validation patients, beside the intensity floor. Prints the difference per seed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from lgg import Figures, figures, judge, judge_floor, normals, open_lgg, spread
from wholesight.calibration import Terms
from wholesight.datasets import DataSet
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.io.files import write_json, write_text
from wholesight.methods.method import LossTerms, Method
from wholesight.recipe import Recipe
from wholesight.training.fit import fit

RECIPES = {"vae": "Grad-CAM, no constraint", "quick": "Grad-CAM, constrained"}
# The map as both recipes have it, the bare Grad-CAM of the very same networks, and its negative:
# without the constraint the sign of the score, a sum of latent means, is arbitrary.
MAPS = {"body-median": "over its median in the body", "none": "as it is", "negated": "negated"}


class Negated(Method):
    """A method whose map is the other's with the other sign."""

    reference = "the comparison of benchmarks/claim.py"

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def loss(self, slices: Tensor, inside: Tensor, epoch: float) -> LossTerms:
        """Return the method's own loss."""
        return self.method.loss(slices, inside, epoch)

    def anomaly_map(self, slices: Tensor, inside: Tensor) -> Tensor:
        """Return the negated map."""
        return -self.method.anomaly_map(slices, inside)


Rows = dict[tuple[str, str], list[Figures]]


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/claim-maps"))
    arguments = parser.parse_args()
    data = open_lgg()
    rows: Rows = {(name, how): [] for name in RECIPES for how in MAPS}
    for seed in range(arguments.seeds):
        for name in RECIPES:
            folder = train(name, seed, data, arguments.out)
            for how in MAPS:
                rows[name, how].append(judged(folder, name, how, data))
                auprc = rows[name, how][-1].auprc
                print(f"seed {seed} {name}, {how}: AUPRC {auprc:.3f}", file=sys.stderr)
    text = table(rows, figures(judge_floor(data)))
    print(text)
    write_text(arguments.out / "claim.md", text + "\n")
    write_json(
        arguments.out / "claim.json",
        {" ".join(row): [found._asdict() for found in rows[row]] for row in rows},
    )


def train(name: str, seed: int, data: DataSet, out: Path) -> Path:
    """Fit one recipe with one seed; returns the model folder."""
    folder = out / f"{name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = Recipe.load(name, seed=seed)
    fit(recipe, Scans(data.subset("train")), folder, seed=seed, device="cpu")
    return folder


def judged(folder: Path, name: str, how: str, data: DataSet) -> Figures:
    """Calibrate and judge a trained network, its map scaled in one of the ways."""
    scale = "none" if how == "negated" else how
    recipe = Recipe.load(name, [f"method.map_normalisation={scale}"])
    recipe.method.load_state_dict(Detector.load(folder).recipe.method.state_dict())
    if how == "negated":
        recipe = replace(recipe, method=Negated(recipe.method))
    detector = Detector(recipe=recipe).calibrate(normals(data), Terms(rule="percentile"))
    return figures(judge(name, detector, data))


def table(rows: Rows, floor: Figures) -> str:
    """Write the Markdown table: mean over seeds with the range, the floor, the gain per seed."""
    lines = [
        "| map | AUPRC | Dice, threshold from normals | best Dice (oracle) |",
        "|---|---|---|---|",
    ]
    for name, title in RECIPES.items():
        for how, scale in MAPS.items():
            cells = [spread(column) for column in zip(*rows[name, how], strict=True)]
            lines.append(f"| {title} (`{name}`), {scale} | {' | '.join(cells)} |")
    cells = [f"{value:.3f}" for value in floor]
    lines += [f"| intensity floor (`floor`) | {' | '.join(cells)} |", ""]
    for how, scale in MAPS.items():
        pairs = zip(rows["quick", how], rows["vae", how], strict=True)
        gains = ", ".join(f"{on.auprc - off.auprc:+.3f}" for on, off in pairs)
        lines.append(f"Gain in AUPRC by the constraint, seed by seed, map {scale}: {gains}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
