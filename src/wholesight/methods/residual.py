"""What a reconstruction left out: the residual as a map, higher = odder.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, median_filter
from skimage.metrics import structural_similarity
from torch import Tensor

# The published window of SSIM (Wang et al., IEEE TIP 2004).
_WINDOW = 11


class Residual:
    """Slice against reconstruction, pixel by pixel.

    kind : "l1" |x - y|, "l2" its square, "excess" max(x - y, 0), which sees bright lesions alone,
    "ssim" (1 - structural similarity) / 2 in a Gaussian window (Wang et al. 2004; Bergmann et al.
    2019 for anomalies), in [0, 1]. sigma_px : of a Gaussian that smooths the map inside the body; 0
    for none. median_px : side of the square whose median, the background being 0, each pixel
    becomes first; it takes away lines and points; 1 for none.
    """

    def __init__(
        self,
        *,
        kind: Literal["l1", "l2", "excess", "ssim"] = "l1",
        sigma_px: float = 0.0,
        median_px: int = 1,
    ) -> None:
        if sigma_px < 0:
            raise ValueError(f"sigma_px is {sigma_px}, legal is 0 or more")
        if median_px < 1 or median_px % 2 == 0:
            raise ValueError(f"median_px is {median_px}, legal are the odd numbers from 1")
        self.kind: Literal["l1", "l2", "excess", "ssim"] = kind
        self.sigma_px = sigma_px
        self.median_px = median_px

    def __call__(
        self,
        slices: Float[Tensor, "b c H W"],
        reconstruction: Float[Tensor, "b c H W"],
        inside: Bool[Tensor, "b 1 H W"],
    ) -> Float[Tensor, "b 1 H W"]:
        """Return the mean over channels, 0 outside the body."""
        residual = _KINDS[self.kind](slices, reconstruction).mean(dim=1, keepdim=True)
        residual = _median(residual * inside, self.median_px)
        return smoothed_inside(residual, inside, self.sigma_px)


def smoothed_inside(
    maps: Float[Tensor, "b 1 H W"], inside: Bool[Tensor, "b 1 H W"], sigma_px: float
) -> Float[Tensor, "b 1 H W"]:
    """Smooth maps inside the body, normalised by it: the background does not leak in at the rim.

    >>> inside = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    >>> inside[..., 4:] = True
    >>> bool(torch.allclose(smoothed_inside(inside.float(), inside, 2.0), inside.float()))
    True
    """
    if not sigma_px:
        return maps * inside
    weight = inside.float().cpu().numpy()
    sigma = (0, 0, sigma_px, sigma_px)
    covered = gaussian_filter(weight, sigma)
    smoothed = gaussian_filter(maps.cpu().numpy() * weight, sigma) / np.maximum(covered, 1e-6)
    return torch.from_numpy(smoothed * weight).to(maps)


def _median(maps: Float[Tensor, "b 1 H W"], median_px: int) -> Float[Tensor, "b 1 H W"]:
    if median_px == 1:
        return maps
    window = (1, 1, median_px, median_px)
    filtered = median_filter(maps.cpu().numpy(), window, mode="constant")
    return torch.from_numpy(filtered).to(maps)


def _ssim(slices: Tensor, reconstruction: Tensor) -> Tensor:
    """Return (1 - SSIM) / 2 of each channel, in [0, 1]; slices are taken to lie in [0, 1]."""
    pairs = zip(
        slices.flatten(0, 1).cpu().numpy(), reconstruction.flatten(0, 1).cpu().numpy(), strict=True
    )
    maps = [
        structural_similarity(
            x,
            y,
            win_size=_WINDOW,
            gaussian_weights=True,
            # As published; the window's sums are not those of a sample.
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )[1]
        for x, y in pairs
    ]
    # A similarity may be a rounding error above 1.
    return torch.from_numpy((1 - np.stack(maps)).clip(0) / 2).to(slices).view_as(slices)


_KINDS = {
    "l1": lambda x, y: (x - y).abs(),
    "l2": lambda x, y: (x - y).square(),
    "excess": lambda x, y: (x - y).clamp_min(0),
    "ssim": _ssim,
}
