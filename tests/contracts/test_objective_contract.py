"""What every attention, constraint and penalty promises."""

import pytest
import torch

from wholesight.attention import ATTENTIONS, NORMALISATIONS
from wholesight.objective.constraints import CONSTRAINTS
from wholesight.objective.losses import RECONSTRUCTIONS
from wholesight.objective.penalties import PENALTIES


def body(b: int = 3, side: int = 8) -> torch.Tensor:
    inside = torch.zeros(b, side, side, dtype=torch.bool)
    inside[:, 2:, 1:-1] = True
    return inside


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_one_map_a_slice_that_can_be_trained_through(name):
    torch.manual_seed(0)
    weights = torch.randn(5, requires_grad=True)
    base = torch.rand(3, 5, 8, 8)
    features = base * weights.view(1, 5, 1, 1)
    found = ATTENTIONS[name]()(features, features.square().sum(), differentiable=True)
    assert found.shape == (3, 8, 8)
    (gradient,) = torch.autograd.grad(found.sum(), weights)
    assert gradient.abs().min() > 0
    features = base * weights.view(1, 5, 1, 1)
    still = ATTENTIONS[name]()(features, features.square().sum(), differentiable=False)
    torch.testing.assert_close(still.detach(), found.detach())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_normalisation_keeps_shape_and_order_within_a_slice(name):
    torch.manual_seed(0)
    attention = torch.rand(3, 8, 8) + 0.5
    found = NORMALISATIONS[name](attention, body())
    assert found.shape == attention.shape
    for before, after in zip(attention.flatten(1), found.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_is_one_number_a_slice_satisfied_by_full_attention(name):
    constraint = CONSTRAINTS[name]()
    full = constraint.violation(torch.ones(3, 8, 8), body())
    none = constraint.violation(torch.zeros(3, 8, 8), body())
    assert full.shape == (3,)
    assert (full <= 0).all()
    assert (none > 0).all()
    attention = torch.full((3, 8, 8), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(constraint.violation(attention, body()).sum(), attention)
    # More attention in the body never violates it more, and somewhere it helps.
    assert (gradient[body()] <= 0).all()
    assert gradient[body()].min() < 0


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_does_not_depend_on_the_other_slices(name):
    torch.manual_seed(0)
    attention, constraint = torch.rand(3, 8, 8), CONSTRAINTS[name]()
    together = constraint.violation(attention, body())
    alone = torch.cat([constraint.violation(attention[n : n + 1], body(1)) for n in range(3)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("epoch", [0.0, 7.5, 300.0])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_finite_and_never_falls_with_the_violation(name, epoch):
    violation = torch.linspace(-1, 1, 401, requires_grad=True)
    cost = PENALTIES[name]().cost(violation, epoch)
    assert cost.shape == violation.shape
    assert torch.isfinite(cost).all()
    assert (cost.diff() >= -1e-5).all()
    (gradient,) = torch.autograd.grad(cost.sum(), violation)
    assert torch.isfinite(gradient).all()
    assert gradient[-1] > 0


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_a_reconstruction_loss_is_lowest_at_the_slice_itself(name):
    torch.manual_seed(0)
    slices = torch.rand(3, 1, 8, 8) * 0.9 + 0.05
    best = RECONSTRUCTIONS[name](torch.logit(slices), slices)
    other = RECONSTRUCTIONS[name](torch.logit(slices) + 0.3 * torch.randn_like(slices), slices)
    assert best.shape == (3,)
    assert (other > best).all()
