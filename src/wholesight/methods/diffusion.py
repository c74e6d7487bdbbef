"""Diffusion: drown a slice in noise half-way, let a network bring it back as a normal one.

Axes: b slices, c channels, H W slice pixels. Times t count noising steps: 0 is the slice itself.
Reference: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, 2006.11239.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wholesight.methods.method import LossTerms, Method
from wholesight.methods.residual import Residual
from wholesight.nn.noise import Noise
from wholesight.nn.unet import ConditionedUNet

# The published schedule's first and last beta, for this many timesteps; with fewer, more of each.
_FIRST_BETA, _LAST_BETA, _TIMESTEPS = 1e-4, 0.02, 1000
_FEWEST_TIMESTEPS = int(_LAST_BETA * _TIMESTEPS) + 1
# The noise of maps: every slice gets the same, so a map depends on its slice alone.
_SEED = 2022


class Diffusion(Method):
    """loss = mean (network(x_t, t) - n)^2, x_t = q(x_t|x_0) with noise n, t uniform in 1 .. depth.

    Map: x_depth is drawn once, brought back to t = 0 in `steps` steps of q(x_s|x_t, x_0), x_0 as
    the network sees it, and compared with the slice. The noise, here and in every step, comes
    from a fixed seed and is the same for all slices. The loss is a mean over pixels, 1 for a
    network that finds nothing (the published weighting, no likelihood).

    timesteps : of the whole schedule, beta linear from 1e-4 to 0.02 per thousand. depth : the time
    to which slices are noised; deeper times are never used, so they are not trained. steps : on
    the way back, `depth` for every one. samples : ways back whose mean is the reconstruction.
    """

    reference: ClassVar[str] = (
        "Wyatt, Leach, Schmon, Willcocks: AnoDDPM: anomaly detection with denoising diffusion "
        "probabilistic models using simplex noise. CVPR Workshops 2022."
    )
    unit_range = True
    needs: ClassVar[str] = (
        "normal slices; slow: a map takes one pass for every step of the way back"
    )
    alpha_bar: Float[Tensor, " times"]

    def __init__(
        self,
        *,
        network: ConditionedUNet,
        noise: Noise,
        residual: Residual,
        timesteps: int = 1000,
        depth: int = 200,
        steps: int = 200,
        samples: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < depth <= timesteps:
            raise ValueError(f"depth is {depth}, legal is 0 < depth <= timesteps, {timesteps}")
        if not 0 < steps <= depth:
            raise ValueError(f"steps is {steps}, legal is 0 < steps <= depth, {depth}")
        if samples < 1:
            raise ValueError(f"samples is {samples}, legal is 1 or more")
        self.network = network
        self.slice_shape = network.slice_shape
        self.noise = noise
        self.residual = residual
        self.depth = depth
        self.times = [round(depth * (1 - step / steps)) for step in range(steps + 1)]
        self.samples = samples
        # Known from the options, so no part of a saved model.
        self.register_buffer("alpha_bar", linear_alpha_bar(timesteps), persistent=False)

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        # Drawn on the CPU, so that every device sees the same.
        times = torch.randint(1, self.depth + 1, (len(slices),)).to(slices.device)
        noise = self.noise.draw(slices.shape).to(slices)
        noisy = noised(_centred(slices), noise, self.alpha_bar[times, None, None, None])
        error = (self.network(noisy, times.to(slices)) - noise).square().mean()
        return LossTerms(error, {"noise": error})

    @torch.no_grad()
    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        generator = torch.Generator().manual_seed(_SEED)
        total = torch.zeros_like(slices)
        for _ in range(self.samples):
            total += self.there_and_back(_centred(slices), generator)
        return self.residual(slices, (total / self.samples + 1) / 2, inside)

    def there_and_back(
        self, signal: Float[Tensor, "b c H W"], generator: torch.Generator
    ) -> Float[Tensor, "b c H W"]:
        """Noise a signal in [-1, 1] to `depth` and take the noise away again, step by step."""
        shape = (1, *signal.shape[1:])
        x = noised(signal, self.noise.draw(shape, generator).to(signal), self.alpha_bar[self.depth])
        for time, earlier in pairwise(self.times):
            noise = self.network(x, x.new_full((len(x),), time))
            seen = denoised(x, noise, self.alpha_bar[time]).clamp(-1, 1)
            step = posterior(seen, x, self.alpha_bar[time], self.alpha_bar[earlier])
            fresh = self.noise.draw(shape, generator).to(x)
            x = step.mean + step.variance.sqrt() * fresh
        return x


class Posterior(NamedTuple):
    """q(x_s|x_t, x_0), a Gaussian: mean of each pixel, and the variance that all share."""

    mean: Float[Tensor, "b c H W"]
    variance: Float[Tensor, ""]


def linear_alpha_bar(timesteps: int) -> Float[Tensor, " times"]:
    """Return alpha_bar_t, the share of the signal's power that is left at t = 0 .. timesteps.

    alpha_bar_t = product of 1 - beta up to t, beta linear from 1e-4 to 0.02 in 1000 steps; with
    other numbers of steps scaled, so that as much is left at the end. Raises ValueError for so few
    steps that a beta is 1.
    """
    if timesteps < _FEWEST_TIMESTEPS:
        raise ValueError(f"timesteps is {timesteps}, legal is {_FEWEST_TIMESTEPS} or more")
    scale = _TIMESTEPS / timesteps
    beta = scale * torch.linspace(_FIRST_BETA, _LAST_BETA, timesteps, dtype=torch.float64)
    return torch.cat([torch.ones(1), (1 - beta).cumprod(dim=0)]).float()


def noised(
    signal: Float[Tensor, "b c H W"],
    noise: Float[Tensor, "#b c H W"],
    alpha_bar: Float[Tensor, ...],
) -> Float[Tensor, "b c H W"]:
    """Return x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) n (Ho et al., eq. 4)."""
    return alpha_bar.sqrt() * signal + (1 - alpha_bar).sqrt() * noise


def denoised(
    x: Float[Tensor, "b c H W"], noise: Float[Tensor, "#b c H W"], alpha_bar: Float[Tensor, ""]
) -> Float[Tensor, "b c H W"]:
    """Return the x_0 that this noise has made into x_t: the inverse of `noised`."""
    return (x - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()


def posterior(
    signal: Float[Tensor, "b c H W"],
    x: Float[Tensor, "b c H W"],
    alpha_bar: Float[Tensor, ""],
    alpha_bar_earlier: Float[Tensor, ""],
) -> Posterior:
    """Return q(x_s|x_t, x_0) for s < t (Ho et al., eq. 6 and 7, there s = t - 1).

    With alpha = alpha_bar_t / alpha_bar_s and beta = 1 - alpha, mean and variance are
    (sqrt(alpha_bar_s) beta x_0 + sqrt(alpha) (1 - alpha_bar_s) x_t) / (1 - alpha_bar_t) and
    beta (1 - alpha_bar_s) / (1 - alpha_bar_t). At s = 0 that is x_0 itself.
    """
    alpha = alpha_bar / alpha_bar_earlier
    left = (1 - alpha_bar_earlier) / (1 - alpha_bar)
    mean = alpha_bar_earlier.sqrt() * (1 - alpha) / (1 - alpha_bar) * signal
    return Posterior(mean + alpha.sqrt() * left * x, (1 - alpha) * left)


def _centred(slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """Bring slices from [0, 1] to [-1, 1], where unit noise has the size of the signal."""
    return 2 * slices - 1
