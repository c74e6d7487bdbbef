"""What every shipped recipe's method promises."""

import pytest
import torch

from wholesight.recipe import Recipe
from wholesight.recipe_file import shipped

# Made small, a paper-sized recipe is much like its CPU-sized twin.
RECIPES = [
    pytest.param(name, marks=pytest.mark.slow) if name.endswith("-paper") else name
    for name in shipped()
]
# Epochs that every part of every method's schedule is on in, one way or another: players that take
# turns each get one in six steps, in the first part of training and in the last.
EPOCHS = [*[0.0] * 6, *[1000.0 + step for step in range(5)]]


def batch_of(recipe: Recipe, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    size = recipe.prep.slices.size or 48
    generator = torch.Generator().manual_seed(seed)
    slices = torch.rand(4, 1, size, size, generator=generator)
    inside = torch.ones(4, 1, size, size, dtype=torch.bool)
    inside[..., :8] = False
    return slices * inside, inside


def moves(parameter: torch.nn.Parameter) -> bool:
    """Whether its gradient is there, and not 0 everywhere."""
    return parameter.grad is not None and bool(parameter.grad.count_nonzero())


@torch.no_grad()
def shifts_every_score_alike(method: torch.nn.Module, key: str, slices: torch.Tensor) -> bool:
    """Whether it is a constant of a Wasserstein critic, whose loss E[D(y)] - E[D(x)] cancels it.

    The penalty, on the slope of D, does not see it either: its gradient is 0, and has to be.
    """
    if not key.startswith("critic."):
        return False
    before = method.critic(slices).score
    method.get_parameter(key).add_(1.0)
    shift = method.critic(slices).score - before
    return bool(shift[0] != 0) and torch.allclose(shift, shift[0].expand_as(shift), atol=1e-5)


def ready(recipe: Recipe) -> Recipe:
    """The recipe after its method has seen some normal slices: what `fit` does last."""
    method = recipe.method.eval()
    method.observe([batch_of(recipe, seed) for seed in (10, 11)])
    return recipe


@pytest.mark.parametrize("name", RECIPES)
def test_map_has_the_shape_of_the_slices_is_finite_and_depends_on_them(name, small_recipe):
    recipe = ready(small_recipe(name))
    method = recipe.method
    slices, inside = batch_of(recipe)
    found = method.anomaly_map(slices, inside)
    assert found.shape == inside.shape
    assert torch.isfinite(found).all()
    assert not found.requires_grad
    other, _ = batch_of(recipe, seed=1)
    assert not torch.allclose(found, method.anomaly_map(other, inside))


@pytest.mark.parametrize("name", RECIPES)
def test_map_of_a_slice_does_not_depend_on_its_neighbours(name, small_recipe):
    """Batch norm uses its running statistics in eval mode, so a batch is only a way to be fast."""
    recipe = ready(small_recipe(name))
    # In float64: an untrained map may be a quotient of two numbers near zero.
    method = recipe.method.double()
    slices, inside = batch_of(recipe)
    together = method.anomaly_map(slices.double(), inside)
    alone = method.anomaly_map(slices[1:2].double(), inside[1:2])
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("name", RECIPES)
def test_loss_is_finite_reaches_every_parameter_and_changes_the_map(name, small_recipe):
    recipe = small_recipe(name)
    method = recipe.method
    if not method.trainable:
        assert not list(method.parameters())
        return
    slices, inside = batch_of(recipe)
    before = ready(recipe).method.anomaly_map(slices, inside)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3)
    silent = {key for key, _ in method.named_parameters()}
    # Players of a method take turns.
    for epoch in EPOCHS:
        optimiser.zero_grad()
        terms = method.train().loss(slices, inside, epoch)
        terms.total.backward()
        assert torch.isfinite(terms.total)
        assert all(torch.isfinite(part) for part in terms.parts.values())
        silent -= {key for key, value in method.named_parameters() if moves(value)}
        optimiser.step()
    after = method.eval().anomaly_map(slices, inside)
    assert not torch.allclose(before, after)
    assert [key for key in silent if not shifts_every_score_alike(method, key, slices)] == []


@pytest.mark.parametrize("name", RECIPES)
def test_same_seed_same_weights_and_loss(name, small_recipe):
    losses = []
    for _ in range(2):
        recipe = small_recipe(name)
        torch.manual_seed(3)
        losses.append(recipe.method.train().loss(*batch_of(recipe), epoch=1000.0).total.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", RECIPES)
def test_resolved_recipe_gives_the_same_recipe(name, small_recipe):
    recipe = small_recipe(name)
    again = Recipe.from_dict(recipe.resolved)
    assert again.resolved == recipe.resolved
    assert recipe.summary


@pytest.mark.parametrize("name", RECIPES)
def test_a_map_that_is_said_to_lie_in_0_to_1_does(name, small_recipe):
    recipe = ready(small_recipe(name))
    found = recipe.method.anomaly_map(*batch_of(recipe))
    if recipe.method.unit_map:
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-6  # enlarging rounds
    assert recipe.method.unit_map == (name in {"bmvc2021", "vae-paper"})


@pytest.mark.parametrize("name", RECIPES)
def test_every_method_names_its_source(name, small_recipe):
    assert len(small_recipe(name).method.reference) > 20
