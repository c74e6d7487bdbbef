"""Diffusion against its closed forms, and with a network that knows the answer."""

import math
from itertools import pairwise

import pytest
import torch

from wholesight.errors import RecipeError
from wholesight.methods.diffusion import (
    Diffusion,
    denoised,
    linear_alpha_bar,
    noised,
    posterior,
)
from wholesight.methods.residual import Residual
from wholesight.nn.noise import Gaussian, Noise, Simplex
from wholesight.nn.unet import ConditionedUNet, sinusoids
from wholesight.recipe import Recipe


def method_of(noise: Noise | None = None, **options) -> Diffusion:
    torch.manual_seed(0)
    options = {"timesteps": 100, "depth": 40, "steps": 40} | options
    return Diffusion(
        network=ConditionedUNet(size=16, width=4, multiples=[1, 2]),
        noise=noise or Simplex(wavelength_px=8.0, octaves=2),
        residual=Residual(kind="l2"),
        **options,
    ).eval()


def slices_of(n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    slices = torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return slices, torch.ones(n, 1, 16, 16, dtype=torch.bool)


class Knowing(torch.nn.Module):
    """A network that knows the slice, and so says exactly what of x_t is noise."""

    def __init__(self, signal: torch.Tensor, alpha_bar: torch.Tensor) -> None:
        super().__init__()
        self.signal = signal
        self.alpha_bar = alpha_bar

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        alpha_bar = self.alpha_bar[time.long(), None, None, None]
        return (x - alpha_bar.sqrt() * self.signal) / (1 - alpha_bar).sqrt()


@pytest.mark.parametrize("timesteps", [21, 100, 1000])
def test_what_is_left_of_the_signal_falls_from_1_towards_0(timesteps):
    alpha_bar = linear_alpha_bar(timesteps)
    assert alpha_bar.shape == (timesteps + 1,)
    assert alpha_bar[0] == 1
    assert (alpha_bar.diff() < 0).all()
    assert 0 < alpha_bar[-1] < 1e-4


def test_alpha_bar_of_a_thousand_steps_is_the_published_product():
    alpha_bar = linear_alpha_bar(1000)
    product = 1.0
    for t in range(200):
        product *= 1 - (1e-4 + t * (0.02 - 1e-4) / 999)
    assert alpha_bar[1].item() == pytest.approx(1 - 1e-4)
    assert alpha_bar[200].item() == pytest.approx(product, rel=1e-6)


@pytest.mark.parametrize("time", [1, 30, 100])
def test_forward_process_has_the_closed_form_of_its_steps(time):
    """x_t = sqrt(1 - beta_t) x_(t-1) + sqrt(beta_t) n, step by step, against q(x_t|x_0)."""
    alpha_bar = linear_alpha_bar(100).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.full((20_000, 1, 1, 1), 0.7, dtype=torch.float64)
    for t in range(1, time + 1):
        beta = 1 - alpha_bar[t] / alpha_bar[t - 1]
        fresh = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = (1 - beta).sqrt() * x + beta.sqrt() * fresh
    fresh = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    direct = noised(torch.full_like(x, 0.7), fresh, alpha_bar[time])
    for found in (x, direct):
        assert found.mean().item() == pytest.approx(0.7 * alpha_bar[time].sqrt().item(), abs=0.03)
        assert found.var().item() == pytest.approx(1 - alpha_bar[time].item(), rel=0.04)


def test_at_time_0_nothing_has_happened():
    alpha_bar = linear_alpha_bar(1000)
    signal = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.ones_like(signal)
    assert torch.equal(noised(signal, noise, alpha_bar[0]), signal)
    torch.testing.assert_close(noised(signal, noise, alpha_bar[1]), signal, atol=0.011, rtol=1e-3)


def test_knowing_the_noise_is_knowing_the_slice():
    alpha_bar = linear_alpha_bar(1000)[600]
    generator = torch.Generator().manual_seed(0)
    signal, noise = torch.rand(2, 3, 1, 4, 4, generator=generator).unbind()
    found = denoised(noised(signal, noise, alpha_bar), noise, alpha_bar)
    torch.testing.assert_close(found, signal, atol=1e-4, rtol=0)


def test_posterior_is_what_bayes_rule_gives():
    """Product of two Gaussians in x_s: q(x_s|x_0), and q(x_t|x_s) as a function of x_s."""
    alpha_bar = linear_alpha_bar(1000).double()
    t, s, signal, x = 300, 250, 0.3, -0.4
    alpha = alpha_bar[t] / alpha_bar[s]
    prior_precision = 1 / (1 - alpha_bar[s])
    likelihood_precision = alpha / (1 - alpha)
    variance = 1 / (prior_precision + likelihood_precision)
    mean = variance * (
        prior_precision * alpha_bar[s].sqrt() * signal + likelihood_precision * x / alpha.sqrt()
    )
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = posterior(signal * one, x * one, alpha_bar[t], alpha_bar[s])
    assert found.mean.item() == pytest.approx(mean.item())
    assert found.variance.item() == pytest.approx(variance.item())


@pytest.mark.parametrize(
    "noise", [Gaussian(), Simplex(wavelength_px=8.0)], ids=["white", "simplex"]
)
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_a_network_that_knows_the_answer_brings_the_slice_back(noise, steps):
    method = method_of(noise, steps=steps)
    slices, inside = slices_of()
    method.add_module("network", Knowing(2 * slices - 1, method.alpha_bar))
    generator = torch.Generator().manual_seed(0)
    back = method.there_and_back(2 * slices - 1, generator)
    torch.testing.assert_close(back, 2 * slices - 1, atol=1e-4, rtol=0)
    assert method.anomaly_map(slices, inside).max() < 1e-8


def test_a_network_that_knows_only_the_normal_shows_the_lesion():
    method = method_of(depth=40)
    normal, inside = slices_of(1)
    lesion = torch.zeros_like(normal)
    lesion[..., 5:9, 5:9] = 1.0
    method.add_module("network", Knowing(2 * normal - 1, method.alpha_bar))
    found = method.anomaly_map(normal * (1 - lesion) + lesion, inside)
    torch.testing.assert_close(found, (lesion * (1 - normal)) ** 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 7])
def test_what_the_network_sees_in_the_noise_is_held_to_the_range_of_slices(steps):
    """A network that sees thrice the contrast brings back black and white, nothing beyond."""
    method = method_of(steps=steps)
    signal = 2 * slices_of()[0] - 1
    method.add_module("network", Knowing(3 * signal, method.alpha_bar))
    back = method.there_and_back(signal, torch.Generator().manual_seed(0))
    torch.testing.assert_close(back, (3 * signal).clamp(-1, 1), atol=1e-4, rtol=0)


def test_steps_go_from_the_depth_to_0_without_standing_still():
    for depth, steps in ((40, 40), (40, 7), (99, 98), (3, 1)):
        times = method_of(depth=depth, steps=steps).times
        assert (times[0], times[-1], len(times)) == (depth, 0, steps + 1)
        assert all(earlier < later for later, earlier in pairwise(times))


def test_map_is_the_same_again_and_leaves_the_callers_random_numbers_alone():
    method = method_of(samples=2, steps=4)
    slices, inside = slices_of()
    torch.manual_seed(3)
    first = method.anomaly_map(slices, inside)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.rand(1) == drawn
    assert torch.equal(method.anomaly_map(slices, inside), first)


def test_two_samples_are_averaged_before_the_residual():
    method = method_of(samples=2, steps=4)
    slices, inside = slices_of()
    generator = torch.Generator().manual_seed(2022)
    with torch.no_grad():
        first, second = (method.there_and_back(2 * slices - 1, generator) for _ in range(2))
    assert not torch.allclose(first, second)
    expected = (slices - ((first + second) / 2 + 1) / 2) ** 2
    torch.testing.assert_close(method.anomaly_map(slices, inside), expected)


def test_a_network_that_says_nothing_costs_1():
    """It starts so: the best constant prediction of noise with mean 0 and variance 1."""
    method = method_of(Gaussian())
    slices, inside = slices_of(400)
    torch.manual_seed(0)
    assert method.loss(slices, inside, 0.0).total.item() == pytest.approx(1, abs=0.02)


def test_the_loss_asks_for_times_up_to_the_depth_and_the_noise_of_that_time():
    method = method_of(depth=5, steps=5)
    slices, inside = slices_of(200)
    asked = []

    class Listening(Knowing):
        def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            asked.append(time)
            return super().forward(x, time)

    method.add_module("network", Listening(2 * slices - 1, method.alpha_bar))
    assert method.loss(slices, inside, 0.0).total < 1e-6
    assert sorted(set(asked[0].tolist())) == [1, 2, 3, 4, 5]


def test_the_network_hears_the_time():
    torch.manual_seed(0)
    network = ConditionedUNet(size=12, channels=2, width=5, multiples=[1, 2, 3])
    for parameter in network.out.parameters():  # it starts at 0, whatever it hears
        torch.nn.init.normal_(parameter)
    slices = torch.rand(1, 2, 12, 12)
    early, late = (network(slices, torch.tensor([time])) for time in (1.0, 80.0))
    assert early.shape == slices.shape
    assert not torch.allclose(early, late, atol=1e-3)


def far_sighted() -> ConditionedUNet:
    """Its convolutions reach less than 16 pixels, and its norm, at test, is each pixel's own."""
    torch.manual_seed(0)
    network = ConditionedUNet(size=64, width=4, multiples=[1, 2], norm="batch").eval()
    for parameter in network.out.parameters():  # it starts at 0, whatever it sees
        torch.nn.init.normal_(parameter)
    return network.double()


def test_every_pixel_hears_of_a_change_in_one_corner():
    network = far_sighted()
    generator = torch.Generator().manual_seed(0)
    slices = torch.rand(1, 1, 64, 64, generator=generator, dtype=torch.float64)
    changed = slices.clone()
    changed[..., :4, :4] += 1
    time = torch.tensor([5.0])
    difference = (network(changed, time) - network(slices, time)).abs()
    assert difference.min() > 1e-12
    # Without the attention the change stays where convolutions carry it.
    network.levels.bottom = torch.nn.Identity()
    difference = (network(changed, time) - network(slices, time)).abs()
    assert difference[..., :4, :4].max() > 1e-3
    assert difference[..., 20:, :].max() == difference[..., 20:].max() == 0


def test_attention_is_a_softmax_over_all_pixels_beside_a_shortcut():
    """Queries, keys, values and output are the features themselves: f + softmax(f f' / 8^.5) f."""
    attention = far_sighted().levels.bottom
    same = torch.eye(8, dtype=torch.float64)
    state = {name: torch.zeros_like(value) for name, value in attention.state_dict().items()}
    state |= {name: torch.ones_like(state[name]) for name in ("ask.0.weight", "ask.0.running_var")}
    state |= {
        "ask.1.weight": same.repeat(3, 1)[..., None, None],
        "out.weight": same[..., None, None],
    }
    attention.load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, 3, 5, generator=generator, dtype=torch.float64)
    flat = features.flatten(2)
    likeness = (flat.transpose(1, 2) @ flat / math.sqrt(8)).exp()
    share = likeness / likeness.sum(dim=2, keepdim=True)
    expected = features + (flat @ share.transpose(1, 2)).view_as(features)
    torch.testing.assert_close(attention(features), expected, atol=1e-3, rtol=0)


def test_times_are_coded_by_sines_and_cosines():
    code = sinusoids(torch.tensor([3.0]), 2)
    expected = [math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]
    torch.testing.assert_close(code, torch.tensor([expected]))


@pytest.mark.parametrize("option", [{"timesteps": 20}, {"timesteps": 10, "depth": 10}])
def test_too_few_timesteps_are_refused(option):
    options = {"depth": 10, "steps": 10} | option
    with pytest.raises(ValueError, match=r"timesteps is \d+, legal is 21 or more"):
        method_of(**options)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.depth=0", "depth is 0, legal is 0 < depth <= timesteps, 1000"),
        ("method.depth=1001", "depth is 1001, legal"),
        ("method.steps=0", "steps is 0, legal is 0 < steps <= depth"),
        ("method.steps=500", "steps is 500, legal"),
        ("method.samples=0", "samples is 0, legal is 1 or more"),
        ("size=100", "size 100 is not a multiple of 8"),
        ("method.noise.octaves=0", "octaves 0"),
        ("prep.intensity.top=null", "beyond"),
    ],
)
def test_illegal_options_are_refused(override, words):
    with pytest.raises(RecipeError, match=words):
        Recipe.load("anoddpm", [override])
