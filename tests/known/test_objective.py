"""The barrier, the constraint and the ELBO against answers known from elsewhere."""

import math
import sys

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from wholesight.objective.constraints import (
    Coverage,
    Evenness,
    PixelwiseEquality,
    QuantileCoverage,
    RegionalCoverage,
)
from wholesight.objective.losses import bernoulli, gaussian, kl_divergence
from wholesight.objective.multiplier import Multiplier
from wholesight.objective.penalties import Absolute, Hinge, Linear, LogBarrier, Quadratic
from wholesight.objective.penalty import Penalty


def minimise(penalty: Penalty, *, weight: float = 1.0, steps: int = 6000) -> torch.Tensor:
    """The point nearest to the origin under the constraint x + y >= 1, whose multiplier is 1."""
    point = torch.tensor([2.0, -0.5], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([point], lr=60 / steps)
    for step in range(steps):
        optimiser.zero_grad()
        violation = (1 - point.sum())[None]
        cost = weight * penalty.cost(violation, 60 * step / steps).sum()
        (point.square().sum() + cost).backward()
        penalty.learn(violation.detach())
        optimiser.step()
        if step == steps * 2 // 3:
            optimiser.param_groups[0]["lr"] = 3 / steps
    return point.detach()


@pytest.mark.slow
def test_barrier_finds_the_constrained_minimum():
    """The closest point of x + y >= 1 to the origin is (1/2, 1/2); the barrier's is just inside."""
    t = 500.0
    point = minimise(LogBarrier(t=t))
    # On the diagonal s = x + y minimises s^2/2 - log(s - 1)/t: s (s - 1) = 1/t.
    s = (1 + math.sqrt(1 + 4 / t)) / 2
    torch.testing.assert_close(point, torch.tensor([s / 2, s / 2]).double(), atol=1e-4, rtol=0)
    assert abs(point - 0.5).max() < 2e-3


@pytest.mark.slow
def test_growing_t_comes_nearer_to_the_hard_constraint():
    still, growing = minimise(LogBarrier(t=20.0)), minimise(LogBarrier(t=20.0, growth=1.1))
    assert (growing - 0.5).abs().max() < (still - 0.5).abs().max()


@pytest.mark.slow
def test_hinge_finds_the_constrained_minimum_when_it_outweighs_the_multiplier():
    """An exact penalty: with a weight above the Lagrange multiplier, 1, nothing is left over."""
    assert (minimise(Hinge(), weight=3.0, steps=1500) - 0.5).abs().max() < 2e-3
    # Below it, x^2 + y^2 + w (1 - x - y) is lowest at x = y = w / 2.
    assert (minimise(Hinge(), weight=0.5, steps=600) - 0.25).abs().max() < 1e-4


def test_quadratic_leaves_a_violation_that_shrinks_with_its_weight():
    """2 x = 2 w (1 - 2 x), so x = w / (1 + 2 w)."""
    for weight in (1.0, 10.0):
        expected = weight / (1 + 2 * weight)
        assert (minimise(Quadratic(), weight=weight, steps=600) - expected).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [1.0, 0.1])
def test_multiplier_finds_the_minimum_and_the_lagrange_multiplier(curvature):
    """At (1/2, 1/2) the gradient (1, 1) of x^2 + y^2 is 1 times that of x + y."""
    penalty = Multiplier(step=0.05, curvature=curvature).double()
    assert (minimise(penalty, steps=600) - 0.5).abs().max() < 1e-3
    assert penalty.multiplier.item() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.slow
def test_multiplier_takes_back_what_the_weight_gives():
    penalty = Multiplier(step=0.02).double()
    assert (minimise(penalty, weight=4.0, steps=600) - 0.5).abs().max() < 1e-3
    assert penalty.multiplier.item() == pytest.approx(0.25, abs=2e-3)


def test_multiplier_by_hand():
    penalty = Multiplier(step=0.5, curvature=2.0)
    violation = torch.tensor([0.3, -0.1, -0.4])
    # m = 0: only what is violated costs, c g^2 / 2.
    torch.testing.assert_close(penalty.cost(violation, 0.0), torch.tensor([0.09, 0.0, 0.0]))
    penalty.learn(torch.tensor([0.3, 0.1]))
    assert penalty.multiplier.item() == pytest.approx(0.1)
    # m = 0.1: (max(0, .1 + 2 g)^2 - .01) / 4; the last two have m + c g <= 0.
    expected = torch.tensor([(0.7**2 - 0.01) / 4, -0.0025, -0.0025])
    torch.testing.assert_close(penalty.cost(violation, 0.0), expected)
    penalty.learn(torch.tensor([-5.0, -5.0]))
    assert penalty.multiplier.item() == 0  # never negative
    assert penalty.logged(violation, 0.0)["multiplier"] == 0


def test_multiplier_without_curvature_is_the_plain_lagrangian():
    penalty = Multiplier(step=1.0, curvature=0.0)
    penalty.learn(torch.tensor([0.5]))
    violation = torch.tensor([0.3, -0.2])
    torch.testing.assert_close(penalty.cost(violation, 0.0), 0.5 * violation)


def test_multiplier_is_state_and_no_parameter():
    penalty = Multiplier(step=1.0)
    penalty.learn(torch.tensor([0.25]))
    assert list(penalty.parameters()) == []
    other = Multiplier(step=1.0)
    other.load_state_dict(penalty.state_dict())
    assert other.multiplier.item() == 0.25


def test_multiplier_says_how_to_get_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "cooper", None)  # as if it were not installed
    with pytest.raises(ValueError, match="pip install cooper-optim"):
        Multiplier()


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


@pytest.mark.parametrize(
    ("t", "growth", "epoch"),
    [
        *((20.0, 1.0, 0.0), (1e-6, 1.0, 0.0), (1e6, 1.0, 300.0)),
        *((20.0, growth, epoch) for growth in (1.1, 1.5, 20.0) for epoch in (0.0, 10.0, 300.0)),
        *((1e-6, growth, 300.0) for growth in (1.5, 20.0, 1e300)),
    ],
)
def test_barrier_is_finite_with_finite_gradient_everywhere(t, growth, epoch):
    violation = torch.tensor([-1.0, -0.2, -1e-9, -1e-12, 0.0, 0.3, 1.0], requires_grad=True)
    barrier = LogBarrier(t=t, growth=growth)
    cost = barrier.cost(violation, epoch)
    (slope,) = torch.autograd.grad(cost.sum(), violation)
    assert torch.isfinite(cost).all()
    assert torch.isfinite(slope).all()
    # Convex, and steepest where it is a tangent.
    assert (slope.diff() >= 0).all()
    assert slope[-1].item() == pytest.approx(barrier.sharpness(epoch))


def test_sharpness_grows_by_its_factor_and_stays_at_a_million():
    barrier = LogBarrier(t=20.0, growth=1.5)
    for epoch in (0.0, 0.5, 1.0, 7.25, 26.0):
        assert barrier.sharpness(epoch) == pytest.approx(20 * 1.5**epoch)
    # log(1e6 / 20) / log(1.5) = 26.7
    for growth, epoch in ((1.5, 27.0), (1.5, 300.0), (20.0, 300.0), (1e300, 300.0)):
        assert LogBarrier(t=20.0, growth=growth).sharpness(epoch) == 1e6
    assert LogBarrier(t=20.0).sharpness(300.0) == 20.0


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


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Coverage, {"p": 0.0}),
        (Coverage, {"p": 1.0}),
        (Coverage, {"p": -0.1}),
        (QuantileCoverage, {"q": 0.0}),
        (QuantileCoverage, {"q": 1.0}),
        (QuantileCoverage, {"bound": 0.0}),
        (QuantileCoverage, {"bound": 1.0}),
        (RegionalCoverage, {"regions": 0}),
        (RegionalCoverage, {"regions": 65}),
        (RegionalCoverage, {"p": 1.0}),
        (Evenness, {"share": 0.0}),
        (Evenness, {"share": 1.01}),
        (PixelwiseEquality, {"target": 0.0}),
        (PixelwiseEquality, {"target": 1.1}),
        (LogBarrier, {"t": 0.0}),
        (LogBarrier, {"t": 0.9e-6}),
        (LogBarrier, {"t": 1.1e6}),
        (LogBarrier, {"t": math.nan}),
        (LogBarrier, {"growth": 0.9}),
        (LogBarrier, {"growth": math.inf}),
        (LogBarrier, {"growth": math.nan}),
        (Multiplier, {"step": 0.0}),
        (Multiplier, {"step": math.nan}),
        (Multiplier, {"curvature": -1.0}),
        (Multiplier, {"curvature": math.nan}),
    ],
)
def test_an_impossible_option_is_refused_by_name(cls, options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"^{name} is .*legal"):
        cls(**options)


def a_hot_spot_and_a_hole() -> tuple[torch.Tensor, torch.Tensor]:
    """Attention 1 but for a quarter of the body at 0.3."""
    attention = torch.ones(1, 8, 8)
    attention[:, :4, :4] = 0.3
    return attention, torch.ones(1, 8, 8, dtype=torch.bool)


def test_a_hot_spot_pays_for_a_hole_in_the_mean_and_not_in_the_quantile_or_the_regions():
    attention, inside = a_hot_spot_and_a_hole()
    assert Coverage(p=0.2).violation(attention, inside).item() == pytest.approx(-0.025)
    quantile = QuantileCoverage(q=0.1, bound=0.7).violation(attention, inside)
    assert quantile.item() == pytest.approx(0.4)
    regional = RegionalCoverage(regions=2, p=0.2).violation(attention, inside)
    assert regional.item() == pytest.approx(0.5)
    # With one region there is only the mean.
    one = RegionalCoverage(regions=1, p=0.2).violation(attention, inside)
    assert one.item() == pytest.approx(-0.025)


def test_a_quantile_is_numpys_in_the_body_alone():
    attention = torch.arange(16.0).view(1, 4, 4) / 16
    inside = torch.zeros(1, 4, 4, dtype=torch.bool)
    inside[:, 1:, :] = True  # 4/16 to 15/16
    found = QuantileCoverage(q=0.25, bound=0.5).violation(attention, inside)
    assert found.item() == pytest.approx(0.5 - (4 + 0.25 * 11) / 16)
    found = QuantileCoverage(q=0.25, bound=0.5, scope="image").violation(attention, inside)
    assert found.item() == pytest.approx(0.5 - 0.25 * 15 / 16)


def test_regions_lie_over_the_bodys_bounding_box():
    """The body is 4 x 4 in a corner: 2 x 2 regions of 2 x 2 pixels, wherever the image ends."""
    attention = torch.zeros(1, 9, 9)
    inside = torch.zeros(1, 9, 9, dtype=torch.bool)
    inside[:, 5:, 5:] = True
    attention[:, 5:, 5:] = 1.0
    attention[:, 5:7, 7:9] = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    found = RegionalCoverage(regions=2, p=0.2).violation(attention, inside)
    assert found.item() == pytest.approx(0.3)
    whole = RegionalCoverage(regions=3, p=0.2, scope="image").violation(attention, inside)
    assert whole.item() == pytest.approx(0.8)


def test_regions_that_hold_hardly_any_body_are_left_out():
    """An unattended pixel in the far corner stretches the box; its region is 1/16 full."""
    attention = torch.ones(1, 8, 8)
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    inside[:, :4, :4] = True
    inside[:, 7, 7] = True
    attention[:, 7, 7] = 0.0
    found = RegionalCoverage(regions=2, p=0.2).violation(attention, inside)
    assert found.item() == pytest.approx(-0.2)
    inside[:, 6, 7] = True  # 2/16: now it counts
    found = RegionalCoverage(regions=2, p=0.2).violation(attention, inside)
    assert found.item() == pytest.approx(0.3)


def test_a_thin_body_still_has_its_fullest_region():
    attention = torch.zeros(1, 64, 64)
    inside = torch.eye(64, dtype=torch.bool)[None]
    assert RegionalCoverage(regions=2).violation(attention, inside).item() == pytest.approx(0.8)


def test_more_regions_than_pixels():
    attention = torch.full((1, 4, 4), 0.5)
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    assert RegionalCoverage(regions=9).violation(attention, inside).item() == pytest.approx(0.3)


def test_evenness_by_hand():
    """Softmax of (log 3, 0) is (3/4, 1/4), whose entropy is 0.5623 nats, of log 2 = 0.6931."""
    attention = torch.tensor([[[math.log(3), 0.0, 50.0]]])
    inside = torch.tensor([[[True, True, False]]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    found = Evenness(share=0.9).violation(attention, inside)
    assert found.item() == pytest.approx(0.9 * math.log(2) - entropy, abs=1e-6)


def test_evenness_with_share_one_is_the_divergence_from_uniform():
    torch.manual_seed(0)
    attention = torch.randn(2, 4, 4)
    uniform = torch.distributions.Categorical(logits=torch.zeros(2, 16))
    expected = torch_kl(torch.distributions.Categorical(logits=attention.flatten(1)), uniform)
    found = Evenness(share=1.0, scope="image").violation(attention, attention > 9)
    torch.testing.assert_close(found, expected)


def test_a_step_down_the_linear_cost_of_evenness_raises_the_entropy():
    """The sign trap: an independent benchmark adds the entropy and so flattens nothing."""
    torch.manual_seed(0)
    attention = torch.randn(1, 4, 4, requires_grad=True)
    everywhere = torch.ones(1, 4, 4, dtype=torch.bool)
    cost = Linear().cost(Evenness().violation(attention, everywhere), 0.0).sum()
    (slope,) = torch.autograd.grad(cost, attention)

    def entropy(of: torch.Tensor) -> float:
        return torch.distributions.Categorical(logits=of.flatten()).entropy().item()

    assert entropy(attention.detach() - 0.1 * slope) > entropy(attention.detach()) + 1e-4


def test_pixelwise_equality_is_the_attention_expansion_loss():
    torch.manual_seed(0)
    attention = torch.rand(3, 4, 4)
    inside = torch.rand(3, 4, 4) > 0.5
    found = PixelwiseEquality().violation(attention, inside)
    torch.testing.assert_close(found, (1 - attention).mean((1, 2)))
    half = PixelwiseEquality(target=0.5, scope="body").violation(attention, inside)
    expected = torch.stack(
        [(a[i] - 0.5).abs().mean() for a, i in zip(attention, inside, strict=True)]
    )
    torch.testing.assert_close(half, expected)


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Coverage(p=0.2, scope="body"), 0.8),
        (QuantileCoverage(bound=0.7), 0.7),
        (RegionalCoverage(p=0.2), 0.8),
        (Evenness(), 0.0),
        (PixelwiseEquality(target=0.9, scope="body"), 0.9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_slice_without_a_body_has_the_stated_violation_and_no_gradient(constraint, expected):
    attention = torch.full((2, 4, 4), 0.5, requires_grad=True)
    inside = torch.ones(2, 4, 4, dtype=torch.bool)
    inside[1] = False
    found = constraint.violation(attention, inside)
    assert found[1].item() == pytest.approx(expected)
    (slope,) = torch.autograd.grad(found.sum(), attention)
    assert torch.isfinite(slope).all()
    assert slope[1].abs().max() == 0


def test_equality_penalties_by_hand():
    violation = torch.tensor([-0.5, 0.0, 0.5])
    assert Absolute().cost(violation, 0.0).tolist() == [0.5, 0.0, 0.5]
    assert Quadratic(equality=True).cost(violation, 0.0).tolist() == [0.25, 0.0, 0.25]
    # Published code has sqrt(g^2) for "l2", which is |g|: the same as its "l1".
    assert not torch.equal(Quadratic(equality=True).cost(violation, 0.0), violation.abs())


def test_log_branch_is_the_share_of_slices_beyond_the_joint():
    violation = torch.tensor([-0.5, -0.011, -0.009, 0.2])
    assert LogBarrier(t=10.0).logged(violation, 0.0)["log_branch"].item() == 0.5
    assert LogBarrier(t=10.0, growth=2.0).logged(violation, 1.0)["log_branch"].item() == 0.75


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
