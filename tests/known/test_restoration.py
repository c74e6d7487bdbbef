"""Total variation and restoration where the answer can be written down."""

import math

import pytest
import torch

from wholesight.methods.residual import Residual
from wholesight.methods.restoration import Restoration
from wholesight.nn.vae import VAE
from wholesight.objective.total_variation import proximal_total_variation, total_variation

SIZE = 32


def everywhere(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def network() -> VAE:
    torch.manual_seed(0)
    return VAE(size=SIZE, width=4, latent=8, width_top=16, norm="group")


def grey_network() -> VAE:
    """A VAE that draws every slice in even grey, 0.5, and finds all codes equally likely."""
    grey = network()
    for layer in (grey.decoder.out, grey.mean, grey.log_variance):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    return grey


def method_of(vae: VAE, **options) -> Restoration:
    return Restoration(network=vae, residual=Residual(), **options).eval()


def two_halves() -> tuple[torch.Tensor, torch.Tensor]:
    """A slice as the grey network draws it, but for the right half of its eight columns of body."""
    slices = torch.full((1, 1, SIZE, SIZE), 0.5)
    slices[..., 16:20] = 0.9
    inside = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    inside[..., 12:20] = True
    return slices, inside


def test_total_variation_of_a_constant_is_zero_and_of_a_point_its_outline():
    inside = everywhere(1, 1, 8, 8)
    assert total_variation(torch.full((1, 1, 8, 8), 0.7), inside).item() == 0
    point = torch.zeros(1, 1, 8, 8)
    point[..., 3, 4] = 2.0
    # One difference down, one to the right, and the point's own, which is their diagonal.
    assert total_variation(point, inside).item() == pytest.approx(2 * (2 + math.sqrt(2)))


def test_total_variation_does_not_count_the_rim():
    inside = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    inside[..., 2:6, 2:6] = True
    assert total_variation(inside.float(), inside).item() == 0


@pytest.mark.parametrize(("weight", "moved"), [(0.8, 0.2), (2.0, 0.5)])
def test_proximal_map_brings_two_halves_together(weight, moved):
    """Each half of 4 columns moves by weight / 4, and no further than the mean."""
    halves = torch.zeros(1, 1, 8, 8)
    halves[..., 4:] = 1.0
    weights = torch.full((1, 1, 1, 1), weight)
    found = proximal_total_variation(halves, everywhere(1, 1, 8, 8), weights).images
    expected = halves + torch.where(halves > 0, -moved, moved)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_proximal_map_sees_the_body_alone():
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    inside[..., :3] = True
    inside[..., 5:] = True
    found = proximal_total_variation(images, inside, torch.full((1, 1, 1, 1), 100.0)).images
    torch.testing.assert_close(found[..., 3:5], images[..., 3:5])
    for part in (slice(0, 3), slice(5, 8)):
        mean = images[..., part].mean()
        torch.testing.assert_close(found[..., part], mean.expand(1, 1, 8, 3), atol=2e-2, rtol=0)
    same = proximal_total_variation(images, inside, torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(same.images, images)


def test_a_perfect_slice_is_left_alone():
    slices = torch.full((2, 1, SIZE, SIZE), 0.5)
    found = method_of(grey_network()).anomaly_map(slices, slices > 0)
    assert found.abs().max() < 1e-6


@pytest.mark.parametrize("steps", [1, 4])
def test_without_total_variation_each_step_goes_a_share_of_the_way(steps):
    slices, inside = two_halves()
    method = method_of(grey_network(), weight=0.0, steps=steps, step=0.25)
    restored, _ = method.restore(slices, inside)
    torch.testing.assert_close(restored - 0.5, (slices - 0.5) * 0.75**steps)


def test_with_total_variation_the_change_is_its_proximal_map():
    """The change has an edge of 0.4 between halves of 4 columns; each gives way by 0.4 / 4."""
    slices, inside = two_halves()
    found = method_of(grey_network(), weight=0.4, steps=1, step=1.0).anomaly_map(slices, inside)
    expected = torch.zeros(1, 1, SIZE, SIZE)
    expected[..., 12:16], expected[..., 16:20] = 0.1, 0.3
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_every_step_goes_on_where_the_total_variation_of_the_last_one_stopped():
    """Each half of 16 columns gives way by 1.6 / 16, which no single step has time to find out."""
    slices = torch.full((1, 1, SIZE, SIZE), 0.5)
    slices[..., 16:] = 0.9
    expected = torch.full((1, 1, SIZE, SIZE), 0.1)
    expected[..., 16:] = 0.3
    inside = everywhere(1, 1, SIZE, SIZE)
    errors = []
    for steps in (1, 4):
        method = method_of(grey_network(), weight=1.6, steps=steps, step=1.0)
        errors.append((method.anomaly_map(slices, inside) - expected).abs().max().item())
    assert errors[0] > 0.01
    assert errors[1] < 1e-4


def test_a_step_is_halved_for_the_slice_that_needs_it_alone():
    """Steps along sum |y - 0.5|, whose gradient is the sign, from 1 and from 0.57.

    The first goes 0.2 twice. The second may go 0.1, to 0.47, and then 0.05, to 0.52.
    """
    slices = torch.ones(2, 1, SIZE, SIZE)
    slices[1] = 0.57
    method = method_of(grey_network(), reconstruction="laplace", weight=0.0, steps=2, step=0.2)
    restored, _ = method.restore(slices, everywhere(2, 1, SIZE, SIZE))
    expected = torch.tensor([0.6, 0.52]).view(2, 1, 1, 1).expand_as(slices)
    torch.testing.assert_close(restored, expected)


def test_noise_is_kept_and_a_lesion_is_not():
    """What total variation is for: one big change is cheap, many small ones are dear."""
    generator = torch.Generator().manual_seed(0)
    slices = 0.5 + 0.05 * torch.randn(1, 1, SIZE, SIZE, generator=generator)
    slices[..., 8:24, 8:24] += 0.4
    inside = everywhere(1, 1, SIZE, SIZE)
    found = method_of(grey_network(), weight=0.3).anomaly_map(slices, inside)
    lesion = found[..., 10:22, 10:22]
    assert lesion.min() > 0.2
    assert found[..., :6].max() < 0.1


@pytest.mark.parametrize("reconstruction", ["gaussian", "laplace"])
def test_cost_never_rises_and_falls_in_all(reconstruction):
    slices = torch.rand(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    slices[1, :, 8:20, 8:20] = 1.0
    method = method_of(network(), reconstruction=reconstruction, weight=0.1, steps=6, step=2.0)
    _, costs = method.restore(slices, everywhere(3, 1, SIZE, SIZE))
    assert costs.shape == (7, 3)
    assert (costs.diff(dim=0) <= 1e-4).all()
    assert (costs[-1] < costs[0] - 1e-3).all()


def test_cost_is_the_negative_elbo_and_the_weighted_variation():
    method = method_of(network(), beta=0.3, weight=0.2, steps=3, step=0.1)
    slices = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    inside = everywhere(2, 1, SIZE, SIZE)
    restored, costs = method.restore(slices, inside)
    encoding = method.network.encode(restored)
    mean, log_variance = encoding.mean, encoding.log_variance
    error = 0.5 * (method.network.decode(mean).sigmoid() - restored).square().sum(dim=(1, 2, 3))
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    expected = error + 0.3 * kl + 0.2 * total_variation(restored - slices, inside)
    torch.testing.assert_close(costs[-1], expected)


def test_nothing_changes_outside_the_body():
    slices = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    inside[..., 8:24, 8:24] = True
    restored, _ = method_of(grey_network(), weight=0.1).restore(slices, inside)
    assert torch.equal(restored[~inside], slices[~inside])
    assert not torch.allclose(restored[inside], slices[inside])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "weight is -1.0, legal is 0 or more"),
        ({"steps": 0}, "steps is 0, legal is 1 or more"),
        ({"step": 0.0}, "step is 0.0, legal is step > 0"),
        ({"beta": -1.0}, "beta is -1.0, legal is beta >= 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        method_of(network(), **options)
