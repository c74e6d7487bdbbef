"""Critics, turns and two-stage training against answers by hand; the traps of published code."""

import pytest
import torch
from torch import Tensor, nn

from wholesight.errors import RecipeError
from wholesight.methods.adversarial import Turns, critic_loss
from wholesight.methods.anovaegan import AnoVAEGAN
from wholesight.methods.fanogan import FAnoGAN
from wholesight.methods.residual import Residual
from wholesight.nn.autoencoder import Autoencoder
from wholesight.nn.critic import Critic, Judgement, frozen, gradient_penalty
from wholesight.nn.vae import VAE
from wholesight.recipe import Recipe


def slices_of(n: int = 4, seed: int = 0, size: int = 32) -> tuple[Tensor, Tensor]:
    slices = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))
    return slices, torch.ones_like(slices, dtype=torch.bool)


def fanogan(*, norm: str = "group", size: int = 32, **options) -> FAnoGAN:
    torch.manual_seed(0)
    return FAnoGAN(
        network=Autoencoder(size=size, width=4, latent=5, width_top=16, stem="conv", norm=norm),
        critic=Critic(size=size, width=4),
        residual=Residual(),
        **{"encoder_start": 2.0, **options},
    )


def anovaegan(*, size: int = 32, **options) -> AnoVAEGAN:
    torch.manual_seed(0)
    return AnoVAEGAN(
        network=VAE(size=size, width=4, latent=5, width_top=16, stem="conv", norm="group"),
        critic=Critic(size=size, width=4),
        residual=Residual(),
        **options,
    )


def reached(method: nn.Module, epoch: float) -> set[str]:
    """Names of the parameters that one step gives a gradient, be it of zeros."""
    method.zero_grad(set_to_none=True)
    method.train().loss(*slices_of(), epoch).total.backward()
    return {name for name, value in method.named_parameters() if value.grad is not None}


def owned(method: nn.Module, *owners: str) -> set[str]:
    return {name for name, _ in method.named_parameters() if name.startswith(owners)}


class LinearCritic(nn.Module):
    """D(x) = w . x, whose gradient is w everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, slices: Tensor) -> Judgement:
        flat = slices.flatten(1)
        return Judgement(flat @ self.weight, flat)


class SquareCritic(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient is x itself: another norm for every slice."""

    def forward(self, slices: Tensor) -> Tensor:
        return 0.5 * slices.flatten(1).square().sum(dim=1)


# The gradient penalty


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_the_square_of_its_norm_less_one(norm):
    weight = torch.randn(1024, generator=torch.Generator().manual_seed(1))
    critic = LinearCritic(norm * weight / weight.norm())
    real, fake = slices_of()[0], slices_of(seed=1)[0]
    terms = critic_loss(critic, real, fake, penalty_weight=10.0)
    expected = torch.full((4,), (norm - 1) ** 2)
    each = gradient_penalty(lambda slices: critic(slices).score, real, fake)
    torch.testing.assert_close(each, expected, atol=1e-5, rtol=1e-5)
    penalty, distance = 10 * (norm - 1) ** 2, ((real - fake).flatten(1) @ critic.weight).mean()
    torch.testing.assert_close(terms.parts["penalty"].item(), penalty, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(terms.parts["wasserstein"], distance)
    torch.testing.assert_close(terms.total, penalty - distance, atol=1e-4, rtol=1e-5)


def test_penalty_has_one_norm_a_slice_and_one_point_between_each_pair():
    """Published code takes the norm along one image axis; a norm over the batch is as wrong."""
    real, fake = slices_of()[0], slices_of(seed=1)[0]
    torch.manual_seed(7)
    found = gradient_penalty(SquareCritic(), real, fake)
    torch.manual_seed(7)
    shares = torch.rand(4, 1, 1, 1).flatten()
    expected = [
        ((1 - share) * x + share * y).flatten().norm().item()
        for share, x, y in zip(shares, real, fake, strict=True)
    ]
    assert len({round(share.item(), 3) for share in shares}) == 4
    torch.testing.assert_close(found, (torch.tensor(expected) - 1).square())


def test_penalty_moves_the_critics_weights():
    """Its gradient goes through a gradient; without create_graph the weights would feel nothing."""
    critic = LinearCritic(torch.full((1024,), 3 / 32))  # of norm 3
    real, fake = slices_of()[0], slices_of(seed=1)[0]
    gradient_penalty(lambda slices: critic(slices).score, real, fake).mean().backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(critic.weight.grad, 4 * critic.weight.detach() / 3)


def test_penalty_reaches_the_first_layer_of_a_deep_critic():
    critic = Critic(size=32, width=4).double()
    real, fake = slices_of()[0].double(), slices_of(seed=1)[0].double()

    def penalty() -> Tensor:
        torch.manual_seed(0)
        return gradient_penalty(lambda slices: critic(slices).score, real, fake).mean()

    weight = critic.features[0].weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    place, step = int(gradient.abs().argmax()), 1e-7
    before, values = weight.detach().clone(), []
    for sign in (1, -1):
        weight.data.view(-1)[place] += sign * step
        values.append(penalty().item())
        weight.data.copy_(before)
    slope = (values[0] - values[1]) / (2 * step)
    assert slope == pytest.approx(gradient.view(-1)[place].item(), rel=1e-3)
    assert slope != 0


def test_penalty_of_a_flat_critic_is_one_and_trainable():
    """The norm of a zero gradient has no derivative; it must not become NaN."""
    critic = LinearCritic(torch.zeros(1024))
    real, fake = slices_of()[0], slices_of(seed=1)[0]
    penalty = gradient_penalty(lambda slices: critic(slices).score, real, fake)
    penalty.mean().backward()
    torch.testing.assert_close(penalty, torch.ones(4))
    assert torch.isfinite(critic.weight.grad).all()


def test_score_of_a_slice_does_not_depend_on_its_neighbours():
    """What the penalty takes for granted, in training mode."""
    critic, (slices, _) = Critic(size=32, width=4).double().train(), slices_of()
    together, alone = critic(slices.double()), critic(slices[2:3].double())
    torch.testing.assert_close(together.score[2:3], alone.score)
    torch.testing.assert_close(together.features[2:3], alone.features)


def test_a_frozen_module_passes_gradients_on_and_keeps_none():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 1), torch.ones(2, 3, requires_grad=True)
    frozen(layer)(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.detach().expand(2, 3))
    assert layer.weight.grad is None
    assert layer.weight.requires_grad


# Turns


@pytest.mark.parametrize("make", [fanogan, anovaegan])
def test_five_steps_of_the_critic_and_then_one_of_its_opponent(make):
    """No parameter of a player that waits may get a gradient: Adam would move it all the same."""
    method = make(critic_steps=5)
    critic = owned(method, "critic.")
    generator = owned(method, "network.decoder.")
    opponent = generator if make is fanogan else owned(method, "network.")
    assert [reached(method, 0.0) for _ in range(12)] == 2 * ([critic] * 5 + [opponent])


def test_parts_of_a_step_are_those_of_its_player():
    method = fanogan(critic_steps=1)
    steps = [set(method.train().loss(*slices_of(), epoch).parts) for epoch in (0.0, 0.0, 2.0)]
    critic, encoder = {"critic", "wasserstein", "penalty"}, {"image_residual", "feature_residual"}
    assert steps == [critic, {"generator"}, encoder]
    assert set(anovaegan().train().loss(*slices_of(), 0.0).parts) == critic


@pytest.mark.parametrize("make", [fanogan, anovaegan])
def test_a_resumed_training_goes_on_with_the_same_players_turn(make):
    method = make(critic_steps=2)
    for _ in range(4):
        reached(method, 0.0)
    again = make(critic_steps=2)
    again.load_state_dict(method.state_dict())
    rest = [reached(method, 0.0) for _ in range(5)]
    assert [reached(again, 0.0) for _ in range(5)] == rest
    # From the beginning, other players would be on.
    fresh = make(critic_steps=2)
    assert [reached(fresh, 0.0) for _ in range(5)] != rest


def test_looking_on_takes_no_turn():
    turns = Turns(critic_steps=1)
    assert [turns.eval().take() for _ in range(3)] == [True] * 3
    assert [turns.train().take() for _ in range(4)] == [True, False, True, False]


# f-AnoGAN's two stages


def test_encoder_loss_is_the_mean_over_all_slices():
    """An f-AnoGAN in published code compares the last slice of the batch only."""
    method = fanogan(kappa=0.5)
    slices, inside = slices_of(3)
    terms = method.train().loss(slices, inside, 2.0)
    image, feature = [], []
    for x in slices:  # one by one: group norm does not couple them
        z = method.network.code(method.network.encoder(x[None]).fourth.flatten(1))
        y = torch.sigmoid(method.network.decoder(z))[0]
        image.append(((x - y) ** 2).sum() / (32 * 32))
        f_x, f_y = (method.critic.features(v[None])[0] for v in (x, y))
        feature.append(((f_x - f_y) ** 2).sum() / (8 * 4 * 2 * 2))
    expected = (sum(image) + 0.5 * sum(feature)) / 3
    torch.testing.assert_close(terms.total, expected)
    torch.testing.assert_close(terms.parts["feature_residual"], sum(feature) / 3)
    only_the_last = image[-1] + 0.5 * feature[-1]
    assert not torch.allclose(terms.total, only_the_last, rtol=1e-3)


def test_generator_is_trained_on_noise_alone():
    """In the first stage, the encoder is not there yet: other slices, the same step."""
    method = fanogan(critic_steps=1)
    totals = []
    for seed in (0, 1):
        method.turns.taken.fill_(1)
        torch.manual_seed(3)
        terms = method.train().loss(*slices_of(seed=seed), 0.0)
        totals.append(terms.total.item())
    assert totals[0] == totals[1]
    torch.manual_seed(3)
    made = method.network.decoder(torch.randn(4, 5)).sigmoid()
    torch.testing.assert_close(totals[0], -method.critic(made).score.mean().item())


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_second_stage_trains_the_encoder_and_leaves_the_rest_to_the_last_bit(norm):
    method = fanogan(norm=norm)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)

    def train(steps: int, epoch: float) -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            method.train().loss(*slices_of(), epoch).total.backward()
            optimiser.step()

    train(6, 0.0)  # so that Adam has moments of all players, which would move them
    before = {name: value.clone() for name, value in method.state_dict().items()}
    train(3, 2.0)
    still = ("critic.", "network.decoder.", "turns.")
    for name, value in method.state_dict().items():
        if name.startswith(still):
            assert torch.equal(value, before[name]), name
    encoder = owned(method, "network.encoder.", "network.code.")
    assert not any(torch.equal(method.state_dict()[name], before[name]) for name in encoder)
    assert reached(method, 2.0) == encoder


def test_a_recipe_must_train_beyond_the_encoders_start():
    assert fanogan(encoder_start=7.0).last_start == 7
    with pytest.raises(RecipeError, match="7 is too few"):
        Recipe.load("fanogan", ["training.epochs=7", "method.encoder_start=7"])


# AnoVAEGAN


def test_vaes_loss_equals_a_plain_computation():
    method = anovaegan(critic_steps=1, beta=0.5, adversarial_weight=3.0)
    method.turns.taken.fill_(1)
    slices, inside = slices_of()
    torch.manual_seed(5)
    terms = method.train().loss(slices, inside, 0.0)
    torch.manual_seed(5)
    top = method.network.encoder(slices).fourth.flatten(1)
    mu, logvar = method.network.mean(top), method.network.log_variance(top)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    y = torch.sigmoid(method.network.decoder(z))
    error = (slices - y).abs().sum() / 4
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum() / 4
    expected = error + 0.5 * kl - 3 * method.critic(y).score.mean()
    torch.testing.assert_close(terms.total, expected)


def test_critic_compares_slices_with_their_reconstructions():
    method = anovaegan()
    slices, inside = slices_of()
    torch.manual_seed(5)
    terms = method.train().loss(slices, inside, 0.0)
    torch.manual_seed(5)
    y = method.network(slices).logits.sigmoid()
    expected = method.critic(slices).score.mean() - method.critic(y).score.mean()
    torch.testing.assert_close(terms.parts["wasserstein"], expected)


def test_the_critics_verdict_changes_what_the_vae_learns():
    gradients = []
    for weight in (0.0, 1.0):
        method = anovaegan(critic_steps=1, adversarial_weight=weight)
        method.turns.taken.fill_(1)
        torch.manual_seed(5)
        method.train().loss(*slices_of(), 0.0).total.backward()
        gradients.append(method.network.decoder.out.weight.grad)
    assert not torch.allclose(*gradients)


# The map


def discs(n: int, seed: int) -> Tensor:
    """Grey discs of radius 4 to 6 in 16 x 16 pixels: the normal slices of a toy."""
    radius = 4 + 2 * torch.rand(n, 1, 1, generator=torch.Generator().manual_seed(seed))
    axis = torch.arange(16) - 7.5
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return 0.5 * torch.sigmoid(2 * (radius - torch.hypot(rows, columns)))[:, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "epochs"), [(fanogan, [0.0] * 120 + [2.0] * 50), (anovaegan, [0.0] * 60)]
)
def test_map_of_a_trained_toy_is_high_on_an_inserted_blob(make, epochs):
    method = make(size=16, critic_steps=2 if make is fanogan else 1)
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3, betas=(0.0, 0.9))
    for number, epoch in enumerate(epochs):
        slices = discs(8, seed=number)
        optimiser.zero_grad()
        method.train().loss(slices, slices > 0.05, epoch).total.backward()
        optimiser.step()
    slices = discs(4, seed=1_000)
    inside = slices > 0.05
    blob = torch.zeros_like(inside)
    blob[..., 6:9, 7:10] = True
    found = method.eval().anomaly_map(torch.where(blob, 1.0, slices), inside)
    assert found[blob].mean() > 3 * found[inside & ~blob].mean()


def test_map_is_the_residual_against_the_generated_slice():
    method = fanogan().eval()
    slices, inside = slices_of()
    inside[..., :8] = False
    z = method.network.code(method.network.encoder(slices).fourth.flatten(1))
    expected = (slices - torch.sigmoid(method.network.decoder(z))).abs() * inside
    torch.testing.assert_close(method.anomaly_map(slices, inside), expected.detach())


def test_critic_sees_how_bright_a_slice_is():
    """With a norm on every path it does not, and the generator learns no brightness."""
    torch.manual_seed(0)
    critic, (slices, _) = Critic(size=32, width=4), slices_of()
    bright, dark = critic(slices).features, critic(0.1 * slices).features
    assert (bright - dark).norm() > 0.2 * bright.norm()


# Bad options


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("fanogan", "critic_steps=0", "critic_steps is 0, legal is 1 or more"),
        ("fanogan", "penalty_weight=-1.0", r"penalty_weight is -1\.0, legal is 0 or more"),
        ("fanogan", "kappa=-0.5", r"kappa is -0\.5, legal is 0 or more"),
        ("fanogan", "kappa=.nan", "kappa: nan is not legal, a finite number"),
        ("fanogan", "encoder_start=0.0", r"encoder_start is 0\.0, legal is > 0"),
        ("fanogan", "critic.size=64", r"critic takes slices of \(1, 64, 64\), legal .*96"),
        ("fanogan", "critic.size=40", "size is 40, legal are multiples of 32"),
        ("fanogan", "critic.stride=3", "Input should be 1 or 2"),
        ("fanogan", "critic.width=0", "width 0 must be at least 1"),
        ("anovaegan", "critic_steps=0", "critic_steps is 0, legal is 1 or more"),
        ("anovaegan", "penalty_weight=-1.0", r"penalty_weight is -1\.0, legal is 0 or more"),
        ("anovaegan", "beta=-1.0", r"beta is -1\.0, legal is 0 or more"),
        (
            "anovaegan",
            "adversarial_weight=-1.0",
            r"adversarial_weight is -1\.0, legal is 0 or more",
        ),
        (
            "anovaegan",
            "critic.channels=3",
            r"critic takes slices of \(3, 96, 96\), legal .*\(1, 96",
        ),
    ],
)
def test_an_illegal_option_is_named_with_its_value_and_the_legal_ones(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.load(recipe, [f"method.{override}"])
