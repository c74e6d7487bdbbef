"""Total variation inside a body, and its proximal map.

Axes: b slices, d down and right, c channels, H W pixels.
Reference: Rudin, Osher, Fatemi, Physica D 1992; the proximal map by the fast gradient projection
of Beck and Teboulle, IEEE Trans. Image Process. 2009.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Of the dual ascent; the operator norm of div grad is at most 8, so 1/8 is its largest safe step.
_ITERATIONS: Final = 60
_DUAL_STEP: Final = 1 / 8


class Proximal(NamedTuple):
    """What the proximal map gives, and its dual field, which is where a similar one may start."""

    images: Float[Tensor, "b c H W"]
    dual: Float[Tensor, "b d c H W"]


def total_variation(
    images: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
) -> Float[Tensor, " b"]:
    """Isotropic: the lengths of the (down, right) differences, summed over a slice's pixels.

    The step from the body to what is around it does not count.

    >>> edge = torch.zeros(1, 1, 4, 4)
    >>> edge[..., 2:] = 0.5
    >>> total_variation(edge, torch.ones(1, 1, 4, 4, dtype=torch.bool)).item()
    2.0
    """
    steps = _differences(images, _edges(inside).to(images))
    return torch.hypot(steps[:, 0], steps[:, 1]).sum(dim=(1, 2, 3))


def proximal_total_variation(
    images: Float[Tensor, "b c H W"],
    inside: Bool[Tensor, "b 1 H W"],
    weight: Float[Tensor, "b 1 1 1"],
    start: Float[Tensor, "b d c H W"] | None = None,
) -> Proximal:
    """Return argmin over y of 1/2 |y - image|^2 + weight TV(y), slice by slice.

    weight : at least 0. start : the dual field of a similar problem; zero unless told. The dual
    field p has |p| <= 1 in every pixel, and y = image + weight div p.
    """
    edges, weights = _edges(inside).to(images), weight[:, None]
    dual = images.new_zeros(len(images), 2, *images.shape[1:]) if start is None else weights * start
    tiny = torch.finfo(images.dtype).tiny
    ahead, momentum = dual, 1.0
    for _ in range(_ITERATIONS):
        before = dual
        dual = ahead + _DUAL_STEP * _differences(images + _divergence(ahead), edges)
        length = torch.hypot(dual[:, :1], dual[:, 1:]).clamp_min(tiny)
        dual = dual * (weights / length).clamp_max(1)
        after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = dual + (momentum - 1) / after * (dual - before)
        momentum = after
    return Proximal(images + _divergence(dual), dual / weights.clamp_min(tiny))


def _edges(inside: Bool[Tensor, "b 1 H W"]) -> Bool[Tensor, "b d 1 H W"]:
    """Tell where a pixel and the next one are both inside."""
    edges = inside.new_zeros(len(inside), 2, *inside.shape[1:])
    edges[:, 0, :, :-1] = inside[:, :, 1:] & inside[:, :, :-1]
    edges[:, 1, ..., :-1] = inside[..., 1:] & inside[..., :-1]
    return edges


def _differences(
    images: Float[Tensor, "b c H W"], edges: Float[Tensor, "b d 1 H W"]
) -> Float[Tensor, "b d c H W"]:
    """Return what the next pixel has more, 0 where there is no edge."""
    steps = images.new_zeros(len(images), 2, *images.shape[1:])
    steps[:, 0, :, :-1] = images[:, :, 1:] - images[:, :, :-1]
    steps[:, 1, ..., :-1] = images[..., 1:] - images[..., :-1]
    return steps * edges


def _divergence(field: Float[Tensor, "b d c H W"]) -> Float[Tensor, "b c H W"]:
    """Return the negative adjoint of the differences, for a field that is 0 off the edges."""
    total = field.sum(dim=1)
    total[:, :, 1:] -= field[:, 0, :, :-1]
    total[..., 1:] -= field[:, 1, ..., :-1]
    return total
