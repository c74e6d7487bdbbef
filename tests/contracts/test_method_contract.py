"""What every shipped recipe's method promises."""

import pytest
import torch

from wholesight.recipe import Recipe, shipped

# The published size is shrunk, never the code: the same classes at another size and width.
SMALL = {
    "bmvc2021": ["size=64", "method.network.width=4", "method.network.width_top=16"],
}


def recipe_of(name: str) -> Recipe:
    torch.manual_seed(0)
    return Recipe.load(name, SMALL.get(name, ()))


def batch_of(recipe: Recipe, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    size = recipe.prep.slices.size or 48
    generator = torch.Generator().manual_seed(seed)
    slices = torch.rand(4, 1, size, size, generator=generator)
    inside = torch.ones(4, 1, size, size, dtype=torch.bool)
    inside[..., :8] = False
    return slices * inside, inside


@pytest.mark.parametrize("name", shipped())
def test_map_has_the_shape_of_the_slices_is_finite_and_depends_on_them(name):
    recipe = recipe_of(name)
    method = recipe.method.eval()
    slices, inside = batch_of(recipe)
    found = method.anomaly_map(slices, inside)
    assert found.shape == inside.shape
    assert torch.isfinite(found).all()
    assert not found.requires_grad
    other, _ = batch_of(recipe, seed=1)
    assert not torch.allclose(found, method.anomaly_map(other, inside))


@pytest.mark.parametrize("name", shipped())
def test_map_of_a_slice_does_not_depend_on_its_neighbours(name):
    """Batch norm uses its running statistics in eval mode, so a batch is only a way to be fast."""
    recipe = recipe_of(name)
    # In float64: an untrained map may be a quotient of two numbers near zero.
    method = recipe.method.double().eval()
    slices, inside = batch_of(recipe)
    together = method.anomaly_map(slices.double(), inside)
    alone = method.anomaly_map(slices[1:2].double(), inside[1:2])
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("name", shipped())
def test_loss_is_finite_reaches_every_parameter_and_changes_the_map(name):
    recipe = recipe_of(name)
    method = recipe.method
    if not method.trainable:
        assert not list(method.parameters())
        return
    slices, inside = batch_of(recipe)
    before = method.eval().anomaly_map(slices, inside)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3)
    terms = method.train().loss(slices, inside, epoch=1000.0)
    terms.total.backward()
    assert torch.isfinite(terms.total)
    assert all(torch.isfinite(part) for part in terms.parts.values())
    silent = [key for key, value in method.named_parameters() if value.grad is None]
    assert silent == []
    optimiser.step()
    after = method.eval().anomaly_map(slices, inside)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("name", shipped())
def test_same_seed_same_weights_and_loss(name):
    losses = []
    for _ in range(2):
        recipe = recipe_of(name)
        torch.manual_seed(3)
        losses.append(recipe.method.train().loss(*batch_of(recipe), epoch=1000.0).total.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", shipped())
def test_resolved_recipe_gives_the_same_recipe(name):
    recipe = recipe_of(name)
    again = Recipe.from_dict(recipe.resolved)
    assert again.resolved == recipe.resolved
    assert recipe.summary


@pytest.mark.parametrize("name", shipped())
def test_every_method_names_its_source(name):
    assert len(recipe_of(name).method.reference) > 20
