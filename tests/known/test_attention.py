"""Grad-CAM against finite differences, and the traps of published code."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from wholesight.attention import (
    LatentNorm,
    LatentSum,
    OneLatent,
    activation_mean,
    enlarged,
    enlarged_to_corners,
    grad_cam,
    hires_cam,
    min_max,
    over_body_median,
    row_maxima,
    shrunk,
    summed,
)


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


def test_hires_cam_is_grad_cam_where_the_gradient_is_the_same_everywhere():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 5, requires_grad=True)
    score = (features.sum((2, 3)) * torch.tensor([3.0, -1.0, 0.5])).sum()
    torch.testing.assert_close(hires_cam(features, score), grad_cam(features, score))
    elsewhere = score_of(features)
    assert not torch.allclose(hires_cam(features, elsewhere), grad_cam(features, elsewhere))


def test_hires_cam_keeps_the_place_that_grad_cam_forgets():
    """The score looks at one pixel; the features are the same at all."""
    features = torch.ones(1, 1, 3, 3, requires_grad=True)
    score = features[0, 0, 1, 2]
    assert hires_cam(features, score).nonzero().tolist() == [[0, 1, 2]]
    torch.testing.assert_close(grad_cam(features, score), torch.full((1, 3, 3), 1 / 9))


def test_hires_cam_of_a_linear_score_adds_up_to_it():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    score = (features * torch.randn(3, 4, 4)).sum()
    torch.testing.assert_close(hires_cam(features, score).sum(), score)


def test_targets_have_the_gradients_of_their_formulas():
    torch.manual_seed(0)
    mean = torch.randn(4, 3, requires_grad=True)

    def slope(target):
        return torch.autograd.grad(target(mean), mean)[0]

    torch.testing.assert_close(slope(LatentSum()), torch.ones(4, 3))
    direction = mean.detach() / mean.detach().square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(slope(LatentNorm()), direction)
    assert slope(OneLatent(index=2)).nonzero().tolist() == [[n, 2] for n in range(4)]


def test_the_norm_does_not_ask_for_a_sign_and_the_sum_does():
    mean = torch.tensor([[3.0, -4.0]])
    assert LatentNorm()(mean) == LatentNorm()(-mean) == 5
    assert LatentSum()(mean) == -LatentSum()(-mean) == -1


def test_one_latent_refuses_an_impossible_index():
    with pytest.raises(ValueError, match="index is -1"):
        OneLatent(index=-1)
    with pytest.raises(ValueError, match="index is 5, legal is 0 to 4"):
        OneLatent(index=5).require_in(5)
    OneLatent(index=4).require_in(5)


def test_row_maxima_by_hand():
    """The smallest row maximum is 2, so m = 2.001; the largest, 5, is 2.999 above: M = 3."""
    attention = torch.tensor([[[0.0, 2.0], [5.0, 1.0]]], dtype=torch.float64)
    found = row_maxima(attention, attention > -1)
    expected = (attention - 2.001) / 3.0
    torch.testing.assert_close(found, expected)
    assert found.min() < 0  # a min-max would not be


def test_row_maxima_of_a_constant_slice_is_finite():
    assert torch.isfinite(row_maxima(torch.full((1, 3, 3), 2.0), torch.ones(1, 3, 3).bool())).all()


def test_enlarging_to_the_corners_is_what_is_published():
    attention = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = interpolate(attention[:, None], (20, 20), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(enlarged_to_corners(attention, 4), expected)


def test_enlarging_keeps_each_value_where_it_is_seen():
    attention = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(enlarged(attention, 4)[:, ::4, ::4], attention)
    far = enlarged_to_corners(attention, 4)
    torch.testing.assert_close(far[:, 0, 0], attention[:, 0, 0])
    torch.testing.assert_close(far[:, -1, -1], attention[:, -1, -1])


@pytest.mark.parametrize("upsampling", [enlarged, enlarged_to_corners])
def test_a_factor_of_one_changes_nothing(upsampling):
    attention = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(upsampling(attention, 1), attention)


def test_a_sum_of_stages_is_that_by_hand():
    fine, coarse = torch.arange(16.0).view(1, 4, 4), torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
    large = torch.tensor([[1.0, 2, 3, 3], [3, 4, 5, 5], [5, 6, 7, 7], [5, 6, 7, 7]])
    torch.testing.assert_close(summed([fine, coarse], enlarged), fine + large)


def test_the_body_is_shrunk_onto_the_same_grid():
    inside = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    inside[..., 6:11, 6:11] = True  # around pixel 8, which feature 2 of 4 sees
    assert shrunk(inside, torch.zeros(1, 4, 4)).nonzero().tolist() == [[0, 2, 2]]
    assert (shrunk(inside, torch.zeros(1, 16, 16)) == inside[:, 0]).all()
