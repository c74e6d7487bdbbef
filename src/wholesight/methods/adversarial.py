"""What methods with a critic share: whose turn it is, and the critic's side of the game.

Axes: b slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wholesight.methods.method import LossTerms
from wholesight.nn.critic import Judgement, gradient_penalty


class Turns(nn.Module):
    """`critic_steps` steps of the critic, then one of its opponent, and again.

    The count is a buffer, so a checkpoint keeps it and a resumed training goes on in turn.
    """

    taken: Tensor

    def __init__(self, *, critic_steps: int) -> None:
        super().__init__()
        if critic_steps < 1:
            raise ValueError(f"critic_steps is {critic_steps}, legal is 1 or more")
        self.critic_steps = critic_steps
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def take(self) -> bool:
        """Return whether this step is the critic's; in training mode, count it."""
        critics = int(self.taken) % (self.critic_steps + 1) < self.critic_steps
        if self.training:
            self.taken += 1
        return critics


def critic_loss(
    critic: Callable[[Tensor], Judgement],
    real: Float[Tensor, "b c H W"],
    fake: Float[Tensor, "b c H W"],
    *,
    penalty_weight: float,
) -> LossTerms:
    """E[D(fake)] - E[D(real)] + penalty_weight E[(||dD||_2 - 1)^2], for the critic alone.

    fake : without a graph, so that its maker gets no gradient. wasserstein : the estimate of the
    distance between real and made slices, E[D(real)] - E[D(fake)], in units of the slices.
    """
    distance = critic(real).score.mean() - critic(fake).score.mean()
    slope = gradient_penalty(lambda slices: critic(slices).score, real, fake)
    penalty = penalty_weight * slope.mean()
    total = penalty - distance
    return LossTerms(total, {"critic": total, "wasserstein": distance, "penalty": penalty})


def require_one_size(network: tuple[int, int, int], critic: tuple[int, int, int]) -> None:
    """Raise ValueError unless both take slices of the same (channels, height, width)."""
    if network != critic:
        raise ValueError(f"critic takes slices of {critic}, legal is the network's {network}")


def require_weights(**weights: float) -> None:
    """Raise ValueError for a weight below 0, by its name."""
    for name, weight in weights.items():
        if not weight >= 0:
            raise ValueError(f"{name} is {weight}, legal is 0 or more")
