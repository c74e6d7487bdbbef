"""The barrier, the constraint and the ELBO against answers known from elsewhere."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from wholesight.objective.constraints import Coverage
from wholesight.objective.losses import bernoulli, gaussian, kl_divergence
from wholesight.objective.penalties import LogBarrier


def minimise(t: float, *, growth: float = 1.0) -> torch.Tensor:
    """The point nearest to the origin under the constraint x + y >= 1."""
    point = torch.tensor([2.0, -0.5], dtype=torch.float64, requires_grad=True)
    barrier = LogBarrier(t=t, growth=growth)
    optimiser = torch.optim.Adam([point], lr=0.01)
    for step in range(6000):
        optimiser.zero_grad()
        violation = (1 - point.sum())[None]
        (point.square().sum() + barrier.cost(violation, step / 100).sum()).backward()
        optimiser.step()
        if step == 4000:
            optimiser.param_groups[0]["lr"] = 0.0005
    return point.detach()


def test_barrier_finds_the_constrained_minimum():
    """The closest point of x + y >= 1 to the origin is (1/2, 1/2); the barrier's is just inside."""
    t = 500.0
    point = minimise(t)
    # On the diagonal s = x + y minimises s^2/2 - log(s - 1)/t: s (s - 1) = 1/t.
    s = (1 + math.sqrt(1 + 4 / t)) / 2
    torch.testing.assert_close(point, torch.tensor([s / 2, s / 2]).double(), atol=1e-4, rtol=0)
    assert abs(point - 0.5).max() < 2e-3


@pytest.mark.slow
def test_growing_t_comes_nearer_to_the_hard_constraint():
    assert (minimise(20.0, growth=1.1) - 0.5).abs().max() < (minimise(20.0) - 0.5).abs().max()


@pytest.mark.parametrize("t", [0.5, 1.0, 5.0, 20.0, 100.0])
def test_barrier_is_once_continuously_differentiable_at_the_joint(t):
    joint = -1 / t**2
    around = torch.tensor([joint * (1 + 1e-9), joint * (1 - 1e-9)], dtype=torch.float64)
    around.requires_grad_()
    cost = LogBarrier(t=t).cost(around, 0.0)
    (slope,) = torch.autograd.grad(cost.sum(), around)
    assert abs(cost[0] - cost[1]) < 1e-8
    assert abs(slope[0] - slope[1]) < 1e-6 * t
    assert slope[1].item() == pytest.approx(t)


def test_barrier_is_finite_with_finite_gradient_everywhere():
    violation = torch.tensor([-1.0, -0.2, -1e-9, 0.0, 0.3, 1.0], requires_grad=True)
    cost = LogBarrier(t=20.0).cost(violation, 0.0)
    (slope,) = torch.autograd.grad(cost.sum(), violation)
    assert torch.isfinite(cost).all()
    assert torch.isfinite(slope).all()


def test_coverage_over_image_and_body():
    attention = torch.zeros(1, 4, 4)
    attention[:, :2] = 1.0
    inside = torch.zeros(1, 4, 4, dtype=torch.bool)
    inside[:, :2] = True
    assert Coverage(p=0.2).violation(attention, inside).item() == pytest.approx(0.3)
    body = Coverage(p=0.2, scope="body").violation(attention, inside)
    assert body.item() == pytest.approx(-0.2)
    nobody = Coverage(p=0.2, scope="body").violation(attention, inside & False)
    assert nobody.item() == pytest.approx(0.8)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1])
def test_coverage_refuses_an_impossible_share(p):
    with pytest.raises(ValueError, match="0 < p < 1"):
        Coverage(p=p)


def test_kl_equals_torch():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(4, 8), torch.randn(4, 8)
    expected = torch_kl(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)


def test_reconstructions_are_log_likelihoods_up_to_a_constant():
    torch.manual_seed(0)
    logits, slices = torch.randn(2, 1, 3, 3), torch.rand(2, 1, 3, 3).round()
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(slices).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli(logits, slices), expected)
    expected = -Normal(logits.sigmoid(), 1.0).log_prob(slices).sum((1, 2, 3))
    constant = 9 * 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian(logits, slices), expected - constant)
