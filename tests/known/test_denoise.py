"""The denoising U-Net: its noise, its loss, its map, and that it finds a blob."""

import pytest
import torch

from wholesight.errors import RecipeError
from wholesight.methods.denoise import DenoisingUNet
from wholesight.methods.residual import Residual
from wholesight.nn.noise import Coarse
from wholesight.nn.unet import UNet
from wholesight.recipe import Recipe


def method_of(
    width: int = 8, size: int = 32, residual: Residual | None = None, sigma: float = 0.2
) -> DenoisingUNet:
    torch.manual_seed(0)
    network = UNet(size=size, width=width, multiples=[1, 2, 4])
    noise = Coarse(coarseness_px=8.0)
    return DenoisingUNet(
        network=network, noise=noise, sigma=sigma, residual=residual or Residual(kind="l1")
    )


def blank(n: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    inside = torch.zeros(n, 1, size, size, dtype=torch.bool)
    inside[..., 4:-4, 4:-4] = True
    return torch.zeros(n, 1, size, size), inside


def test_noise_has_the_stated_deviation_inside_and_is_0_outside():
    slices, inside = blank(1000)
    torch.manual_seed(1)
    noise = method_of(sigma=0.2).noised(slices, inside)
    assert noise[inside].std().item() == pytest.approx(0.2, rel=0.03)
    assert noise[inside].mean().item() == pytest.approx(0.0, abs=0.01)
    assert (noise[~inside] == 0).all()


@pytest.mark.parametrize(("lag", "correlation"), [(0, 1.0), (4, 0.71875), (8, 0.25), (16, 0.0)])
def test_noise_is_smooth_at_the_stated_scale(lag, correlation):
    """Bilinear noise with nodes k apart correlates as the cubic B-spline of lag / k does.

    1 - 3/2 u^2 + 3/4 u^3 up to one node, (2 - u)^3 / 4 up to two, 0 beyond.
    """
    generator = torch.Generator().manual_seed(0)
    noise = Coarse(coarseness_px=8.0).draw((3000, 1, 8, 32), generator)
    found = (noise[..., : 32 - lag] * noise[..., lag:]).mean().item()
    assert found == pytest.approx(correlation, abs=0.03)


def test_published_deviation_at_the_nodes_is_two_thirds_at_the_pixels():
    """As published: nodes on a grid of 16 x 16, bilinear at 128 x 128."""
    generator = torch.Generator().manual_seed(0)
    nodes = 0.2 * torch.randn(200, 1, 16, 16, generator=generator)
    noise = torch.nn.functional.interpolate(nodes, (128, 128), mode="bilinear", align_corners=True)
    sigma = Recipe.load("denoise-paper").method.sigma
    assert noise.std().item() == pytest.approx(sigma, rel=0.02)


def test_loss_is_half_the_squared_error_inside_in_nats_per_slice():
    method = method_of()
    slices, inside = blank(3)
    slices = slices + torch.rand(slices.shape, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(4)
    found = method.loss(slices, inside, 0.0).total
    torch.manual_seed(4)
    restored = method.network(method.noised(slices, inside))
    expected = sum(
        0.5 * (restored[n][inside[n]] - slices[n][inside[n]]).pow(2).sum() for n in range(3)
    )
    torch.testing.assert_close(found, expected / 3)


def test_map_is_made_without_noise():
    method = method_of().eval()
    slices, inside = blank(2)
    slices = slices + torch.rand(slices.shape, generator=torch.Generator().manual_seed(0))
    expected = (slices - method.network(slices)).abs() * inside
    torch.testing.assert_close(method.anomaly_map(slices, inside), expected.detach())


@pytest.mark.slow
def test_a_few_seconds_of_training_find_an_inserted_blob():
    """Normal: one soft bump, anywhere about the middle. Odd: a blob beside it, as bright."""
    place = torch.arange(32.0)

    def bump(x: torch.Tensor, y: torch.Tensor, width: float) -> torch.Tensor:
        rows = torch.exp(-(((place - y[:, None]) / width) ** 2))
        columns = torch.exp(-(((place - x[:, None]) / width) ** 2))
        return 0.5 * (rows[:, None, :, None] * columns[:, None, None, :])

    torch.manual_seed(0)
    method = method_of(width=4)
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
    _, inside = blank(8)
    for _ in range(60):
        slices = bump(14 + 4 * torch.rand(8), 14 + 4 * torch.rand(8), 9.0)
        optimiser.zero_grad()
        method.train().loss(slices, inside, 0.0).total.backward()
        optimiser.step()
    normal = bump(torch.tensor([15.0]), torch.tensor([17.0]), 9.0)
    blob = bump(torch.tensor([9.0]), torch.tensor([22.0]), 2.5)
    method.eval()
    found = method.anomaly_map(normal + blob, inside[:1])
    without = method.anomaly_map(normal, inside[:1])
    at_blob = blob > 0.25
    assert found[at_blob].mean() > 4 * found[~at_blob & inside[:1]].mean()
    assert found[at_blob].mean() > 4 * without[at_blob].mean()


def test_the_median_takes_points_and_leaves_blobs():
    slices, inside = blank(1)
    slices[..., 10, 10] = 1.0
    slices[..., 18:26, 18:26] = 1.0
    found = Residual(median_px=5)(slices, torch.zeros_like(slices), inside)
    assert found[0, 0, 10, 10] == 0
    assert found[0, 0, 22, 22] == 1


@pytest.mark.parametrize(("width", "size"), [(3, 24), (7, 40), (1, 8)])
def test_unet_keeps_the_shape_whatever_its_width(width, size):
    network = UNet(size=size, channels=2, width=width, multiples=[1, 2, 3, 5])
    assert network.slice_shape == (2, size, size)
    assert network(torch.zeros(2, 2, size, size)).shape == (2, 2, size, size)


def test_unet_sees_detail_and_the_whole():
    """A pixel of the output feels its own pixel and one far beyond two 3x3 convolutions."""
    torch.manual_seed(0)
    network = UNet(size=32, width=4, multiples=[1, 2, 4, 8])
    slices = torch.rand(1, 1, 32, 32, requires_grad=True)
    network(slices)[0, 0, 16, 16].backward()
    assert slices.grad is not None
    assert slices.grad[0, 0, 16, 16].abs() > 0
    assert slices.grad[0, 0, 2, 28].abs() > 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("size=100", "size 100 is not a multiple of 8"),
        ("method.network.width=0", "width 0"),
        ("method.network.multiples=[]", r"multiples \[\]"),
        ("method.sigma=0.0", "sigma is 0.0, legal is sigma > 0"),
        ("method.residual.median_px=4", "median_px is 4, legal are the odd numbers"),
        ("method.noise.coarseness_px=0.0", "coarseness_px is 0.0, legal"),
        ("method.noise.kind=fine", "'fine' is unknown"),
    ],
)
def test_illegal_options_are_refused(override, words):
    with pytest.raises(RecipeError, match=words):
        Recipe.load("denoise", [override])
