"""Autoencoding against plain computations; Monte Carlo dropout that can be repeated."""

from typing import TypeVar

import pytest
import torch
from torch.nn.functional import l1_loss

from wholesight.errors import RecipeError
from wholesight.methods.autoencoder import Autoencoding
from wholesight.methods.residual import Residual
from wholesight.nn.autoencoder import Autoencoder
from wholesight.nn.coder import Coder
from wholesight.nn.dropout import ChannelDropout, thinned
from wholesight.nn.vae import VAE
from wholesight.recipe import Recipe

Network = TypeVar("Network", bound=Coder)


def coder(cls: type[Network], **options) -> Network:
    torch.manual_seed(0)
    return cls(size=32, width=4, latent=8, width_top=16, norm="group", **options)


def batch_of(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    slices = torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return slices, torch.ones_like(slices, dtype=torch.bool)


def bayesian(samples: int, cls: type[Coder] = Autoencoder) -> Autoencoding:
    network = coder(cls, dropout=0.5)
    return Autoencoding(network=network, residual=Residual(), samples=samples).eval()


def halves() -> torch.Tensor:
    """A disc on black, dark on the left and bright on the right, in eight brightnesses."""
    along = torch.arange(32) - 15.5
    disc = torch.hypot(along[:, None], along[None]) < 13
    pattern = torch.where(along[None] < 0, 0.25, 0.75) * disc
    return pattern * torch.linspace(0.9, 1.1, 8)[:, None, None, None]


def auroc(scores: torch.Tensor, abnormal: torch.Tensor) -> float:
    """Share of pairs in which the abnormal pixel has the higher score."""
    return (scores[abnormal][:, None] > scores[~abnormal][None]).float().mean().item()


def test_loss_of_an_autoencoder_is_the_absolute_error_in_a_slice():
    network = coder(Autoencoder)
    method = Autoencoding(network=network, residual=Residual(), reconstruction="laplace")
    slices, inside = batch_of()
    terms = method.loss(slices, inside, 0.0)
    expected = l1_loss(network(slices).logits.sigmoid(), slices, reduction="sum") / 3
    torch.testing.assert_close(terms.total, expected)
    assert terms.parts.keys() == {"reconstruction"}


def test_loss_of_a_vae_is_the_weighted_sum():
    network = coder(VAE)
    method = Autoencoding(network=network, residual=Residual(), reconstruction="gaussian", beta=0.5)
    slices, inside = batch_of()
    torch.manual_seed(5)
    found = method.train().loss(slices, inside, 0.0).total
    torch.manual_seed(5)
    logits, mean, log_variance = network(slices)
    error = 0.5 * (logits.sigmoid() - slices).square().sum() / 3
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / 3
    torch.testing.assert_close(found, error + 0.5 * kl)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [Autoencoder, VAE])
def test_what_was_never_seen_stands_out(cls):
    """A blob as grey as nothing else, which an untrained network draws best of all."""
    network = coder(cls)
    method = Autoencoding(network=network, residual=Residual())
    normal = halves()
    inside = normal > 0
    blob = torch.zeros(32, 32, dtype=torch.bool)
    blob[10:16, 20:26] = True
    ill, body = torch.where(blob, 0.5, normal[4:5]), inside[4, 0]

    def found() -> float:
        anomalies = method.eval().anomaly_map(ill, inside[4:5])[0, 0]
        return auroc(anomalies[body], blob[body])

    assert found() < 0.5
    optimiser = torch.optim.Adam(method.parameters(), lr=5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        method.train().loss(normal, inside, 0.0).total.backward()
        optimiser.step()
    assert found() > 0.95


@pytest.mark.parametrize("cls", [Autoencoder, VAE])
def test_map_of_a_bayesian_network_can_be_repeated(cls):
    method = bayesian(4, cls)
    maps = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        maps.append(method.anomaly_map(*batch_of()))
    assert torch.equal(*maps)


def test_map_of_a_bayesian_network_compares_with_the_mean_of_its_draws():
    method = bayesian(3)
    slices, inside = batch_of()
    draws = []
    for seed in range(3):
        with thinned(method.network, seed):
            draws.append(method.network(slices).logits.sigmoid())
    assert not torch.allclose(draws[0], draws[1])
    expected = (slices - torch.stack(draws).mean(dim=0)).abs()
    torch.testing.assert_close(method.anomaly_map(slices, inside), expected)
    assert not torch.allclose(bayesian(2).anomaly_map(slices, inside), expected)


def test_drawing_leaves_the_network_whole():
    method = bayesian(3)
    slices, inside = batch_of()
    before = method.network(slices).logits
    method.anomaly_map(slices, inside)
    assert torch.equal(method.network(slices).logits, before)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    method.anomaly_map(slices, inside)
    assert torch.equal(torch.rand(1), expected)


def test_a_held_draw_serves_all_slices_and_keeps_the_mean():
    layer = ChannelDropout(1000, 0.2).eval()
    features = torch.ones(2, 1000, 3, 3)
    assert torch.equal(layer(features), features)
    with thinned(layer, 0):
        held = layer(features)
        assert torch.equal(held, layer(features))
    assert torch.equal(held[0], held[1])
    assert set(held.unique().tolist()) == {0.0, 1.25}
    assert held.mean().item() == pytest.approx(1.0, abs=0.05)
    # A channel is dropped as a whole.
    assert torch.equal(held[:, :, :1, :1].expand_as(held), held)


def test_in_training_every_slice_has_its_own_draw():
    torch.manual_seed(0)
    dropped = ChannelDropout(1000, 0.2).train()(torch.ones(2, 1000, 3, 3))
    assert not torch.equal(dropped[0], dropped[1])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("cls", [Autoencoder, VAE])
def test_dropout_changes_no_weights(cls):
    plain, thin = coder(cls).state_dict(), coder(cls, dropout=0.5).state_dict()
    assert plain.keys() == thin.keys()
    assert all(torch.equal(plain[key], thin[key]) for key in plain)


def test_dropout_is_on_both_sides_of_the_code():
    """With all else equal, dropping before the code changes the code, and after it the slice."""
    network = coder(VAE, dropout=0.5).train()
    slices, _ = batch_of()
    torch.manual_seed(1)
    first = network.encode(slices).mean
    assert not torch.allclose(network.encode(slices).mean, first)
    assert not torch.allclose(network.decode(first), network.decode(first))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 3}, "samples is 3 and the network's dropout is 0"),
        ({"samples": -1}, "samples is -1, legal is 0 or more"),
        ({"beta": 2.0}, "beta is 2.0, but the network's code is a point"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Autoencoding(network=coder(Autoencoder), residual=Residual(), **options)


def test_a_negative_beta_and_a_full_dropout_are_refused():
    with pytest.raises(ValueError, match=r"beta is -1.0, legal is beta >= 0"):
        Autoencoding(network=coder(VAE), residual=Residual(), beta=-1.0)
    with pytest.raises(ValueError, match=r"dropout is 1.0, legal is 0 <= dropout < 1"):
        coder(Autoencoder, dropout=1.0)


def test_the_recipe_names_the_key():
    with pytest.raises(RecipeError, match=r"method: samples is 5 and the network's dropout is 0"):
        Recipe.load("ae", ["method.samples=5"])
