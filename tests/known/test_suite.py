"""Suite files: read strictly, and what is shipped fits together."""

import pytest

from wholesight.benchmark.plan.contenders import contenders
from wholesight.benchmark.plan.own_data import own_data
from wholesight.benchmark.plan.suite import load_suite
from wholesight.datasets.phantom import stress
from wholesight.errors import UsageError
from wholesight.recipe import catalogue
from wholesight.recipe_file import shipped

SMALLEST = """
summary: two
question: which?
reference: a
methods: [{name: a, recipe: floor}, floor-raw]
"""


@pytest.fixture
def suite_file(tmp_path):
    def write(text: str = SMALLEST):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_what_is_not_said_has_a_default(suite_file):
    suite = load_suite(suite_file())
    assert suite.name == "mine"
    assert [(entry.name, entry.recipe) for entry in suite.methods] == [
        ("a", "floor"),
        ("floor-raw", "floor-raw"),
    ]
    assert (suite.rule, suite.alpha, suite.body, suite.subset) == (
        *("percentile", 0.05, "nonzero"),
        None,
    )
    assert suite.exclude.min_lesion_share == 0
    assert suite.slices is suite.split is suite.folds is suite.data is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("seads: 2", "'seads' is unknown. Did you mean 'seeds'?"),
        ("seeds: two", "seeds: 'two' is not legal"),
        ("seeds: 0", "seeds: 0 is not legal"),
        ("alpha: 1.5", "alpha: 1.5 is not legal"),
        ("rule: percentiles", "Did you mean 'percentile'?"),
        ("body: nonzro", "Did you mean 'nonzero'?"),
        ("subset: train", "subset: 'train' is not legal"),
        ("slices: [9, 3]", "slices: [9, 3] is not legal. write [first, last]"),
        ("slices: [1]", "slices: [1] is not legal"),
        ("split: {train: 2, calibration: 1}", "'split.test' is missing"),
        ("split: {train: 2, calibration: 1, tests: 1, test: 1}", "Did you mean 'test'?"),
        ("split: {train: 2, calibration: 1, test: 1}\nsubset: validation", "judges on test"),
        ("folds: {number: 5}", "'folds.calibration' is missing"),
        ("folds: {number: 1, calibration: 2}", "folds.number: 1 is not legal"),
        ("folds: {number: 5, calibration: -1}", "folds.calibration: -1 is not legal"),
        ("folds: {number: 5, calibration: 2, seeds: 1}", "Did you mean 'seed'?"),
        ("folds: 5", "folds: 5 is not legal. Write a mapping"),
        (
            "folds: {number: 5, calibration: 2}\nsplit: {train: 2, calibration: 1, test: 1}",
            "folds: they deal out all subjects, as split does; leave out one",
        ),
        ("folds: {number: 5, calibration: 2}\nsubset: validation", "judges all subjects"),
        ("folds: {number: 5, calibration: 2}\nsubset: test", "judges all subjects"),
        ("exclude: {min_lesion: 0.1}", "Did you mean 'min_lesion_share'?"),
        ("data: {kind: heads}", "data.kind: 'heads' is not legal"),
        ("name: ../mine", "name: '../mine' is not legal. write a name"),
        ("name: ..", "name: '..' is not legal"),
        ("slices: 3", "slices: 3 is not legal. Write a list"),
        ("question: again", "stands there twice"),
    ],
)
def test_a_mistake_is_told_with_key_value_and_what_is_legal(suite_file, more, told):
    with pytest.raises(UsageError) as fault:
        load_suite(suite_file(f"{SMALLEST}{more}\n"))
    assert told in str(fault.value)
    assert "mine.yaml" in str(fault.value)


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ("[a, A]", "'a' stands there twice"),
        ("[{name: a, recipe: floor, sets: []}]", "Did you mean 'set'? Legal: name, recipe, set"),
        ("[{name: a/b, recipe: floor}]", "methods.0.name: 'a/b' is not legal"),
        ("[{name: .., recipe: floor}]", "methods.0.name: '..' is not legal"),
        ("[{name: a}]", "'methods.0.recipe' is missing"),
        ("[{name: b, recipe: floor}]", "no method is called 'a'. Legal: b"),
        ("[]", "methods: [] is not legal"),
        ("floor", "methods: 'floor' is not legal. Write a list"),
        ("[3]", "methods.0: 3 is not legal. Write a mapping"),
        ("[{name: a, recipes: floor}]", "'methods.0.recipes' is unknown. Did you mean 'recipe'?"),
    ],
)
def test_a_mistake_in_the_methods(suite_file, methods, told):
    with pytest.raises(UsageError) as fault:
        load_suite(suite_file(f"summary: s\nquestion: q\nreference: a\nmethods: {methods}\n"))
    assert told in str(fault.value)


def test_folds_judge_everybody_whatever_the_command_says(suite_file):
    suite = load_suite(suite_file(f"{SMALLEST}folds: {{number: 5, calibration: 2}}\n"))
    assert (suite.folds.number, suite.folds.calibration, suite.folds.seed) == (5, 2, 0)
    suite.require_subset(None)
    with pytest.raises(UsageError, match=r"--subset test: suite mine judges all .* in 5 folds"):
        suite.require_subset("test")


def test_a_wrong_name_gets_the_nearest_and_the_list():
    with pytest.raises(UsageError, match=r"Did you mean 'claim'\? Legal: claim, few-subjects"):
        load_suite("clam")
    with pytest.raises(UsageError, match="no such suite file"):
        load_suite("not-there.yaml")


def test_every_override_is_checked_before_anything_runs(suite_file):
    text = SMALLEST.replace("recipe: floor}", "recipe: floor, set: [method.sigma=1.0]}")
    suite = load_suite(suite_file(text))
    with pytest.raises(UsageError, match=r"method 'a' of the suite: .*sigma_px"):
        contenders(suite)


def test_a_recipe_file_is_looked_for_beside_its_suite(suite_file, tmp_path):
    own = shipped()["floor"].read_text().replace("sigma_px: 4.0", "sigma_px: 2.0")
    (tmp_path / "own.yaml").write_text(own)
    suite = load_suite(suite_file(SMALLEST.replace("recipe: floor}", "recipe: own.yaml}")))
    assert contenders(suite)[0].resolved["method"]["sigma_px"] == 2.0


@pytest.mark.filterwarnings("ignore:.*linear branch:UserWarning")
@pytest.mark.parametrize("name", shipped("suite"))
def test_every_shipped_suite_resolves(name):
    suite = load_suite(name)
    found = contenders(suite)
    assert [each.name for each in found] == [entry.name for entry in suite.methods]
    assert all(each.citation for each in found)
    # Without what learns nothing, nobody knows what a figure is worth.
    assert name == "sensitivity" or not all(each.trained for each in found)
    for each in found:
        drawn = each.trained or each.train_subjects
        assert each.seeds == (tuple(range(suite.seeds)) if drawn else (0,))
    # Two names of one and the same training would be a mistake.
    assert len({repr((each.resolved, each.train_subjects)) for each in found}) == len(found)


def test_a_made_up_cohort_has_heads_enough_to_tell_methods_apart():
    """Wilcoxon's p over n pairs is at least 2 / 2^n, and Holm multiplies the least of k by k."""
    for name in shipped("suite"):
        suite = load_suite(name)
        if suite.data:
            comparisons = len(suite.methods) - 1
            assert comparisons * 2 / 2**suite.data.repeats < 0.05, name


def test_a_suite_asks_for_what_can_be_made(tmp_path, monkeypatch):
    """Of the heads nothing is drawn: what is legal does not depend on them."""
    monkeypatch.setattr(stress, "write_head", lambda *_: {})
    monkeypatch.setattr(stress, "phantom_head", lambda *_, **__: None)
    monkeypatch.setattr(stress, "stress_head", lambda *_: None)
    monkeypatch.setattr(stress, "_write_repeat", lambda *_: {})
    made = [suite for suite in map(load_suite, shipped("suite")) if suite.data]
    assert made
    for suite in made:
        own_data(suite.name, suite.data, tmp_path)


def test_the_suites_that_are_promised_are_there():
    promised = {
        *("claim", "methods", "penalties", "sensitivity", "protocol-bmvc2021", "stress"),
        *("standard", "standard-folds", "few-subjects"),
    }
    assert promised <= set(shipped("suite"))


def test_methods_has_every_recipe_that_a_cpu_trains():
    small = {each.name for each in catalogue() if each.cost in ("nothing", "seconds", "minutes")}
    small -= {"picture"}  # which is `standard` for what is no scan
    assert {entry.name for entry in load_suite("methods").methods} == small


def test_sensitivity_changes_one_thing_at_a_time():
    quick, *others = contenders(load_suite("sensitivity"))
    for each in others:
        changed = _differences(quick.resolved, each.resolved)
        assert len(changed) == (2 if each.name.startswith("width") else 1), changed


def _differences(one, other, key=""):
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            found
            for name in one.keys() | other.keys()
            for found in _differences(one.get(name), other.get(name), f"{key}.{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return _differences(dict(enumerate(one)), dict(enumerate(other)), key)
    return [] if one == other else [key]
