"""What every attention, target, constraint and penalty promises."""

import pytest
import torch

from wholesight.attention import ATTENTIONS, NORMALISATIONS, TARGETS, UPSAMPLINGS
from wholesight.objective.constraints import CONSTRAINTS
from wholesight.objective.losses import RECONSTRUCTIONS
from wholesight.objective.penalties import PENALTIES, LogBarrier, Quadratic


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


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_of_a_slice_does_not_depend_on_the_other_slices(name):
    torch.manual_seed(0)
    base = torch.randn(3, 5, 4, 4)
    features = base.clone().requires_grad_()
    together = ATTENTIONS[name]()(features, features.square().sum(), differentiable=False)
    one = base[1:2].clone().requires_grad_()
    alone = ATTENTIONS[name]()(one, one.square().sum(), differentiable=False)
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_several_maps_can_be_made_of_one_score(name):
    first = torch.rand(2, 5, 8, 8, requires_grad=True)
    second = first * 2
    score = second.square().sum()
    for features in (first, second, first):
        assert ATTENTIONS[name]()(features, score, differentiable=False).shape == (2, 8, 8)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_a_sum_over_slices_of_what_each_slice_says(name):
    torch.manual_seed(0)
    mean = torch.randn(4, 6, requires_grad=True)
    target = TARGETS[name]()
    together = target(mean)
    assert together.shape == ()
    torch.testing.assert_close(together, sum(target(mean[n : n + 1]) for n in range(4)))
    (gradient,) = torch.autograd.grad(together, mean)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().amax(dim=1) > 0).all()
    target.require_in(6)


@pytest.mark.parametrize("name", UPSAMPLINGS)
def test_an_upsampling_keeps_a_constant_and_stays_between_the_extremes(name):
    torch.manual_seed(0)
    attention = torch.rand(2, 4, 4)
    large = UPSAMPLINGS[name](attention, 4)
    assert large.shape == (2, 16, 16)
    assert (large.amin((1, 2)) >= attention.amin((1, 2)) - 1e-6).all()
    assert (large.amax((1, 2)) <= attention.amax((1, 2)) + 1e-6).all()
    constant = UPSAMPLINGS[name](torch.ones(1, 4, 4), 4)
    torch.testing.assert_close(constant, torch.ones(1, 16, 16))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_normalisation_keeps_shape_and_order_within_a_slice(name):
    torch.manual_seed(0)
    attention = torch.rand(3, 8, 8) + 0.5
    found = NORMALISATIONS[name](attention, body())
    assert found.shape == attention.shape
    for before, after in zip(attention.flatten(1), found.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= 0).all()


# Constraints on how much attention there is, and on how it is spread.
ON_THE_LEVEL = [name for name, constraint in CONSTRAINTS.items() if constraint.squashed]
ON_THE_SPREAD = [name for name, constraint in CONSTRAINTS.items() if not constraint.squashed]


@pytest.mark.parametrize("name", ON_THE_LEVEL)
def test_full_attention_satisfies_and_more_of_it_never_violates_more(name):
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


@pytest.mark.parametrize("name", ON_THE_SPREAD)
def test_even_attention_satisfies_whatever_its_level_and_a_hot_spot_does_not(name):
    constraint = CONSTRAINTS[name]()
    for level in (-3.0, 0.0, 40.0):
        even = constraint.violation(torch.full((3, 8, 8), level), body())
        assert even.shape == (3,)
        assert (even <= 0).all()
    attention = torch.zeros(3, 8, 8)
    attention[:, 4, 4] = 5.0
    attention.requires_grad_()
    violation = constraint.violation(attention, body())
    assert (violation > 0).all()
    (gradient,) = torch.autograd.grad(violation.sum(), attention)
    assert (gradient[:, 4, 4] > 0).all()


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_no_attention_goes_below_the_lowest_violation_that_a_constraint_states(name):
    """And what it states can be reached: by full attention, which is also even."""
    constraint = CONSTRAINTS[name]()
    torch.manual_seed(0)
    pixels = int(body(1).sum()) if getattr(constraint, "scope", "image") == "body" else 64
    lowest = constraint.lowest(pixels)
    for _ in range(20):
        attention = torch.rand(3, 8, 8)
        assert (constraint.violation(attention, body()) >= lowest - 1e-5).all()
    reached = constraint.violation(torch.ones(3, 8, 8), body())
    torch.testing.assert_close(reached, torch.full((3,), lowest))
    assert constraint.lowest(pixels + 100) <= lowest
    assert constraint.more_slack


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_does_not_depend_on_the_other_slices(name):
    torch.manual_seed(0)
    attention, constraint = torch.rand(3, 8, 8), CONSTRAINTS[name]()
    together = constraint.violation(attention, body())
    alone = torch.cat([constraint.violation(attention[n : n + 1], body(1)) for n in range(3)])
    torch.testing.assert_close(together, alone)


EQUALITIES = {
    "absolute": PENALTIES["absolute"](),
    "quadratic, equality": Quadratic(equality=True),
}
INEQUALITIES = {
    **{name: kind() for name, kind in PENALTIES.items() if name not in EQUALITIES},
    "log-barrier, growing": LogBarrier(growth=1.1),
}


@pytest.mark.parametrize("epoch", [0.0, 10.0, 300.0])
@pytest.mark.parametrize("name", INEQUALITIES)
def test_a_penalty_is_finite_and_never_falls_with_the_violation(name, epoch):
    penalty = INEQUALITIES[name]
    assert not penalty.equality
    violation = torch.linspace(-1, 1, 401, requires_grad=True)
    cost = penalty.cost(violation, epoch)
    assert cost.shape == violation.shape
    assert torch.isfinite(cost).all()
    assert (cost.diff() >= -1e-5).all()
    (gradient,) = torch.autograd.grad(cost.sum(), violation)
    assert torch.isfinite(gradient).all()
    assert gradient[-1] > 0


@pytest.mark.parametrize("name", EQUALITIES)
def test_an_equality_is_finite_lowest_at_zero_and_symmetric(name):
    penalty = EQUALITIES[name]
    assert penalty.equality
    violation = torch.linspace(-1, 1, 401)
    cost = penalty.cost(violation, 0.0)
    assert torch.isfinite(cost).all()
    assert cost.argmin() == 200
    torch.testing.assert_close(cost, cost.flip(0))
    assert (cost[200:].diff() > 0).all()


def test_every_penalty_is_one_or_the_other():
    for name, kind in PENALTIES.items():
        assert (name in EQUALITIES) == kind().equality


@pytest.mark.parametrize("name", PENALTIES)
def test_the_cost_of_a_slice_does_not_depend_on_the_other_slices(name):
    penalty = PENALTIES[name]()
    penalty.learn(torch.tensor([0.5]))
    violation = torch.tensor([-0.4, 0.1, 0.7])
    together = penalty.cost(violation, 0.0)
    alone = torch.cat([penalty.cost(violation[n : n + 1], 0.0) for n in range(3)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", PENALTIES)
def test_what_a_penalty_logs_is_scalar_and_its_state_goes_through_a_file(name):
    penalty, other = PENALTIES[name](), PENALTIES[name]()
    violation = torch.tensor([-0.4, 0.1, 0.7])
    for _ in range(3):
        penalty.learn(violation)
    assert all(part.shape == () for part in penalty.logged(violation, 0.0).values())
    assert not list(penalty.parameters())
    other.load_state_dict(penalty.state_dict())
    torch.testing.assert_close(other.cost(violation, 2.0), penalty.cost(violation, 2.0))


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_a_reconstruction_loss_is_lowest_at_the_slice_itself(name):
    torch.manual_seed(0)
    slices = torch.rand(3, 1, 8, 8) * 0.9 + 0.05
    best = RECONSTRUCTIONS[name](torch.logit(slices), slices)
    other = RECONSTRUCTIONS[name](torch.logit(slices) + 0.3 * torch.randn_like(slices), slices)
    assert best.shape == (3,)
    assert (other > best).all()
