"""Recipes: what is not legal is refused with the key, the value and the legal ones."""

from pathlib import Path

import pytest
import yaml

from wholesight.errors import RecipeError
from wholesight.recipe import Recipe, catalogue
from wholesight.recipe_file import read, shipped


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
        ("method.terms.0.penalty.t=0", ["terms.0.penalty", "t is 0", "<= t <="]),
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
        ("training.epochs=0", ["training", "epochs is 0", "1 or more"]),
        ("training.epochs=010", ["training.epochs", "'010'", "integer"]),
        ("training.epochs=1:30", ["training.epochs", "'1:30'", "integer"]),
        ("training.batch=1", ["training", "batch is 1", "2 or more"]),
        ("training=5", ["training", "5", "options are needed"]),
        ("method=5", ["method", "5", "names no kind", "constrained-vae"]),
        ("method={attention: 3}", ["method", "names no kind"]),
        ("prep.body=null", ["prep.body", "None", "nonzero"]),
        ("method.attention={kind: grad-cam, p: 1}", ["method.attention", "'p'", "no options"]),
        ("method.terms=coverage", ["method.terms", "list", "'coverage'"]),
        ("method.terms.9.weight=3", ["terms.9", "no entry '9'", "0 to 0"]),
        ("method.network.width=1000000000000", ["method.network"]),
        ("summary=null", ["summary", "None", "string"]),
        ("method.beta={a: 1, a: 2}", ["'a' stands there twice"]),
        ("method.beta=" + 2000 * "[", ["cannot be read"]),
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


@pytest.mark.parametrize("spec", [None, [], 5, "quick"])
def test_what_is_no_mapping_is_no_recipe(spec):
    with pytest.raises(RecipeError, match="a recipe is a mapping"):
        Recipe.from_dict(spec)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a recipe is a mapping"),
        ("- 1", "a recipe is a mapping"),
        ("a: [", "cannot be read"),
        ("method: &m {kind: average, methods: [*m]}", "nested too deeply"),
        ("epochs: 2024-99-99", "cannot be read"),
        ("size: " + 5000 * "9", "cannot be read|size"),
        ("summary: a\nsummary: b", "'summary' stands there twice"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    quick = shipped()["quick"].read_text()
    prep = quick[quick.index("prep:") : quick.index("method:")]
    path.write_text(f"{text}\nsize: 96\n{prep}" if text.startswith("method") else text)
    with pytest.raises(RecipeError, match=said):
        Recipe.load(str(path))


def test_a_name_too_long_for_a_file_is_no_traceback():
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load(5000 * "a" + ".yaml")


def test_numbers_are_read_as_in_yaml_1_2(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text("a: [1e-3, 1.5e3, .5, 7, -3, 2., 1E5, .inf]")
    assert read(path)["a"] == [1e-3, 1500.0, 0.5, 7, -3, 2.0, 1e5, float("inf")]


def test_a_nested_file_is_looked_for_beside_the_outer_one(tmp_path, monkeypatch):
    (tmp_path / "member.yaml").write_text(shipped()["quick"].read_text())
    path = nesting(tmp_path, [{"recipe": "member.yaml"}])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Recipe.load(str(path)).method.slice_shape == (1, 96, 96)


def test_a_nested_file_looks_beside_itself_for_what_it_nests(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "c.yaml").write_text(shipped()["quick"].read_text())
    nesting(inner, [{"recipe": "c.yaml"}]).rename(inner / "b.yaml")
    outer = Recipe.load(str(nesting(tmp_path, [{"recipe": "inner/b.yaml"}])))
    assert outer.resolved["method"]["methods"][0]["kind"] == "average"


def test_an_unknown_key_in_a_nested_recipe_is_refused(tmp_path):
    (tmp_path / "member.yaml").write_text(shipped()["quick"].read_text() + "\nclenup: 3\n")
    with pytest.raises(RecipeError, match=r"member.yaml: 'clenup' .*Did you mean 'cleanup'"):
        Recipe.load(str(nesting(tmp_path, [{"recipe": "member.yaml"}])))


def test_a_kind_alone_takes_options_by_override(tmp_path):
    path = tmp_path / "short.yaml"
    floor = yaml.safe_load(shipped()["floor"].read_text())
    path.write_text(yaml.safe_dump({**floor, "method": "intensity"}))
    recipe = Recipe.load(str(path), ["method.sigma_px=3.0"])
    assert recipe.resolved["method"] == {"kind": "intensity", "sigma_px": 3.0}
