"""Lesions made up in normal slices, for methods that learn from them. Of no one disease.

What is drawn is broad on purpose: a method that has seen one look of a lesion finds that look. No
option was fitted to real lesions.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.nn.noise import Coarse

# A core is from nearly black to bright, in means of the body, and begins so deep, in radii.
_CORE, _CORE_DEPTH = (0.1, 1.6), (0.2, 0.8)
# Over what share of a side noise changes: large features of an outline or a texture, and small.
_COARSE, _FINE = 1 / 8, 1 / 20


class MadeUp(NamedTuple):
    """Slices with lesions, and what share of each pixel is lesion: 0 where nothing was drawn."""

    slices: Float[Tensor, "b c H W"]
    lesion: Float[Tensor, "b 1 H W"]


class _Place(NamedTuple):
    """Where lesions are: depth > 0 inside, in radii; softness, the width of the outline, in radii.

    near : what a lesion may cover at all.
    """

    depth: Float[Tensor, "b 1 H W"]
    softness: Float[Tensor, "b 1 1 1"]
    near: Bool[Tensor, "b 1 H W"]

    def share(self, depth: Float[Tensor, "b 1 H W"]) -> Float[Tensor, "b 1 H W"]:
        """Return what share of each pixel lies deeper than 0."""
        return (depth / self.softness + 0.5).clamp(0, 1) * self.near


class MadeUpLesions:
    """Places with a dented, soft outline, brighter or darker than the slice around them.

    A place is where 1 - r / R + n > 0: r the distance from its centre, in an ellipse, R its radius,
    n smooth noise. Inside, the slice is drawn towards the mean of its body, so that anatomy fades,
    and shifted by a contrast times that mean, with a texture. Some have a core, which is anything
    from black to bright whatever the rest is, as necrosis, cysts and oedema make them. Numbers are
    drawn anew for each lesion, radius and contrast evenly on a logarithmic scale.

    most : lesions in a slice; the second and each further one is there with `more_share`.
    normal_share : of slices that stay as they are. radius : smallest and largest, in shares of the
    slice's shorter side. contrast : smallest and largest, in shares of the mean of the slice's
    body. bright_share : of lesions that are brighter; the others are darker. core_share : of
    lesions with a core. softness : smallest and largest width of the outline, in radii. dents,
    texture : largest strength of the outline's noise (in radii) and of the texture (in contrasts),
    in large features; in small ones half as much (dents) or as much (texture) on top. fading :
    largest strength of the fading, 0 to 1.
    """

    def __init__(
        self,
        *,
        most: int = 2,
        more_share: float = 0.35,
        normal_share: float = 0.25,
        radius: Sequence[float] = (0.026, 0.27),
        contrast: Sequence[float] = (0.1, 1.3),
        bright_share: float = 0.85,
        core_share: float = 0.3,
        softness: Sequence[float] = (0.05, 0.6),
        dents: float = 0.5,
        texture: float = 0.5,
        fading: float = 0.8,
    ) -> None:
        if most < 1:
            raise ValueError(f"most is {most}, legal is 1 or more")
        for name, share in (
            ("more_share", more_share),
            ("bright_share", bright_share),
            ("core_share", core_share),
            ("fading", fading),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}, legal is 0 to 1")
        if not 0 <= normal_share < 1:
            raise ValueError(f"normal_share is {normal_share}, legal is 0 <= share < 1")
        for name, strength in (("dents", dents), ("texture", texture)):
            if strength < 0:
                raise ValueError(f"{name} is {strength}, legal is 0 or more")
        for name, pair in (("radius", radius), ("contrast", contrast), ("softness", softness)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise ValueError(
                    f"{name} is {list(pair)}, legal are two numbers, 0 < smallest <= largest"
                )
        self.most = most
        self.more_share = more_share
        self.normal_share = normal_share
        self.radius = tuple(radius)
        self.contrast = tuple(contrast)
        self.bright_share = bright_share
        self.core_share = core_share
        self.softness = tuple(softness)
        self.dents = dents
        self.texture = texture
        self.fading = fading

    def __call__(self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]) -> MadeUp:
        """Draw lesions into slices in [0, 1], from torch's global random numbers.

        A slice without a body stays as it is.
        """
        altered, lesion = slices, torch.zeros_like(slices[:, :1])
        changed = inside.flatten(1).any(dim=1) & ~_chance(inside, self.normal_share)
        for number in range(self.most):
            there = changed if number == 0 else changed & _chance(inside, self.more_share)
            place = self._place(inside)
            share = place.share(place.depth) * there.to(slices)[:, None, None, None]
            altered = torch.lerp(altered, self._look(altered, inside, place), share)
            lesion = torch.maximum(lesion, share)
        return MadeUp(altered, lesion)

    def _place(self, inside: Bool[Tensor, "b 1 H W"]) -> _Place:
        """Return a place for a lesion somewhere in each body."""
        height, width = inside.shape[2:]
        down, right = _from_somewhere(inside)
        angle = _uniform(inside, (0.0, math.pi))
        stretch = _logarithmic(inside, (0.6, 1.6))
        along = (right * angle.cos() + down * angle.sin()) * stretch
        across = (down * angle.cos() - right * angle.sin()) / stretch
        radius = _logarithmic(inside, self.radius) * min(height, width)
        distance = torch.hypot(along, across) / radius
        coarse = _uniform(inside, (0.0, self.dents)) * _smooth(inside, _COARSE)
        fine = _uniform(inside, (0.0, self.dents / 2)) * _smooth(inside, _FINE)
        # Noise has no bound; a place stays one place.
        return _Place(
            1 - distance + coarse + fine,
            _logarithmic(inside, self.softness),
            inside & (distance < 2),
        )

    def _look(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], place: _Place
    ) -> Float[Tensor, "b c H W"]:
        """Return what a lesion would look like, anywhere in the slices."""
        usual = body_mean(slices, inside)
        faded = torch.lerp(slices, usual.expand_as(slices), _uniform(inside, (0.0, self.fading)))
        sign = torch.where(_chance(inside, self.bright_share), 1.0, -1.0).to(slices)
        coarse, fine = (
            _uniform(inside, (0.0, self.texture)) * _smooth(inside, size)
            for size in (_COARSE, _FINE)
        )
        texture = 1 + coarse + fine
        shift = _logarithmic(inside, self.contrast) * usual * texture
        rest = faded + sign[:, None, None, None] * shift
        core = usual * _uniform(inside, _CORE) * texture.clamp(0.5, 1.5)
        return torch.lerp(rest, core, self._core(inside, place)).clamp(0, 1)

    def _core(self, inside: Tensor, place: _Place) -> Float[Tensor, "b 1 H W"]:
        """Return what share of each pixel is core: the deeper part of some places, with dents."""
        dents = self.dents * _smooth(inside, _COARSE)
        there = _chance(inside, self.core_share).to(dents)[:, None, None, None]
        return place.share(place.depth - _uniform(inside, _CORE_DEPTH) + dents) * there


def body_mean(
    slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
) -> Float[Tensor, "b c 1 1"]:
    """Return each slice's mean inside its body; 0 where there is none."""
    total = (slices * inside).sum(dim=(2, 3), keepdim=True)
    return total / inside.sum(dim=(2, 3), keepdim=True).clamp_min(1)


def _from_somewhere(inside: Tensor) -> tuple[Float[Tensor, "b 1 H W"], Float[Tensor, "b 1 H W"]]:
    """Return the way down and right, in pixels, from a random pixel of each body."""
    height, width = inside.shape[2:]
    # A slice without a body needs a place, too; nothing is drawn there.
    weight = inside.flatten(1).float().cpu() + 1e-9
    place = torch.multinomial(weight, 1).to(inside.device)[:, :, None, None]
    rows = torch.arange(height, device=inside.device)[:, None]
    columns = torch.arange(width, device=inside.device)
    down = rows - torch.div(place, width, rounding_mode="floor")
    right = columns - place % width
    shape = (len(inside), 1, height, width)
    return down.float().expand(shape), right.float().expand(shape)


def _smooth(inside: Tensor, of_a_side: float) -> Float[Tensor, "b 1 H W"]:
    """Return noise of mean 0 and variance 1 that changes over such a share of a side."""
    coarseness_px = max(1.0, of_a_side * min(inside.shape[2:]))
    return Coarse(coarseness_px=coarseness_px).draw(inside.shape).to(inside.device)


def _uniform(inside: Tensor, between: Sequence[float]) -> Float[Tensor, "b 1 1 1"]:
    share = torch.rand(len(inside), 1, 1, 1).to(inside.device)
    return between[0] + share * (between[1] - between[0])


def _logarithmic(inside: Tensor, between: Sequence[float]) -> Float[Tensor, "b 1 1 1"]:
    return _uniform(inside, [math.log(end) for end in between]).exp()


def _chance(inside: Tensor, share: float) -> Bool[Tensor, " b"]:
    # Drawn on the CPU, so that a seed gives the same lesions wherever the network runs.
    return (torch.rand(len(inside)) < share).to(inside.device)
