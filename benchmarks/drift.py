"""Watch the constrained map while training goes on: why it drifts, and what helps without a label.

    python benchmarks/drift.py [--epochs 28] [--every 2] [--out out/drift]

Trains variants of `quick`, the first with what the published form has in the three points that turn
out to matter, on lgg-flair and looks at each every few epochs, on normal slices of the
calibration subjects (no label: what a stopping rule may use) and on the validation patients (AUPRC,
what a rule may not use). Prints a table per variant and what a label-free rule would have picked.

satisfied, train  share of training slices that satisfy the constraint, as training computes it
satisfied, test   the same on calibration normals, with the network as it is at test
agreement         |sum_k alpha_k F_k| / sum_k |alpha_k| F_k: 1 when all channels pull together
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch

from lgg import figures, judge, open_lgg
from wholesight.attention import shrunk
from wholesight.datasets import DataSet
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.io.files import write_text
from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.recipe import Recipe
from wholesight.training.data import NormalSlices
from wholesight.training.fit import fit

PENALTY = "method.terms.0.penalty"
AS_PUBLISHED = [
    "method.network.norm=batch",
    "method.terms.0.constraint.scope=image",
    "training.decay=none",
]
VARIANTS = {
    "batch norm, coverage of the image, constant rate": AS_PUBLISHED,
    "the same, t growing by 10 % an epoch": [*AS_PUBLISHED, f"{PENALTY}.growth=1.1"],
    "the same, rate decaying to zero": AS_PUBLISHED[:2],
    "group norm, coverage of the image, constant rate": AS_PUBLISHED[1:],
    "group norm, coverage of the body, constant rate": AS_PUBLISHED[2:],
    "quick: group norm, coverage of the body, rate decaying to zero": [],
}


class Look(NamedTuple):
    """What one look at a network in training sees; AUPRC is for the reader alone."""

    epoch: int
    satisfied_train: float
    satisfied_test: float
    agreement: float
    auprc: float


class Watch(pl.Callback):
    """Looks at the method every few epochs."""

    def __init__(self, recipe: Recipe, normals: NormalSlices, data: DataSet, every: int) -> None:
        self.detector = Detector(recipe=recipe)
        self.normals = normals
        self.data = data
        self.every = every
        self.looks: list[Look] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, and leave the network in training mode."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every:
            return
        method = self.detector.recipe.method
        assert isinstance(method, ConstrainedVAE)
        satisfied, agreement = attention_at_test(method.eval(), self.normals)
        auprc = figures(judge("watch", self.detector, self.data)).auprc
        method.train()
        in_training = float(trainer.callback_metrics["satisfied"])
        self.looks.append(Look(epoch, in_training, satisfied, agreement, auprc))


def attention_at_test(method: ConstrainedVAE, normals: NormalSlices) -> tuple[float, float]:
    """Return the satisfied share and the agreement of channels on normal slices, in eval mode."""
    encoding = method.network.encode(normals.pixels)
    features = encoding.stages[method.stages[0] - 1]
    (gradient,) = torch.autograd.grad(encoding.mean.sum(), features)
    with torch.no_grad():
        importance = gradient.mean(dim=(2, 3), keepdim=True)
        attention = (importance * features).sum(dim=1)
        mass = (importance.abs() * features).sum(dim=1)
        agreement = float(attention.abs().mean() / mass.mean())
        inside = shrunk(normals.inside, attention)
        violation = method.terms[0].constraint.violation(attention.sigmoid(), inside)
    return float((violation <= 0).float().mean()), agreement


def main() -> None:
    """Train every variant, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/drift"))
    arguments = parser.parse_args()
    data = open_lgg()
    pages = []
    for number, (title, overrides) in enumerate(VARIANTS.items()):
        folder = arguments.out / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        recipe = Recipe.load("quick", [*overrides, f"training.epochs={arguments.epochs}"])
        watch = Watch(recipe, calibration_normals(recipe, data), data, arguments.every)
        scans = Scans(data.subset("train"))
        fit(recipe, scans, folder, device="cpu", callbacks=[watch])
        pages.append(page(title, watch.looks))
        print(pages[-1], flush=True)
    write_text(arguments.out / "drift.md", "\n".join(pages))


def calibration_normals(recipe: Recipe, data: DataSet) -> NormalSlices:
    """Prepare the normal slices of the calibration subjects as training would."""
    scans = Scans(data.subset("calibration"))
    return NormalSlices.of(recipe.prep, scans, min_body_share=recipe.training.min_body_share)


def page(title: str, looks: list[Look]) -> str:
    """Write the table of a variant, and what a label-free rule would have picked."""
    lines = [f"\n### {title}\n", "| " + " | ".join(Look._fields) + " |", "|---" * 5 + "|"]
    lines += [
        f"| {look.epoch} | " + " | ".join(f"{v:.3f}" for v in look[1:]) + " |" for look in looks
    ]
    first = next((look for look in looks if look.satisfied_test >= 0.95), None)
    lines += ["", described("first look with test satisfaction >= .95", first)]
    lines += [
        described("last epoch", looks[-1]),
        described("best (oracle)", max(looks, key=by_auprc)),
    ]
    spread = np.ptp([look.auprc for look in looks[len(looks) // 2 :]])
    lines += [f"- spread of AUPRC over the second half: {spread:.3f}"]
    return "\n".join(lines)


def by_auprc(look: Look) -> Any:
    """Order looks by what no rule may see."""
    return look.auprc


def described(rule: str, look: Look | None) -> str:
    """Write one line about a choice of epoch."""
    return f"- {rule}: " + (f"epoch {look.epoch}, AUPRC {look.auprc:.3f}" if look else "never")


if __name__ == "__main__":
    main()
