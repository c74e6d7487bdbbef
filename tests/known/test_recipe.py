"""Recipes: what is not legal is refused with the key, the value and the legal ones."""

from pathlib import Path

import pytest
import yaml

from wholesight.errors import RecipeError
from wholesight.recipe import Recipe, catalogue, shipped


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method.betta=1.0", ["betta", "Did you mean 'beta'?"]),
        ("metthod=1", ["metthod", "Did you mean 'method'?"]),
        ("method.kind=constrained-vea", ["'constrained-vea'", "Did you mean 'constrained-vae'?"]),
        ("method.attention=gradcam", ["method.attention", "'gradcam'", "grad-cam", "hires-cam"]),
        ("method.target=latent-som", ["method.target", "'latent-som'", "latent-sum"]),
        ("method.target={kind: one-latent, index: 99}", ["99", "index", "latent"]),
        ("method.stages=[5]", ["method", "5", "1 to 4"]),
        ("method.stages=[]", ["method", "stages"]),
        ("method.beta=-1.0", ["method", "beta", "-1", ">= 0"]),
        ("method.beta=high", ["method.beta", "'high'", "number"]),
        ("method.terms.0.constraint.p=1.5", ["terms.0.constraint", "p is 1.5", "0 < p < 1"]),
        ("method.terms.0.constraint.kind=cover", ["constraint.kind", "'cover'", "coverage"]),
        ("method.terms.0.penalty.t=0", ["terms.0.penalty", "t is 0", "t > 0"]),
        ("method.terms.0.weight=0", ["terms.0", "weight", "> 0"]),
        ("method.terms.0.warmup_epochs=16", ["training.epochs", "16", "earlier"]),
        ("method.terms.0.constraint=pixelwise-equality", ["log-barrier", "pixelwise-equality"]),
        ("method.map_normalisation=max", ["map_normalisation", "'max'", "min-max"]),
        ("method.network.norm=layer", ["network.norm", "'layer'", "group"]),
        ("method.network.width=0", ["network", "width", "at least 1"]),
        ("method.network.size=100", ["network", "100", "32"]),
        ("size=100", ["100", "multiple of 32"]),
        ("prep.intensity={kind: mode, top: null}", ["prep.intensity", "[0, 1]", "percentile"]),
        ("prep.body=hed", ["prep.body", "'hed'", "nonzero"]),
        ("training.learning_rate=0", ["training", "learning_rate"]),
        ("training.betas=[0.9]", ["training", "betas", "[0.9]"]),
        ("training.betas=[0.9, 1.0]", ["training", "betas", "0 <= beta < 1"]),
        ("training.epochs=2.5", ["training.epochs", "2.5"]),
        ("training.learning_rate=.nan", ["training.learning_rate", "nan", "finite"]),
        ("method.beta=.inf", ["method.beta", "inf", "finite"]),
        ("method.network.width_top=3", ["method.network", "width_top is 3", "4 or more"]),
        ("method.network.latent=0", ["method.network", "latent is 0", "1 or more"]),
        ("cost=cheap", ["cost", "'cheap'", "minutes"]),
    ],
)
def test_what_is_not_legal_is_named_with_what_is(override, said):
    with pytest.raises(RecipeError) as refused:
        Recipe.load("quick", [override])
    assert [part for part in said if part not in str(refused.value)] == []


def nesting(tmp_path: Path, members: list, **changes) -> Path:
    quick = yaml.safe_load(shipped()["quick"].read_text())
    method = {"kind": "average", "methods": members}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**quick, "method": method, **changes}))
    return path


def test_a_nested_recipe_is_written_out_in_full(tmp_path):
    recipe = Recipe.load(str(nesting(tmp_path, [{"recipe": "quick"}, {"recipe": "vae"}])))
    members = recipe.resolved["method"]["methods"]
    assert members[0] == Recipe.load("quick").resolved["method"]
    assert Recipe.from_dict(recipe.resolved).resolved == recipe.resolved
    smaller = Recipe.load(str(nesting(tmp_path, [{"recipe": "quick"}], size=64)))
    assert smaller.method.slice_shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("members", "changes", "said"),
    [
        ([{"recipe": "qick"}], {}, "Did you mean 'quick'?"),
        ([{"recipe": "floor"}], {}, "prepares slices otherwise"),
        ([{"recipe": "quick"}], {"prep": {"body": "whole"}}, "prep"),
        ([{"recipe": "quick", "beta": 2.0}], {}, "beta"),
        ([], {}, "methods"),
    ],
)
def test_a_nested_recipe_that_does_not_fit_is_refused(tmp_path, members, changes, said):
    with pytest.raises(RecipeError, match=said.replace("?", r"\?")):
        Recipe.load(str(nesting(tmp_path, members, **changes)))


def test_the_catalogue_names_every_recipe_with_a_source_and_a_cost():
    listed = {recipe.name: recipe for recipe in catalogue()}
    assert set(listed) == set(shipped())
    assert listed["bmvc2021"].cost == "days"
    assert all(len(recipe.reference) > 20 and recipe.summary for recipe in listed.values())


def test_a_recipe_that_nests_itself_is_refused(tmp_path):
    path = nesting(tmp_path, [{"recipe": str(tmp_path / "mine.yaml")}])
    with pytest.raises(RecipeError, match=r"method\.methods\.0.*nests itself"):
        Recipe.load(str(path))


def test_a_nested_recipe_without_a_method_is_refused(tmp_path):
    quick = yaml.safe_load(shipped()["quick"].read_text())
    (tmp_path / "empty.yaml").write_text(yaml.safe_dump({"prep": quick["prep"], "size": 96}))
    with pytest.raises(RecipeError, match=r"method\.methods\.0.*missing"):
        Recipe.load(str(nesting(tmp_path, [{"recipe": str(tmp_path / "empty.yaml")}])))


def test_a_critic_trained_with_other_betas_is_warned_of(tmp_path):
    training = {"epochs": 48, "batch": 8}
    with pytest.warns(UserWarning, match=r"fanogan is made for training.betas \[0.0, 0.9\]"):
        Recipe.load(str(nesting(tmp_path, [{"recipe": "fanogan"}], training=training)))
