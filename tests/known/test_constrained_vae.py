"""The method against an independent computation, and the traps of published code."""

import itertools

import pytest
import torch
from torch.nn import functional

from wholesight.attention import (
    ATTENTIONS,
    TARGETS,
    ActivationMean,
    GradCAM,
    LatentNorm,
    OneLatent,
    enlarged,
    enlarged_to_corners,
    grad_cam,
)
from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.nn.vae import VAE
from wholesight.objective.constraints import (
    CONSTRAINTS,
    Coverage,
    Evenness,
)
from wholesight.objective.penalties import PENALTIES, Linear, LogBarrier
from wholesight.objective.term import Term
from wholesight.recipe import Recipe


def network(stem: str = "conv-pool") -> VAE:
    torch.manual_seed(0)
    return VAE(size=32, width=4, latent=5, width_top=16, stem=stem)


def slices_of(n: int = 3, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    slices = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))
    return slices, torch.ones_like(slices, dtype=torch.bool)


def term(**options) -> Term:
    return Term(constraint=Coverage(p=0.2), penalty=LogBarrier(t=20.0), weight=7.0, **options)


@pytest.mark.parametrize(("normalisation", "scale"), [("sum", 1), ("mean", 32 * 32)])
def test_loss_equals_a_plain_computation(normalisation, scale):
    vae = network()
    method = ConstrainedVAE(
        network=vae, attention=GradCAM(), terms=[term()], beta=0.5, normalisation=normalisation
    )
    slices, inside = slices_of()
    torch.manual_seed(5)
    found = method.train().loss(slices, inside, epoch=0.0).total

    torch.manual_seed(5)
    features = vae.encoder.stages[0](vae.encoder.stem(slices))
    top = vae.encoder.stages[3](vae.encoder.stages[2](vae.encoder.stages[1](features)))
    mu, logvar = vae.mean(top.flatten(1)), vae.log_variance(top.flatten(1))
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    bce = functional.binary_cross_entropy_with_logits(vae.decode(z), slices, reduction="sum") / 3
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum() / 3
    gradient = torch.autograd.grad(mu.sum(), features, create_graph=True)[0]
    attention = torch.sigmoid((gradient.mean((2, 3), keepdim=True) * features).sum(1))
    violation = 0.8 - attention.mean((1, 2))
    t, costs = 20.0, []
    for g in violation:
        if g <= -1 / t**2:
            costs.append(-torch.log(-g) / t)
        else:
            costs.append(t * g - torch.log(torch.tensor(1 / t**2)) / t + 1 / t)
    expected = (bce + 0.5 * kl + 7.0 * torch.stack(costs).mean()) / scale
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_map_depends_on_the_score():
    """Published code computes the gradient and drops it; then this test fails."""
    vae = network()
    method = ConstrainedVAE(network=vae, attention=GradCAM()).eval()
    slices, inside = slices_of()
    before = method.anomaly_map(slices, inside)
    with torch.no_grad():
        vae.mean.weight.neg_()  # another score on the very same features
    torch.testing.assert_close(method.anomaly_map(slices, inside), -before)
    mean = ConstrainedVAE(network=vae, attention=ActivationMean()).eval()
    assert not torch.allclose(mean.anomaly_map(slices, inside), -before)


def test_gradient_of_the_constraint_is_that_of_finite_differences():
    """Through batch norm, Grad-CAM's own gradient and the barrier, down to the first weights."""
    method = ConstrainedVAE(network=network().double(), attention=GradCAM(), terms=[term()])
    slices, inside = slices_of(4)

    def cost() -> torch.Tensor:
        torch.manual_seed(0)
        return method.train().loss(slices.double(), inside, epoch=0.0).parts["constraint"]

    weights = list(method.network.encoder.parameters())
    gradients = torch.autograd.grad(cost(), weights)
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert length > 0
    # Small: Grad-CAM of a ReLU network jumps where a unit switches, and no gradient sees a jump.
    step, costs = 1e-7, []
    for sign in (1, -1):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.data.add_(gradient / length, alpha=sign * step)
        costs.append(cost().item())
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.data.sub_(gradient / length, alpha=sign * step)
    slope = (costs[0] - costs[1]) / (2 * step)
    assert slope == pytest.approx(length.item(), rel=1e-3)


@pytest.mark.parametrize(("stem", "size"), [("conv-pool", 8), ("conv", 16)])
def test_feature_sizes_of_both_stems(stem, size):
    stages = network(stem).encode(slices_of()[0]).stages
    assert [stage.shape[1:] for stage in stages] == [
        (4 * 2**n, size // 2**n, size // 2**n) for n in range(4)
    ]
    decoded = network(stem).decode(torch.zeros(2, 5))
    assert decoded.shape == (2, 1, 32, 32)


@pytest.mark.slow
def test_published_setting_has_the_published_features():
    method = Recipe.load("bmvc2021").method.eval()
    stages = method.network.encode(torch.zeros(1, 1, 224, 224)).stages
    assert stages.first.shape == (1, 64, 56, 56)
    assert stages.fourth.shape == (1, 512, 7, 7)
    # A ResNet-18 has 11,689,512 parameters, of them 513,000 in its classifier, 9,536 in its stem.
    assert (
        sum(p.numel() for p in method.network.encoder.stages.parameters())
        == 11_689_512 - 513_000 - 9_536
    )


def answer_to_a_common_shift(norm: str, *, train: bool) -> float:
    """|sum over slices of alpha| against the sum of |alpha|, over all channels."""
    torch.manual_seed(0)
    vae = VAE(size=64, width=8, latent=8, width_top=16, norm=norm).train(train)
    encoding = vae.encode(slices_of(8, 64)[0])
    (gradient,) = torch.autograd.grad(encoding.mean.sum(), encoding.stages.first)
    alpha = gradient.mean(dim=(2, 3))
    return (alpha.sum(0).abs().sum() / alpha.abs().sum()).item()


def test_batch_norm_hides_from_training_what_grad_cam_shows_at_test():
    """docs/decisions/0003: the next stage's batch norm subtracts a shift that all slices share, so
    in training the weights alpha of a channel sum to nearly nothing over the batch."""
    assert answer_to_a_common_shift("batch", train=True) < 0.15
    assert answer_to_a_common_shift("batch", train=False) > 0.5
    in_training = answer_to_a_common_shift("group", train=True)
    assert in_training == answer_to_a_common_shift("group", train=False) > 0.2


@pytest.mark.parametrize(("stem", "stage"), [("conv-pool", 1), ("conv-pool", 2), ("conv", 1)])
def test_a_map_pixel_is_drawn_where_its_receptive_field_lies(stem, stage):
    """Centre of what a feature sees, by its gradient, against that of what is drawn for it."""
    size, seen = 96, []
    for seed in range(6):
        torch.manual_seed(seed)
        vae = VAE(size=size, width=4, latent=2, width_top=16, stem=stem).eval()
        slices = torch.rand(1, 1, size, size, requires_grad=True)
        features = vae.encode(slices).stages[stage - 1]
        index = features.shape[2] // 2
        (gradient,) = torch.autograd.grad(features[0, :, index, index].sum(), slices)
        weight = gradient[0, 0].abs().sum(0)
        seen.append((weight * torch.arange(size)).sum() / weight.sum())
    side = size // (4 if stem == "conv-pool" else 2) // 2 ** (stage - 1)
    delta = torch.zeros(1, side, side)
    delta[0, side // 2, side // 2] = 1.0
    drawn = enlarged(delta, size // side)[0].sum(0)
    centre = (drawn * torch.arange(size)).sum() / drawn.sum()
    assert centre.item() == pytest.approx(size / 2, abs=1e-4)
    assert torch.stack(seen).mean().item() == pytest.approx(centre.item(), abs=0.5)


def made_of(*terms: Term, **options) -> ConstrainedVAE:
    return ConstrainedVAE(network=network(), attention=GradCAM(), terms=terms, **options)


@pytest.mark.parametrize("stages", [[], [0], [5], [2, 1], [1, 1]])
def test_impossible_stages_are_refused(stages):
    with pytest.raises(ValueError, match=r"stages is \[.*legal are one or more of 1 to 4"):
        made_of(stages=stages)


def test_other_impossible_options_are_refused_by_name():
    with pytest.raises(ValueError, match="beta is -1"):
        made_of(beta=-1.0)
    with pytest.raises(ValueError, match="index is 5, legal is 0 to 4"):
        made_of(target=OneLatent(index=5))


def test_a_recipe_that_says_nothing_of_the_target_has_the_published_one():
    resolved = Recipe.load("quick").resolved["method"]
    assert resolved["target"] == {"kind": "latent-sum"}
    other = Recipe.load("quick", ["method.target={kind: one-latent, index: 3}"])
    assert other.resolved["method"]["target"] == {"kind": "one-latent", "index": 3}


@pytest.mark.parametrize("upsampling", [("receptive-field", enlarged), ("corners", None)])
def test_the_map_of_several_stages_is_their_sum(upsampling):
    name, enlarge = upsampling
    enlarge = enlarge or enlarged_to_corners
    slices, inside = slices_of()
    method = made_of(stages=[2, 4], upsampling=name).eval()
    encoding = method.network.encode(slices.requires_grad_())
    second, fourth = (
        grad_cam(encoding.stages[n], encoding.mean.sum(), differentiable=False) for n in (1, 3)
    )
    expected = enlarge(second + enlarge(fourth, 4), 8)
    torch.testing.assert_close(method.anomaly_map(slices, inside)[:, 0], expected.detach())


@pytest.mark.parametrize("target", [LatentNorm(), OneLatent(index=2)])
def test_the_map_explains_the_target(target):
    slices, inside = slices_of()
    method = made_of(target=target).eval()
    encoding = method.network.encode(slices.requires_grad_())
    score = encoding.mean.norm(dim=1).sum() if target is not None else None
    if isinstance(target, OneLatent):
        score = encoding.mean[:, 2].sum()
    expected = enlarged(grad_cam(encoding.stages.first, score, differentiable=False), 4)
    torch.testing.assert_close(method.anomaly_map(slices, inside)[:, 0], expected.detach())


def test_a_constraint_at_the_slice_sees_the_slices_own_body():
    """The body is a ring of one pixel, which no pixel of the stage is half full of."""
    slices, inside = slices_of()
    inside = torch.zeros_like(inside)
    inside[..., 5, 5:20] = True
    found = {}
    for where in ("stage", "slice"):
        term = Term(constraint=Coverage(p=0.2, scope="body"), penalty=Linear(), weight=1.0)
        method = made_of(term, constrained_at=where).eval()
        found[where] = method.loss(slices, inside, 0.0).parts["constraint"].item()
    assert found["stage"] == pytest.approx(0.8)  # no body: nothing is covered
    encoding = method.network.encode(slices)
    squashed = grad_cam(encoding.stages.first, encoding.mean.sum()).sigmoid()
    attention = enlarged(squashed, 4)[:, 5, 5:20]
    assert found["slice"] == pytest.approx(0.8 - attention.mean().item(), abs=1e-6)


def test_evenness_sees_the_attention_and_coverage_its_sigmoid():
    slices, inside = slices_of()
    even = Term(constraint=Evenness(scope="image"), penalty=Linear(), weight=1.0)
    cover = Term(constraint=Coverage(), penalty=Linear(), weight=2.0)
    method = made_of(even, cover).eval()
    parts = method.loss(slices, inside, 0.0).parts
    encoding = method.network.encode(slices)
    attention = grad_cam(encoding.stages.first, encoding.mean.sum())
    everywhere = torch.ones_like(attention, dtype=torch.bool)
    expected = Evenness(scope="image").violation(attention, everywhere).mean()
    torch.testing.assert_close(parts["constraint_1"], expected)
    expected = 2 * (0.8 - attention.sigmoid().mean())
    torch.testing.assert_close(parts["constraint_2"], expected)


# So strict that an untrained network violates them, and every penalty has something to say.
STRICT = {
    "coverage": {"p": 0.01},
    "quantile-coverage": {"bound": 0.99},
    "regional-coverage": {"p": 0.01},
    "evenness": {"share": 0.998},
    "pixelwise-equality": {},
}
COMBINATIONS = [
    names
    for names in itertools.product(ATTENTIONS, CONSTRAINTS, PENALTIES)
    if not (PENALTIES[names[2]].needs_slack and names[1] == "pixelwise-equality")
]


@pytest.mark.parametrize(("attention", "constraint", "penalty"), COMBINATIONS)
def test_every_combination_is_finite_and_reaches_the_encoder(attention, constraint, penalty):
    asked = CONSTRAINTS[constraint](**STRICT[constraint])
    parts = Term(constraint=asked, penalty=PENALTIES[penalty](), weight=1.0)
    method = ConstrainedVAE(network=network(), attention=ATTENTIONS[attention](), terms=[parts])
    method.network.mean.weight.data.mul_(30)  # an untrained Grad-CAM is even, being nearly 0
    slices, inside = slices_of()
    inside[0, ..., :20] = False
    inside[2] = False  # a slice without a body
    found = method.train().loss(slices, inside, 0.0)
    assert torch.isfinite(found.total)
    assert all(torch.isfinite(part) for part in found.parts.values())
    weights = list(method.network.encoder.stages[0].parameters())
    for gradient in torch.autograd.grad(found.parts["constraint"], weights):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("attention", ["grad-cam", "hires-cam"])
def test_every_target_can_be_trained_through(attention, target):
    method = ConstrainedVAE(
        network=network(),
        attention=ATTENTIONS[attention](),
        target=TARGETS[target](),
        stages=[1, 2],
        terms=[term()],
    )
    found = method.train().loss(*slices_of(), 0.0)
    (gradient,) = torch.autograd.grad(found.parts["constraint"], method.network.mean.weight)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
