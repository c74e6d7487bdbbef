"""Methods trained on fewer subjects than there are: on which, and what the plan says of it."""

import itertools

import pytest

from wholesight.benchmark.cells import cell as cells
from wholesight.benchmark.cells.cell import cells_of
from wholesight.benchmark.cells.statements import statements
from wholesight.benchmark.plan.folds import Fold
from wholesight.benchmark.plan.protocol import draw_up
from wholesight.benchmark.plan.suite import Folds, load_suite
from wholesight.datasets import open_dataset
from wholesight.errors import UsageError

SPLITS = {"train": [*"abcdef"], "calibration": ["g"], "test": ["h", "i"]}
FEWER = """
summary: fewer subjects
question: how many are needed?
reference: all
methods:
  - {name: all, recipe: floor}
  - {name: two, recipe: floor, train_subjects: 2}
seeds: 2
"""


@pytest.fixture
def fewer(tmp_path):
    (tmp_path / "fewer.yaml").write_text(FEWER)
    return load_suite(str(tmp_path / "fewer.yaml"))


@pytest.fixture
def fold(tiny_brats) -> Fold:
    found = open_dataset(tiny_brats(SPLITS))
    return Fold("", tuple(found.subset("train")), (), tuple(found.subset("test")))


def names(fold):
    return {case.subject for case in fold.train}


def test_fewer_subjects_are_among_more_and_others_with_another_seed(fold):
    chosen = [names(fold.training_on(number, seed=0)) for number in range(1, 7)]
    assert [len(each) for each in chosen] == [1, 2, 3, 4, 5, 6]
    assert all(few < more for few, more in itertools.pairwise(chosen))
    draws = {frozenset(names(fold.training_on(2, seed=seed))) for seed in range(20)}
    assert len(draws) > 5
    assert fold.training_on(2, seed=0) == fold.training_on(2, seed=0)
    assert fold.training_on(None, seed=0) == fold
    assert fold.training_on(2, seed=0).judged == fold.judged


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cell_trains_on_those_alone_and_its_record_names_them(
    fewer, tiny_brats, tmp_path, monkeypatch, seed
):
    seen = {}

    def spy(recipe, scans, folder, *, record, **_):
        seen["scans"], seen["named"] = len(scans), set(record["data"]["subjects"])
        raise RuntimeError

    protocol = draw_up(fewer, [tiny_brats(SPLITS)], device="cpu")
    (cell,) = (
        each
        for each in cells_of(protocol, tmp_path)
        if (each.contender.name, each.seed) == ("two", seed)
    )
    monkeypatch.setattr(cells, "fit", spy)
    with pytest.raises(RuntimeError):
        cells.finish(cell)
    expected = names(protocol.materials[0].folds[0].training_on(2, seed=seed))
    assert seen == {"scans": 2, "named": expected}


def test_what_is_not_trained_has_a_seed_for_each_draw_of_subjects(fewer, tiny_brats):
    every, two = draw_up(fewer, [tiny_brats(SPLITS)], device="cpu").contenders
    assert (every.seeds, two.seeds) == ((0,), (0, 1))


def test_the_plan_says_who_is_trained_on_fewer(fewer, tiny_brats):
    protocol = draw_up(fewer, [tiny_brats(SPLITS)], device="cpu")
    assert "Trained on fewer subjects, drawn anew for each seed: two (2)." in " ".join(
        statements(protocol)
    )
    assert protocol.to_json()["methods"]["two"]["train_subjects"] == 2


def test_more_subjects_than_any_fold_has_are_refused_before_training(fewer, tiny_brats):
    root = tiny_brats({"train": ["a"], "test": ["b"]}, name="small")
    with pytest.raises(UsageError, match=r"'two' .* train_subjects is 2, but small has 1 to train"):
        draw_up(fewer, [root], device="cpu")
    in_folds = fewer.model_copy(update={"folds": Folds(number=2, calibration=0)})
    with pytest.raises(UsageError, match=r"small has 1 to train on"):
        draw_up(in_folds, [root], device="cpu")
