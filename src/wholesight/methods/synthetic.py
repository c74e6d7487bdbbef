"""A segmenter of lesions that were made up in normal slices.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.augmentation import Augmentation
from wholesight.methods.made_up import MadeUpLesions
from wholesight.methods.method import LossTerms, Method
from wholesight.nn.unet import UNet
from wholesight.objective.losses import soft_dice, surprise_of


class SyntheticLesions(Method):
    """loss = cross-entropy + (1 - soft Dice) of a U-Net on made-up lesions, inside the body.

    The map is the logit of "lesion", averaged over the slice and its mirror image if `mirrored`.
    The cross-entropy is the mean over the batch's body pixels, in nats; Dice is over the batch.

    lesions, augmentation : what is made up, and in which views of the normal slices.
    """

    reference: ClassVar[str] = (
        "Ours. Learning from lesions made up in normal images: Tan, Hou, Batten, Qiu, Kainz: "
        "Detecting outliers with foreign patch interpolation. 2020, arXiv 2011.04197."
    )
    needs: ClassVar[str] = "normal slices, in which it makes up lesions"
    unit_range = True

    def __init__(
        self,
        *,
        network: UNet,
        lesions: MadeUpLesions,
        augmentation: Augmentation,
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.slice_shape = network.slice_shape
        self.lesions = lesions
        self.augmentation = augmentation
        self.mirrored = mirrored

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        view = self.augmentation(slices, inside)
        altered, lesion = self.lesions(view.slices, view.inside)
        logits = self._logits(altered)
        entropy = surprise_of(logits, lesion, view.inside)
        overlap = 1 - soft_dice(logits.sigmoid() * view.inside, lesion)
        return LossTerms(entropy + overlap, {"cross_entropy": entropy, "overlap": overlap})

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        logits = self._logits(slices)
        if self.mirrored:
            logits = (logits + self._logits(slices.flip(3)).flip(3)) / 2
        return logits

    def _logits(self, slices: Tensor) -> Float[Tensor, "b 1 H W"]:
        return self.network(slices).mean(dim=1, keepdim=True)
