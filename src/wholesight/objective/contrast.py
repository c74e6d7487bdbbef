"""The other half of the constraint: attention inside a lesion stands out from that elsewhere.

Axes: b slices, H W slice pixels, s slices with a lesion.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


class Contrast:
    """Attention in a lesion above that of normal tissue by a margin. Ours.

    g = 1 - (low - high) / margin, one value for each slice with a lesion. low is a soft minimum of
    the attention A over the lesion, high a soft maximum over the normal tissue of all slices
    together, so that a lesion stands out from whatever is normal in any slice, and one threshold
    fits them all. With softness s they are

        low = -s log mean exp(-A / s),  high = s log mean exp(A / s),

    the means over pixels: neither grows with the number of pixels. g does not change when the same
    number is added to A everywhere, so that coverage may hold attention wherever it wants to.

    margin : in units of A, > 0. softness : in units of A, > 0; small looks at the worst pixels
    alone, large at the means of both.
    """

    def __init__(self, *, margin: float = 5.0, softness: float = 1.5) -> None:
        if not margin > 0:
            raise ValueError(f"margin is {margin}, legal is margin > 0")
        if not softness > 0:
            raise ValueError(f"softness is {softness}, legal is softness > 0")
        self.margin = margin
        self.softness = softness

    def violation(
        self,
        attention: Float[Tensor, "b H W"],
        lesion: Bool[Tensor, "b H W"],
        normal: Bool[Tensor, "b H W"],
    ) -> Float[Tensor, " s"]:
        """Return g of the slices with a lesion, in their order, differentiable in the attention.

        Empty where no slice has a lesion, or no pixel is normal.
        """
        there = lesion.flatten(1).any(dim=1) & normal.any()
        if not there.any():
            return attention.new_zeros(0)
        low = -self._soft_maximum(-attention[there].flatten(1), lesion[there].flatten(1))
        high = self._soft_maximum(attention.flatten()[None], normal.flatten()[None])
        return 1 - (low - high) / self.margin

    def _soft_maximum(
        self, values: Float[Tensor, "k n"], counted: Bool[Tensor, "k n"]
    ) -> Float[Tensor, " k"]:
        scaled = (values / self.softness).masked_fill(~counted, -float("inf"))
        return self.softness * (scaled.logsumexp(dim=1) - counted.sum(dim=1).log())
