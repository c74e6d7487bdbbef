"""Noise against what is known of it: mean, variance, smoothness, directions."""

import math

import pytest
import torch

from wholesight.nn.noise import NOISES, Coarse, Gaussian, Simplex
from wholesight.nn.simplex import octaves_of_simplex_noise, simplex_at, simplex_noise

# The square root of sqrt(3) pi / 184320, the variance of the sum over corners (see `nn.simplex`).
DEVIATION = math.sqrt(math.sqrt(3) * math.pi / 184_320)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def half_squared_difference(pictures: torch.Tensor, dy: int, dx: int) -> float:
    """The semivariogram at one lag, 1 - correlation for noise of unit variance; dy, dx >= 0."""
    height, width = pictures.shape[-2:]
    near, far = pictures[..., : height - dy, : width - dx], pictures[..., dy:, dx:]
    return 0.5 * (near - far).square().mean().item()


KINDS = [Gaussian(), Coarse(coarseness_px=7.5), Simplex(wavelength_px=12.0, octaves=4)]


@pytest.mark.parametrize("noise", KINDS, ids=lambda noise: type(noise).__name__)
def test_every_noise_has_mean_0_and_variance_1_and_follows_its_seed(noise):
    drawn = noise.draw((300, 1, 48, 40), seeded())
    assert drawn.shape == (300, 1, 48, 40)
    assert abs(drawn.mean().item()) < 0.02
    assert abs(drawn.var().item() - 1) < 0.03
    assert torch.equal(drawn, noise.draw((300, 1, 48, 40), seeded()))
    assert not torch.allclose(drawn, noise.draw((300, 1, 48, 40), seeded(1)))


@pytest.mark.parametrize("noise", KINDS, ids=lambda noise: type(noise).__name__)
def test_no_pixel_is_privileged(noise):
    """Lattices are shifted at random, so no place has more or less variance than another."""
    rows = noise.draw((2000, 1, 16, 16), seeded()).var(dim=0).mean(dim=(0, 1))
    assert rows.min() > 0.9
    assert rows.max() < 1.1


@pytest.mark.parametrize("noise", KINDS, ids=lambda noise: type(noise).__name__)
def test_slices_and_channels_are_independent(noise):
    first, second = noise.draw((500, 2, 24, 24), seeded()).unbind(dim=1)
    assert abs((first * second).mean().item()) < 0.05
    assert abs((first[:-1] * first[1:]).mean().item()) < 0.05


def test_without_a_generator_noise_follows_the_global_seed():
    for name, kind in NOISES.items():
        torch.manual_seed(7)
        first = kind().draw((1, 1, 20, 20))
        torch.manual_seed(7)
        assert torch.equal(first, kind().draw((1, 1, 20, 20))), name


def test_simplex_noise_is_continuous():
    """Along a line across many cells: a seam would be a jump that no step is too small for.

    No corner has a slope above (1/2)^4, that of a unit gradient at the corner, and three are felt.
    """
    step = 0.002
    place = step * torch.arange(20_000, dtype=torch.float64)[None]
    noise = simplex_at(place, 0.37 * place, seeded())
    length = step * math.hypot(1, 0.37)
    steepest = 3 * 0.5**4 / DEVIATION
    assert noise.diff().abs().max() < steepest * length
    assert noise.std() > 0.5


def test_simplex_noise_has_a_known_slope_at_its_corners():
    """There, only the own corner is felt: n = (1/2)^4 g . d, with g of length 1."""
    h, n = 1e-4, 50
    zero = torch.zeros(n, 1, dtype=torch.float64)
    x, y = torch.cat([zero, zero + h, zero], 1), torch.cat([zero, zero, zero + h], 1)
    noise = simplex_at(x, y, seeded()).double()
    slopes = (noise[:, 1:] - noise[:, :1]).norm(dim=1) / h
    torch.testing.assert_close(
        slopes, torch.full_like(slopes, 0.5**4 / DEVIATION), rtol=1e-3, atol=0
    )


def test_simplex_noise_is_0_on_the_corners_of_its_lattice():
    """Of the sum over corners only the own one is in reach, and its slope times 0 is 0."""
    i, j = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    back = (3 - math.sqrt(3)) / 6 * (i + j)
    noise = simplex_at((i - back).reshape(1, -1), (j - back).reshape(1, -1), seeded())
    assert noise.abs().max() < 1e-4


def test_simplex_noise_has_no_axis_where_lattice_noise_has_one():
    """The lattice itself, neither turned nor averaged over turns: 17 px apart, whichever way."""
    n, side, wavelength = 300, 64, 16.0
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    shift = 100 * torch.rand(n, 2, 1, generator=seeded())
    x = columns.flatten() / wavelength + shift[:, 0]
    y = rows.flatten() / wavelength + shift[:, 1]
    simplex = simplex_at(x, y, seeded(1)).unflatten(1, (side, side))
    lattice = Coarse(coarseness_px=wavelength).draw((n, 1, side, side), seeded())

    def spread(pictures: torch.Tensor, lags: list[tuple[int, int]]) -> float:
        found = [half_squared_difference(pictures, *lag) for lag in lags]
        return max(found) / min(found) - 1

    same_distance = [(17, 0), (0, 17), (12, 12), (15, 8), (8, 15)]
    assert spread(simplex, same_distance) < 0.02
    assert spread(lattice, same_distance) > 0.03


def test_directional_derivatives_have_one_variance():
    pictures = simplex_noise(400, 48, 48, wavelength_px=24.0, generator=seeded())
    along_x = (pictures[:, 5:-5, 7:] - pictures[:, 5:-5, :-7]).var().item() / 49
    along_y = (pictures[:, 7:, 5:-5] - pictures[:, :-7, 5:-5]).var().item() / 49
    diagonal = (pictures[:, 5:, 5:] - pictures[:, :-5, :-5]).var().item() / 50
    assert along_y == pytest.approx(along_x, rel=0.04)
    assert diagonal == pytest.approx(along_x, rel=0.04)


def test_octaves_add_up_in_shares_of_persistence():
    """Three independent octaves of amplitudes 1, 1/2, 1/4, brought to unit variance together."""
    options = {"wavelength_px": 20.0, "generator": seeded()}
    found = octaves_of_simplex_noise(2, 30, 30, octaves=3, persistence=0.5, **options)
    generator = seeded()
    first, second, third = (
        simplex_noise(2, 30, 30, wavelength_px=wavelength, generator=generator)
        for wavelength in (20.0, 10.0, 5.0)
    )
    expected = (first + second / 2 + third / 4) / math.sqrt(1 + 1 / 4 + 1 / 16)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (Coarse, {"coarseness_px": 0.5}, "coarseness_px is 0.5, legal"),
        (Simplex, {"wavelength_px": 0.0}, "wavelength_px is 0.0"),
        (Simplex, {"octaves": 0}, "octaves 0"),
        (Simplex, {"persistence": 0.0}, "persistence 0.0"),
        (Simplex, {"persistence": 1.5}, "persistence 1.5"),
    ],
)
def test_illegal_noise_is_refused(kind, options, words):
    with pytest.raises(ValueError, match=words):
        kind(**options)
