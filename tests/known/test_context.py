"""Context encoding: what is painted, what the loss counts, and gradients by hand."""

from typing import TypeVar

import pytest
import torch

from wholesight.methods.context import ContextEncoding, painted_over
from wholesight.methods.residual import Residual, smoothed_inside
from wholesight.nn.autoencoder import Autoencoder
from wholesight.nn.coder import Coder
from wholesight.nn.vae import VAE

Network = TypeVar("Network", bound=Coder)


def coder(cls: type[Network]) -> Network:
    torch.manual_seed(0)
    return cls(size=32, width=4, latent=8, width_top=16, norm="group")


def batch_of(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    slices = torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    inside = torch.ones_like(slices, dtype=torch.bool)
    inside[..., :5] = False
    return slices, inside


def method_of(cls: type[Coder] = VAE, **options) -> ContextEncoding:
    return ContextEncoding(network=coder(cls), residual=Residual(), **options)


def test_one_square_of_half_the_side_covers_a_quarter():
    slices = torch.full((200, 1, 32, 32), 2.0)
    torch.manual_seed(0)
    painted = painted_over(slices, squares=1, side=(0.5, 0.5))
    assert (slices == 2).all()
    tops, lefts = set(), set()
    for canvas in painted[:, 0]:
        rows, columns = torch.nonzero(canvas != 2, as_tuple=True)
        assert len(rows) == 16 * 16
        assert rows.max() - rows.min() == columns.max() - columns.min() == 15
        grey = canvas[canvas != 2].unique()
        assert len(grey) == 1
        assert 0 <= grey.item() <= 1
        tops.add(rows.min().item())
        lefts.add(columns.min().item())
    # Every place that there is, up to the edges.
    assert tops == lefts == set(range(17))


def test_every_slice_has_one_to_all_squares():
    torch.manual_seed(0)
    painted = painted_over(torch.full((60, 1, 64, 64), 2.0), squares=3, side=(0.1, 0.1))
    greys = [len(canvas[canvas != 2].unique()) for canvas in painted]
    assert set(greys) == {1, 2, 3}


def test_loss_counts_the_whole_slice_and_both_halves():
    method = method_of(beta=0.7, weight=0.25)
    slices, inside = batch_of()
    torch.manual_seed(5)
    found = method.train().loss(slices, inside, 0.0)
    torch.manual_seed(5)
    painted = painted_over(slices, squares=3, side=(0.0, 0.5))
    network = method.network
    assert isinstance(network, VAE)
    # From the mean: no noise is drawn, no KL is added, and the target is the slice unpainted.
    filled_in = network.decode(network.encode(painted).mean).sigmoid()
    context = (filled_in - slices).abs().sum() / 3
    logits, mean, log_variance = network(slices)
    plain = (logits.sigmoid() - slices).abs().sum() / 3
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / 3
    torch.testing.assert_close(found.total, 0.75 * (plain + 0.7 * kl) + 0.25 * context)
    torch.testing.assert_close(found.parts["context"], context)


def test_a_context_encoder_alone_never_sees_the_whole_slice():
    """Painted from edge to edge, all slices look alike, and so do the reconstructions."""
    method = method_of(Autoencoder, weight=1.0, squares=1, side=(1.0, 1.0))
    slices, inside = batch_of()
    torch.manual_seed(5)
    painted = painted_over(slices, squares=1, side=(1.0, 1.0))
    filled_in = method.network(painted).logits.sigmoid()
    torch.manual_seed(5)
    terms = method.loss(slices, inside, 0.0)
    torch.testing.assert_close(terms.total, (filled_in - slices).abs().sum() / 3)
    assert terms.parts.keys() == {"context"}


@pytest.mark.parametrize("of", ["kl", "elbo"])
def test_gradient_by_hand(of):
    method = method_of(beta=0.7, score="gradient", gradient_of=of, gradient_sigma_px=0.0)
    method = method.eval().double()
    slices, inside = batch_of()
    slices = slices.double()
    assert isinstance(method.network, VAE)
    found = method.anomaly_map(slices, inside)
    for number in range(3):
        pixels = slices[number : number + 1].clone().requires_grad_()
        encoding = method.network.encode(pixels)
        mean, log_variance = encoding.mean, encoding.log_variance
        cost = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        if of == "elbo":
            cost = 0.7 * cost + (method.network.decode(mean).sigmoid() - pixels).abs().sum()
        cost.backward()
        assert pixels.grad is not None
        expected = pixels.grad.abs() * inside[number]
        torch.testing.assert_close(found[number : number + 1], expected)


def test_product_multiplies_the_smoothed_gradient_with_the_residual():
    slices, inside = batch_of()
    gradient = {"gradient_of": "kl", "gradient_sigma_px": 1.5}
    rough = method_of(score="gradient", gradient_of="kl", gradient_sigma_px=0.0).eval()
    smooth = smoothed_inside(rough.anomaly_map(slices, inside), inside, 1.5)
    residual = method_of().eval().anomaly_map(slices, inside)
    product = method_of(score="product", **gradient).eval().anomaly_map(slices, inside)
    torch.testing.assert_close(product, smooth * residual)
    assert product.max() > 0


def test_map_leaves_no_gradients_behind():
    method = method_of(score="product", gradient_of="elbo", gradient_sigma_px=1.0).eval()
    method.anomaly_map(*batch_of())
    assert all(parameter.grad is None for parameter in method.parameters())


KL = {"gradient_of": "kl", "gradient_sigma_px": 1.0}


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (VAE, {"weight": 0.0}, "weight is 0.0, legal is 0 < weight <= 1"),
        (VAE, {"weight": 1.0}, "weight is 1, which would leave the KL"),
        (VAE, {"squares": 0}, "squares is 0, legal is 1 or more"),
        (VAE, {"side": (0.5, 0.2)}, r"side is \[0.5, 0.2\], legal are"),
        (VAE, {"side": (0.0, 0.0)}, r"side is \[0.0, 0.0\], legal are"),
        (VAE, {"side": (0.1,)}, r"side is \[0.1\], legal are"),
        (VAE, KL, "score is residual, but gradient_of is kl"),
        (VAE, {"score": "gradient"}, "score is gradient and gradient_of is None"),
        (VAE, {"score": "product", "gradient_of": "kl"}, "gradient_sigma_px is None"),
        (VAE, {"score": "product", **KL, "gradient_sigma_px": -1.0}, "gradient_sigma_px is -1.0"),
        (Autoencoder, {"score": "gradient", **KL}, "code is a point; legal is residual"),
        (Autoencoder, {"beta": 1.0}, "beta is 1.0, but the network's code is a point"),
    ],
)
def test_bad_options_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        method_of(cls, **options)
