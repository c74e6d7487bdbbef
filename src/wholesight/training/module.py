"""A method as Lightning trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
import torch
from torch import Tensor

from wholesight.errors import WholesightError
from wholesight.methods.method import LossTerms, Method
from wholesight.recipe import Training


def gradient_norms(rivals: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return each rival's Euclidean gradient norm, over the parameters that it shares with another.

    Keys are "gradient_<rival>". The graph is kept, so that the loss can still be trained on.
    """
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = {
        name: torch.autograd.grad(part, wanted, retain_graph=True, allow_unused=True)
        for name, part in rivals.items()
    }
    reached = [[gradient is not None for gradient in found] for found in gradients.values()]
    contested = [sum(column) > 1 for column in zip(*reached, strict=True)]
    shared = {
        name: [
            part.flatten()
            for part, both in zip(found, contested, strict=True)
            if both and part is not None
        ]
        for name, found in gradients.items()
    }
    return {f"gradient_{name}": torch.cat(parts).norm() for name, parts in shared.items() if parts}


class DivergedError(WholesightError):
    """A term of the loss is NaN or infinite."""


class MethodModule(pl.LightningModule):
    """One optimiser step a batch; every named part of the loss goes into the log."""

    def __init__(self, method: Method, training: Training, *, seed: int) -> None:
        super().__init__()
        self.method = method
        self.training_plan = training
        self.seed = seed
        self.compared: set[str] = set()

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, so that a resumed run draws what an uninterrupted one would."""
        # Lightning keeps what was logged last, also of a stage that is over.
        self.trainer.callback_metrics.clear()
        self.compared = set()
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch of (pixels, inside)."""
        pixels, inside = batch
        epoch = self.current_epoch + batch_idx / max(self.trainer.num_training_batches, 1)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.training_plan.rate(epoch)
        terms = self.method.loss(pixels, inside, epoch)
        self._require_finite(terms)
        parts = {"loss": terms.total, **terms.parts}
        # Once an epoch, as it takes a pass backwards for every rival; some wait for their turn.
        if set(terms.rivals) - self.compared:
            self.compared |= set(terms.rivals)
            parts |= gradient_norms(terms.rivals, list(self.method.parameters()))
        self.log_dict(
            {name: part.detach() for name, part in parts.items()},
            on_step=False,
            on_epoch=True,
            batch_size=len(pixels),
        )
        return terms.total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (as published); each step sets its learning rate, a function of the epoch."""
        plan = self.training_plan
        mean, square = plan.betas
        return torch.optim.Adam(self.method.parameters(), lr=plan.rate(0), betas=(mean, square))

    def _require_finite(self, terms: LossTerms) -> None:
        if torch.isfinite(terms.total):
            return
        bad = [name for name, part in terms.parts.items() if not torch.isfinite(part)]
        raise DivergedError(
            f"Training stopped in epoch {self.current_epoch}: {', '.join(bad) or 'the loss'} is "
            "not finite. Lower training.learning_rate or the weight of that term, or set "
            "training.gradient_clip."
        )
