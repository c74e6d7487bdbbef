"""Grad-CAM against finite differences, and the traps of published code."""

import torch
from torch import nn

from wholesight.attention import activation_mean, grad_cam, min_max, over_body_median


def score_of(features: torch.Tensor) -> torch.Tensor:
    """A score with a gradient that differs by channel, place and slice."""
    weights = torch.linspace(-1, 2, features[0].numel(), dtype=features.dtype)
    return (features.flatten(1).square() * weights).sum()


def test_importance_equals_finite_differences():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    step = 1e-6
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for b in range(2):
        for k in range(3):
            # A uniform shift of one channel changes the score by the sum of its gradient.
            shift = torch.zeros_like(features)
            shift[b, k] = step
            slope = (score_of(features + shift) - score_of(features - shift)) / (2 * step)
            expected[b] += slope.detach() / 20 * features[b, k].detach()
    found = grad_cam(features, score_of(features))
    torch.testing.assert_close(found.detach(), expected, rtol=1e-6, atol=1e-6)


def test_grad_cam_can_be_trained_through():
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 3, 3).double()
    image = torch.randn(2, 1, 6, 6, dtype=torch.float64)

    def coverage() -> torch.Tensor:
        features = layer(image)
        return grad_cam(features, score_of(features)).sigmoid().mean()

    (gradient,) = torch.autograd.grad(coverage(), layer.weight)
    with torch.no_grad():
        original = layer.weight[1, 0, 0, 0].item()
        slopes = []
        for sign in (1, -1):
            layer.weight[1, 0, 0, 0] = original + sign * 1e-6
            with torch.enable_grad():
                slopes.append(sign * coverage().item())
    assert abs(sum(slopes) / 2e-6 - gradient[1, 0, 0, 0].item()) < 1e-6


def test_grad_cam_depends_on_the_score_and_activation_mean_does_not():
    torch.manual_seed(0)
    features = torch.randn(1, 3, 4, 4, requires_grad=True)
    one = grad_cam(features, features[:, 0].sum())
    other = grad_cam(features, features[:, 1].sum())
    assert not torch.allclose(one, other)
    torch.testing.assert_close(activation_mean(features), features.mean(1))


def test_grad_cam_keeps_its_sign():
    features = torch.ones(1, 1, 2, 2, requires_grad=True)
    assert grad_cam(features, -features.sum()).max() < 0


def test_min_max_of_a_constant_slice_is_zero():
    everywhere = torch.ones(1, 2, 2, dtype=torch.bool)
    assert min_max(torch.full((1, 2, 2), 3.0), everywhere).abs().max() == 0


def test_body_median_leaves_healthy_slices_near_one_and_takes_out_their_scale():
    torch.manual_seed(0)
    attention = 1 + 0.05 * torch.randn(3, 16, 16)
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[:, :4] = False
    level = torch.tensor([0.5, 1.0, 30.0]).view(3, 1, 1)
    found = over_body_median(attention * level, inside)
    torch.testing.assert_close(found, over_body_median(attention, inside))
    assert (found[inside] - 1).abs().max() < 0.25
    lesion = attention.clone()
    lesion[:, 8:12, 8:12] *= 2
    assert over_body_median(lesion, inside)[:, 8:12, 8:12].mean() > 1.9


def test_body_median_of_a_slice_without_body_is_zero():
    nobody = torch.zeros(1, 2, 2, dtype=torch.bool)
    assert over_body_median(torch.ones(1, 2, 2), nobody).abs().max() == 0


def test_body_median_does_not_hide_a_broken_network():
    broken = torch.full((1, 2, 2), torch.nan)
    assert over_body_median(broken, torch.ones(1, 2, 2, dtype=torch.bool)).isnan().all()
