"""Intensity itself as the anomaly map: the floor that every method has to pass.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import smoothed_inside


class SmoothedIntensity(Method):
    """The prepared slice, smoothed inside the body. Nothing is trained.

    sigma_px : of the Gaussian, in slice pixels; 0 leaves the slice as it is. Smoothing is
    normalised by the body, so that the dark background does not leak in at the rim.
    Bright lesions only, by construction: on FLAIR that is most of what there is to find.
    """

    reference: ClassVar[str] = (
        "Meissen, Kaissis, Rueckert: Challenging current semi-supervised anomaly segmentation "
        "methods for brain MRI. BrainLes 2021, arXiv 2109.06023 (intensity baselines)."
    )
    needs: ClassVar[str] = "nothing"
    one_channel = True

    def __init__(self, *, sigma_px: float = 4.0) -> None:
        super().__init__()
        if sigma_px < 0:
            raise ValueError(f"sigma_px is {sigma_px}, legal is 0 or more")
        self.sigma_px = sigma_px

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        """Return zero: there is nothing to learn."""
        del inside, epoch
        return LossTerms(slices.new_zeros(()), {})

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return smoothed_inside(slices, inside, self.sigma_px)
