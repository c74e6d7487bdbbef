"""A Wasserstein critic, its gradient penalty, and how to keep a player still.

Axes: b slices, c channels, f features, H W slice pixels.
References: Arjovsky, Chintala, Bottou, "Wasserstein GAN", ICML 2017; Gulrajani et al., "Improved
training of Wasserstein GANs", NeurIPS 2017 (the penalty).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d


class Judgement(NamedTuple):
    """The critic's score, higher = more like a real slice, and the features it was read from."""

    score: Float[Tensor, " b"]
    features: Float[Tensor, "b f"]


class CriticBlock(nn.Module):
    """Halves the size: two 3x3 convolutions, each after norm and ReLU, beside a bare shortcut.

    The norm is layer norm, over channels and pixels of one slice. The shortcut has neither norm nor
    ReLU, so that brightness and contrast of a slice get through (in `nn.blocks` they do not).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(1, channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_in, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Return features of half the size."""
        return avg_pool2d(self.body(x), 2) + self.shortcut(avg_pool2d(x, 2))


class Critic(nn.Module):
    """3x3 convolution, four blocks that halve the size, and a linear layer: one score a slice.

    width : channels after the first convolution, then 2, 4, 8 and 8 times as many. stride : of the
    first convolution; 2 quarters the work. 64 and 1 in the code of f-AnoGAN. No batch norm: the
    penalty asks for the gradient at one slice, and batch norm would make every score depend on
    every slice.
    """

    def __init__(
        self, *, size: int, channels: int = 1, width: int = 64, stride: Literal[1, 2] = 1
    ) -> None:
        super().__init__()
        if min(channels, width) < 1:
            raise ValueError(f"channels {channels} and width {width} must be at least 1")
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        steps = stride * 2 ** (len(widths) - 1)
        if size < steps or size % steps:
            raise ValueError(f"size is {size}, legal are multiples of {steps}, the critic's stride")
        self.slice_shape = (channels, size, size)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1),
            *(CriticBlock(before, after) for before, after in pairwise(widths)),
            nn.Flatten(),
        )
        self.score = nn.Linear(widths[-1] * (size // steps) ** 2, 1)

    def forward(self, slices: Float[Tensor, "b c H W"]) -> Judgement:
        """Return score and features."""
        features = self.features(slices)
        return Judgement(self.score(features).squeeze(1), features)


def gradient_penalty(
    score: Callable[[Tensor], Tensor],
    real: Float[Tensor, "b c H W"],
    fake: Float[Tensor, "b c H W"],
) -> Float[Tensor, " b"]:
    """(||dD(m)/dm||_2 - 1)^2 with m = x + u (y - x), one u ~ U(0, 1) and one norm a slice.

    score : of slices, one a slice, of that slice alone. Differentiable in the score's weights. A
    norm along one image axis only, as some published code has it, is another and weaker bound.

    >>> slope = torch.full((1, 1, 2, 2), 1.5)  # of norm 3, so (3 - 1)^2
    >>> real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    >>> gradient_penalty(lambda slices: (slope * slices).sum(dim=(1, 2, 3)), real, fake).tolist()
    [4.0, 4.0]
    """
    share = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    between = (real + share * (fake - real)).detach().requires_grad_()
    # No slice's score depends on another slice, so the sum's gradient holds each one's own.
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square()


def frozen(module: nn.Module) -> Callable[..., Any]:
    """Return the module as a function: gradients pass through it, none stay with its weights.

    They stay None, not zero, so that Adam leaves the weights and their moments alone. Buffers are
    the module's own: put a batch norm into eval mode to keep them.
    """
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    return partial(functional_call, module, weights)
