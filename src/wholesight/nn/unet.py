"""U-Nets: one for slices, and one that is also told how noisy its slices are.

Axes: b slices, c channels, h w feature pixels, H W slice pixels, t entries of the time's code.
Reference: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, arXiv 1505.04597.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, scaled_dot_product_attention

from wholesight.nn.blocks import Norm, normalisation

# The longest period of the time's code, in timesteps (Vaswani et al. 2017, Ho et al. 2020).
_LONGEST_PERIOD = 10_000


class UNet(nn.Module):
    """From slices to pictures of the same size: what is left of them, their noise, ...

    size : pixels along a slice's side, a multiple of 2^(levels - 1). width : channels of the first
    level. multiples : width of each level, in widths; as many levels as there are entries.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int = 1,
        width: int = 32,
        multiples: Sequence[int] = (1, 2, 4, 8),
        norm: Norm = "group",
    ) -> None:
        super().__init__()
        _require_divisible(size, multiples, width, channels)
        self.slice_shape = (channels, size, size)
        self.levels = _Levels(
            [channels, *(width * multiple for multiple in multiples)],
            lambda before, after: _ConvolutionBlock(before, after, norm),
        )
        self.out = nn.Conv2d(width * multiples[0], channels, 1)

    def forward(self, slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        """Return a picture of each slice, any real values."""
        return self.out(self.levels(slices))


class ConditionedUNet(nn.Module):
    """A U-Net that is told the time of its slices (Ho, Jain, Abbeel, NeurIPS 2020).

    The time, a number for each slice, is coded by sines and cosines, and every residual block adds
    a linear function of the code to its features. The deepest level attends to itself: each of its
    pixels sees all others. The options are those of `UNet`.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int = 1,
        width: int = 32,
        multiples: Sequence[int] = (1, 2, 4, 4),
        norm: Norm = "group",
    ) -> None:
        super().__init__()
        _require_divisible(size, multiples, width, channels)
        self.slice_shape = (channels, size, size)
        self.width = width
        code = 4 * width
        self.code = nn.Sequential(nn.Linear(2 * width, code), nn.SiLU(), nn.Linear(code, code))
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width * multiple for multiple in multiples]
        self.levels = _Levels(
            [width, *widths],
            lambda before, after: _ConditionedBlock(before, after, code, norm),
            bottom=_SelfAttention(widths[-1], norm),
        )
        last = nn.Conv2d(widths[0], channels, 3, padding=1)
        # Starts as the best constant prediction of noise, which has mean 0.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.out = nn.Sequential(normalisation(norm, widths[0]), nn.SiLU(), last)

    def forward(
        self, slices: Float[Tensor, "b c H W"], time: Float[Tensor, " b"]
    ) -> Float[Tensor, "b c H W"]:
        """Return a picture of each slice, any real values."""
        code = self.code(sinusoids(time, self.width).to(slices))
        return self.out(self.levels(self.stem(slices), code))


def sinusoids(time: Float[Tensor, " b"], frequencies: int) -> Float[Tensor, "b t"]:
    """Code times by sine and cosine at frequencies in geometric progression; t = 2 frequencies.

    >>> sinusoids(torch.tensor([0.0]), 2).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    exponents = torch.arange(frequencies, device=time.device) / frequencies
    angles = time[:, None] * _LONGEST_PERIOD**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class _Levels(nn.Module):
    """Down and up again: a block a level, each level's features going across to its way up.

    Averages halve the size, transposed convolutions double it. What blocks take besides features
    (a condition, or nothing) is handed through.
    """

    def __init__(
        self,
        widths: list[int],
        block: Callable[[int, int], nn.Module],
        bottom: nn.Module | None = None,
    ) -> None:
        super().__init__()
        rising = [(deep, shallow) for shallow, deep in pairwise(widths[1:])][::-1]
        self.down = nn.ModuleList(block(before, after) for before, after in pairwise(widths))
        self.bottom = bottom or nn.Identity()
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(*pair, 2, stride=2) for pair in rising)
        self.up = nn.ModuleList(block(2 * shallow, shallow) for _, shallow in rising)

    def forward(self, features: Tensor, *condition: Tensor) -> Tensor:
        across = []
        for level, block in enumerate(self.down):
            features = block(avg_pool2d(features, 2) if level else features, *condition)
            across.append(features)
        features = self.bottom(across.pop())
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            features = block(torch.cat([enlarge(features), across.pop()], dim=1), *condition)
        return features


class _ConvolutionBlock(nn.Module):
    """Two normalised 3x3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels_in, channels_out, norm),
            *_convolution(channels_out, channels_out, norm),
        )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return self.body(features)


def _convolution(channels_in: int, channels_out: int, norm: Norm) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    return [convolution, nn.SiLU(), normalisation(norm, channels_out)]


class _ConditionedBlock(nn.Module):
    """Residual block, the code of the condition added between its two convolutions."""

    def __init__(self, channels_in: int, channels_out: int, code: int, norm: Norm) -> None:
        super().__init__()
        self.first = _activated_convolution(channels_in, channels_out, norm)
        self.shift = nn.Sequential(nn.SiLU(), nn.Linear(code, channels_out))
        self.second = _activated_convolution(channels_out, channels_out, norm)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(
        self, features: Float[Tensor, "b c h w"], code: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b c2 h w"]:
        changed = self.first(features) + self.shift(code)[:, :, None, None]
        return self.shortcut(features) + self.second(changed)


def _activated_convolution(channels_in: int, channels_out: int, norm: Norm) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    return nn.Sequential(normalisation(norm, channels_in), nn.SiLU(), convolution)


class _SelfAttention(nn.Module):
    """Every pixel sees every other, one head, beside a shortcut (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.ask = nn.Sequential(
            normalisation(norm, channels), nn.Conv2d(channels, 3 * channels, 1)
        )
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        queries, keys, values = self.ask(features).flatten(2).transpose(1, 2).chunk(3, dim=2)
        seen = scaled_dot_product_attention(queries, keys, values)
        return features + self.out(seen.transpose(1, 2).unflatten(2, features.shape[2:]))


def _require_divisible(size: int, multiples: Sequence[int], width: int, channels: int) -> None:
    if min(channels, width, *multiples, len(multiples)) < 1:
        raise ValueError(
            f"channels {channels}, width {width} and multiples {list(multiples)}: legal is 1 or "
            "more, and at least one level"
        )
    stride = 2 ** (len(multiples) - 1)
    if size < stride or size % stride:
        raise ValueError(
            f"size {size} is not a multiple of {stride}, by which {len(multiples)} levels shrink it"
        )
