"""The three published settings against their own formulas, written out here in plain torch.

Axes: b slices, k channels, z latent dimensions, h w map pixels, H W slice pixels.

Layers, formulas and figures are those of the published code (docs/concepts/fidelity.md names the
files). Only the forward pass uses our modules; our objective and attention are not called here.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.nn.vae import VAE
from wholesight.recipe import Recipe

BMVC, GRADCAMCONS, AMCONS = "bmvc2021", "media2022-gradcamcons", "media2022-amcons"
PUBLISHED = (BMVC, GRADCAMCONS, AMCONS)
# An epoch at which every recipe's term is on.
LATE = 1000.0


def reduced(name: str, *overrides: str) -> ConstrainedVAE:
    """The recipe's method with a small network, in float64. The stage has 16 x 16 pixels.

    What bmvc2021 restates for 224 x 224 and 32 dimensions is restated in the same way.
    """
    side, latent = (64 if name == BMVC else 32), 5
    small = [f"size={side}", "method.network.width=4", "method.network.width_top=16"]
    small += [f"method.network.latent={latent}"]
    if name == BMVC:
        small += [f"method.beta={side**2 / latent}", f"method.terms.0.weight={10.0 * side**2}"]
    return Recipe.load(name, [*small, *overrides]).method.double()


def batch_of(method: ConstrainedVAE, n: int = 3) -> tuple[Tensor, Tensor]:
    """Slices whose background is 0, and their body, the same in all: then it is the union too."""
    side = method.slice_shape[1]
    generator = torch.Generator().manual_seed(0)
    slices = torch.rand(n, 1, side, side, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    inside = torch.zeros(n, 1, side, side, dtype=torch.bool)
    inside[..., side // 8 : -side // 4, side // 4 : -side // 8] = True
    return slices * inside, inside


def features_and_latent(vae: VAE, slices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the first stage, mean and log variance, connected in the graph."""
    features = vae.encoder.stages[0](vae.encoder.stem(slices))
    top = vae.encoder.stages[3](vae.encoder.stages[2](vae.encoder.stages[1](features))).flatten(1)
    return features, vae.mean(top), vae.log_variance(top)


# ---- the published formulas


def published_barrier(z: Tensor, t: float) -> Tensor:
    """Sum over the batch, slice by slice."""
    total = z.new_zeros(())
    for zi in z:
        if zi <= -1 / t**2:
            total = total - torch.log(-zi) / t
        else:
            total = total + t * zi - math.log(1 / t**2) / t + 1 / t
    return total


def to_slice(maps: Tensor, side: int) -> Tensor:
    """(b, h, w) -> (b, H, W)."""
    size = (side, side)
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def cam(features: Tensor, mu: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(mu.sum(), features, create_graph=True)
    return (gradient.mean((2, 3), keepdim=True) * features).sum(1)


def bmvc_constraint(features: Tensor, mu: Tensor, inside: Tensor) -> Tensor:
    z = 1 - torch.sigmoid(cam(features, mu)).mean((1, 2)) - 0.2
    return 10 * published_barrier(z, 20.0) / len(features)


def gradcamcons_constraint(features: Tensor, mu: Tensor, inside: Tensor) -> Tensor:
    attention = to_slice(torch.sigmoid(features.mean(1)), inside.shape[-1])
    return 1000 * published_barrier(1 - attention.mean((1, 2)) - 0.01, 10.0) / len(features)


def entropy(features: Tensor, inside: Tensor) -> Tensor:
    """H of AMCons, one a slice, over the union of the bodies; in nats."""
    mean = to_slice(features.mean(1), inside.shape[-1]).flatten(1)
    p = mean[:, inside[:, 0].any(0).flatten()].softmax(1)
    return -(p * torch.log(p + 1e-12)).sum(1)


def amcons_constraint(features: Tensor, mu: Tensor, inside: Tensor) -> Tensor:
    # Published is -0.1 H; ours has the constant 0.1 log n besides.
    pixels = int(inside[0].sum())
    return -0.1 * entropy(features, inside).mean() + 0.1 * math.log(pixels)


CONSTRAINTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    BMVC: bmvc_constraint,
    GRADCAMCONS: gradcamcons_constraint,
    AMCONS: amcons_constraint,
}


def published_loss(name: str, vae: VAE, slices: Tensor, inside: Tensor, *, on: bool) -> Tensor:
    features, mu, logvar = features_and_latent(vae, slices)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    bce = functional.binary_cross_entropy_with_logits(vae.decode(z), slices, reduction="sum")
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
    b, _, height, width = slices.shape
    if name == BMVC:
        total = kl / (b * mu.shape[1]) + bce / (b * height * width)
    else:
        total = bce / b + {GRADCAMCONS: 1, AMCONS: 10}[name] * kl / b
    return total + CONSTRAINTS[name](features, mu, inside) if on else total


# ---- one step of training


def both_losses(name: str, method: ConstrainedVAE, *, on: bool, n: int = 3) -> list[Tensor]:
    """Ours and the published one, with the same noise, just before and at the warm-up's end."""
    slices, inside = batch_of(method, n)
    (term,) = method.terms
    torch.manual_seed(5)
    epoch = term.warmup_epochs if on else term.warmup_epochs - 1e-6
    found = method.train().loss(slices, inside, epoch=epoch).total
    torch.manual_seed(5)
    return [found, published_loss(name, method.network, slices, inside, on=on)]


@pytest.mark.parametrize("on", [True, False], ids=["on", "warm-up"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_loss_and_gradient_of_a_step_are_the_published(name, on):
    method = reduced(name)
    losses = both_losses(name, method, on=on)
    torch.testing.assert_close(*losses, rtol=1e-9, atol=0)
    # What moves the weights: it would show a term that is right and detached.
    weights = list(method.network.encoder.parameters())
    gradients = [torch.autograd.grad(loss, weights) for loss in losses]
    for found, expected in zip(*gradients, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_loss_of_a_step_is_the_published_at_full_size(name):
    """As shipped, nothing restated."""
    losses = both_losses(name, Recipe.load(name).method.double(), on=True, n=2)
    torch.testing.assert_close(*losses, rtol=1e-9, atol=0)


def test_bmvc2021_restates_its_means_in_nats_per_slice():
    method = Recipe.load(BMVC).method
    assert method.beta == 224 * 224 / 32
    assert method.terms[0].weight == 10 * 224 * 224
    assert method.normalisation == "mean"


def first_epoch_after(n: int) -> int:
    """The published condition is `epoch > n`, epochs counted from 0."""
    return next(epoch for epoch in range(300) if epoch > n)


@pytest.mark.parametrize(
    ("name", "n"),
    # 271 patients of ten slices, all lesion-free, in batches of 32: the least that rule can give.
    [(BMVC, round(400 / (271 * 10 / 32))), (GRADCAMCONS, 50), (AMCONS, 0)],
)
def test_warm_up_ends_when_published(name, n):
    (term,) = Recipe.load(name).method.terms
    assert term.warmup_epochs == first_epoch_after(n)


@pytest.mark.parametrize(
    ("name", "rate", "batch"), [(BMVC, 1e-5, 32), (GRADCAMCONS, 1e-5, 8), (AMCONS, 1e-4, 8)]
)
def test_training_settings_are_the_published(name, rate, batch):
    training = Recipe.load(name).training
    assert (training.learning_rate, training.batch, training.epochs) == (rate, batch, 300)
    assert training.decay == "none"
    assert tuple(training.betas) == (0.9, 0.999)
    assert training.gradient_clip is None


def test_published_barrier_of_gradcamcons_is_linear_and_is_warned_of():
    with pytest.warns(UserWarning, match="linear branch"):
        recipe = Recipe.load(GRADCAMCONS)
    (term,) = recipe.method.terms
    # No attention at all, and full attention: the cost between them is a straight line.
    violation = torch.linspace(-term.constraint.p, 1 - term.constraint.p, 5, dtype=torch.float64)
    cost = term.penalty.cost(violation, 0.0)
    torch.testing.assert_close(cost.diff() / violation.diff(), torch.full_like(cost[1:], 10.0))


@pytest.mark.parametrize("name", [BMVC, GRADCAMCONS])
def test_a_step_on_the_constraint_covers_more(name):
    """The weight lets the constraint outdo reconstruction and KL by far."""
    method = reduced(name, "method.terms.0.weight=1.0e+9")
    before, after = around_a_step(method, lambda vae, slices, _: coverage(name, vae, slices))
    assert after > before


def coverage(name: str, vae: VAE, slices: Tensor) -> Tensor:
    features, mu, _ = features_and_latent(vae, slices)
    attention = cam(features, mu) if name == BMVC else features.mean(1)
    return attention.sigmoid()


def test_a_step_of_amcons_raises_the_entropy():
    """An independent benchmark adds H where it should be subtracted; then this test fails."""
    method = reduced(AMCONS, "method.terms.0.weight=1.0e+6")
    before, after = around_a_step(
        method, lambda vae, slices, inside: entropy(features_and_latent(vae, slices)[0], inside)
    )
    assert before < after < math.log(batch_of(method)[1][0].sum())


def around_a_step(
    method: ConstrainedVAE, measured: Callable[[VAE, Tensor, Tensor], Tensor]
) -> tuple[float, float]:
    """The mean of what is measured, before and after a step of Adam."""
    slices, inside = batch_of(method)
    method.train()
    before = measured(method.network, slices, inside).mean().item()
    # Small: Grad-CAM of a ReLU network jumps where a unit switches, and no gradient sees a jump.
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-7)
    torch.manual_seed(5)
    method.loss(slices, inside, epoch=LATE).total.backward()
    optimiser.step()
    return before, measured(method.network, slices, inside).mean().item()


# ---- the map


def settled(name: str, *overrides: str) -> ConstrainedVAE:
    """In eval mode, batch norm's statistics those of some slices."""
    method = reduced(name, *overrides)
    with torch.no_grad():
        method.train().network(batch_of(method, 8)[0])
    return method.eval()


def published_map(name: str, vae: VAE, slices: Tensor) -> Tensor:
    side = slices.shape[-1]
    features, mu, _ = features_and_latent(vae, slices)
    if name == AMCONS:
        return to_slice(features.mean(1), side)
    if name == BMVC:
        return to_slice(cam(features, mu), side)
    mean = features.mean(1)
    mean = mean - (mean.max(-1).values.min(-1).values + 1e-3)[:, None, None]
    return to_slice(mean / (mean.amax((1, 2), keepdim=True) + 1e-3), side)


@pytest.mark.parametrize("name", PUBLISHED)
def test_map_is_the_published(name):
    method = settled(name)
    slices, inside = batch_of(method)
    found = method.anomaly_map(slices, inside)[:, 0]
    expected = published_map(name, method.network, slices).detach()
    if name == BMVC:
        # Min-max, there of the enlarged map and here of the stage's: the same but for the two ends.
        assert found.min() >= 0
        assert found.max() <= 1
        pairs = zip(found, expected, strict=True)
        found = torch.stack([line_through(ours, theirs) for ours, theirs in pairs])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def line_through(x: Tensor, y: Tensor) -> Tensor:
    """The rising line in x that fits y best, at x."""
    a = torch.stack([x.flatten(), torch.ones_like(x.flatten())], dim=1)
    solution = torch.linalg.lstsq(a, y.flatten()[:, None]).solution
    assert solution[0] > 0
    return (a @ solution).view_as(y)


def test_map_of_bmvc2021_turns_with_the_score():
    """Where the gradient is computed and dropped, as in GradCAMCons, this test fails."""
    method = settled(BMVC, "method.map_normalisation=none")
    slices, inside = batch_of(method)
    before = method.anomaly_map(slices, inside)
    with torch.no_grad():
        method.network.mean.weight.neg_()  # another score on the very same features
    torch.testing.assert_close(method.anomaly_map(slices, inside), -before)
    assert before.abs().max() > 0


@pytest.mark.parametrize("name", [GRADCAMCONS, AMCONS])
def test_maps_of_media2022_know_no_score(name):
    """By design in AMCons; in GradCAMCons because the published gradient is dropped."""
    method = settled(name)
    slices, inside = batch_of(method)
    before = method.anomaly_map(slices, inside)
    with torch.no_grad():
        method.network.mean.weight.neg_()
    torch.testing.assert_close(method.anomaly_map(slices, inside), before)
    assert before.std() > 0
