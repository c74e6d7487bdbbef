"""Which maps are stretched slice by slice, so that how high they are says nothing of a slice."""

import itertools

import pytest
import torch

from wholesight.attention import NORMALISATIONS, GradCAM
from wholesight.methods.combine import Average, Gate, Standardised
from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.methods.intensity import SmoothedIntensity
from wholesight.methods.method import Method
from wholesight.nn.vae import VAE
from wholesight.recipe_file import shipped

# Why a shipped recipe is: how its file scales the map at test time, as its source published it.
SCALED = {"bmvc2021": "min-max", "vae-paper": "min-max", "media2022-gradcamcons": "row-maxima"}


class Strong(GradCAM):
    """Grad-CAM of a network that answers strongly, as a trained one does."""

    def __call__(self, features, score, *, differentiable):
        return 1e6 * super().__call__(features, score, differentiable=differentiable)


def constrained(normalisation: str) -> ConstrainedVAE:
    torch.manual_seed(0)
    vae = VAE(size=32, width=4, latent=5, width_top=16)
    return ConstrainedVAE(network=vae, attention=Strong(), map_normalisation=normalisation)


def maxima(method: Method) -> torch.Tensor:
    """The highest value in each of six slices, the last a tenth as bright as the first."""
    slices = torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    slices = slices.double() * torch.linspace(1, 0.1, 6)[:, None, None, None]
    inside = torch.ones(slices.shape, dtype=torch.bool)
    method = method.double().eval()
    method.observe([(slices, inside)])
    return method.anomaly_map(slices, inside).amax(dim=(1, 2, 3))


def are_alike(highest: torch.Tensor) -> bool:
    return bool(highest.max() - highest.min() < 1e-4 * highest.abs().max())


@pytest.mark.filterwarnings("ignore:.*linear branch:UserWarning")
def test_exactly_these_shipped_recipes_are(small_recipe):
    found = {name: small_recipe(name) for name in shipped()}
    scaled = [name for name, recipe in found.items() if recipe.method.scaled_per_slice]
    why = {name: found[name].resolved["method"]["map_normalisation"] for name in scaled}
    assert why == SCALED


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_slices_of_such_a_map_and_of_no_other_share_their_maximum(normalisation):
    method = constrained(normalisation)
    assert are_alike(maxima(method)) is method.scaled_per_slice


@pytest.mark.parametrize("name", [name for name in shipped() if name not in SCALED])
def test_no_other_shipped_recipe_hides_it(name, small_recipe):
    assert not are_alike(maxima(small_recipe(name).method))


@pytest.mark.parametrize(
    "combined",
    [
        lambda *parts: Average(methods=parts),
        lambda first, second: Gate(map=first, gate=second),
        lambda first, second: Standardised(method=Average(methods=[first, second])),
    ],
    ids=["average", "gate", "standardised"],
)
def test_a_combination_is_when_all_of_its_parts_are(combined):
    """One part that is not is enough to tell slices apart."""
    for first, second in itertools.product(NORMALISATIONS, NORMALISATIONS):
        parts = constrained(first), constrained(second)
        expected = all(part.scaled_per_slice for part in parts)
        assert combined(*parts).scaled_per_slice is expected
    floor = SmoothedIntensity(sigma_px=0.0)
    assert not combined(floor, constrained("min-max")).scaled_per_slice
