"""How far a slice is from normal slices at the same place: the simplest normative model.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.method import Batch, LossTerms, Method
from wholesight.methods.places import Boxes, PlaceStatistics
from wholesight.methods.residual import smoothed_inside


class Normative(Method):
    """z = (x - mean) / spread, mean and spread of normal slices at the pixel's place.

    Slices are aligned by the bounding box of their body (`methods.places`, which also says what
    places and min_spread_share are); nothing is trained, two frames of figures are noted. Published
    with scans registered to an atlas in 3-D. Here a slice does not know its height, so that all
    heights share one mean and one spread.

    sigma_px : of a Gaussian, in slice pixels, over the slice inside its body before it is compared,
    normals and others alike, so that z is about standard normal on normals whatever sigma_px is.
    asymmetry : what a pixel has above its counterpart on the other side of the body counts so many
    times on top, in normals and others alike; 0 leaves it out. side : "bright", z itself, sees what
    is too bright, as lesions on FLAIR are; "both", |z|, sees what is too dark as well, and is what
    was published (there z^2, which ranks alike).
    """

    reference: ClassVar[str] = (
        "Saase, Wenz, Ganslandt, Groden, Maros: Simple statistical methods for unsupervised brain "
        "anomaly detection on MRI are competitive to deep learning methods. 2020, arXiv 2011.12735 "
        "(voxel-wise baseline)."
    )
    one_channel = True

    def __init__(
        self,
        *,
        sigma_px: float = 0.0,
        asymmetry: float = 0.0,
        side: Literal["bright", "both"] = "bright",
        places: int = 64,
        min_spread_share: float = 0.25,
    ) -> None:
        super().__init__()
        if sigma_px < 0:
            raise ValueError(f"sigma_px is {sigma_px}, legal is 0 or more")
        if asymmetry < 0:
            raise ValueError(f"asymmetry is {asymmetry}, legal is 0 or more")
        self.sigma_px = sigma_px
        self.asymmetry = asymmetry
        self.side: Literal["bright", "both"] = side
        self.normal = PlaceStatistics(places=places, min_spread_share=min_spread_share)

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        """Return zero: there is nothing to train."""
        del inside, epoch
        return LossTerms(slices.new_zeros(()), {})

    def observe(self, batches: Iterable[Batch]) -> None:
        self.normal.note((self._compared(*batch), batch[1]) for batch in batches)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        z = self.normal.standardised(self._compared(slices, inside), inside)
        return z.abs() if self.side == "both" else z

    def _compared(self, slices: Tensor, inside: Tensor) -> Tensor:
        smoothed = smoothed_inside(slices, inside, self.sigma_px)
        if not self.asymmetry:
            return smoothed
        across = Boxes.around(inside, smoothed.dtype).across(smoothed, inside)
        return smoothed + self.asymmetry * (smoothed - across)
