"""Cells: what a process makes of a fault, what is kept in memory, and the time that is left."""

import errno
import io
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from rich.console import Console

from wholesight.benchmark.cells import cell as cells
from wholesight.benchmark.cells import progress, workers
from wholesight.benchmark.cells.cell import Cell, can_go_on, cells_of, finish
from wholesight.benchmark.cells.collect import collect, history
from wholesight.benchmark.cells.progress import CellProgress
from wholesight.benchmark.cells.workers import Done, Failed
from wholesight.benchmark.judge import stored
from wholesight.benchmark.judge.evaluate import Row, evaluate
from wholesight.benchmark.judge.predictions import Judged
from wholesight.benchmark.plan.place import is_finished, unfinished
from wholesight.benchmark.plan.protocol import Protocol, draw_up
from wholesight.benchmark.plan.suite import Folds, load_suite
from wholesight.benchmark.report.lineup import middle_place
from wholesight.benchmark.report.write import to_html
from wholesight.detector import Detector
from wholesight.errors import InputError, Interrupted
from wholesight.prep.body import BODIES
from wholesight.recipe import Recipe
from wholesight.training.module import DivergedError

SUITE = """
summary: two floors
question: which?
reference: floor
methods: [floor, floor-raw]
"""


@pytest.fixture
def protocol(tmp_path, tiny_brats) -> Protocol:
    (tmp_path / "mine.yaml").write_text(SUITE)
    root = tiny_brats({"train": ["a", "b"], "calibration": ["c"], "test": ["d", "e"]})
    return draw_up(load_suite(str(tmp_path / "mine.yaml")), [root], device="cpu")


@pytest.fixture
def floor(protocol, tmp_path) -> Cell:
    return cells_of(protocol, tmp_path / "out")[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_full_disk_ends_the_run_and_not_cell_after_cell(floor, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number), "last.ckpt")

    monkeypatch.setattr(workers, "finish", full)
    answer = workers._attempt(floor)
    assert isinstance(answer, workers._Unwritable)
    assert os.strerror(number) in answer.message
    assert "--resume" in answer.message


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "x.nii.gz"), "E_INTERNAL"),
        (DivergedError("Training stopped in epoch 0: kl is not finite."), "E_METHOD"),
        (InputError("x.nii.gz: no body", code="E_NO_BODY"), "E_NO_BODY"),
    ],
)
def test_what_goes_wrong_in_one_cell_is_its_own(floor, monkeypatch, fault, code):
    def fail(_):
        raise fault

    monkeypatch.setattr(workers, "finish", fail)
    answer = workers._attempt(floor)
    assert isinstance(answer, Failed)
    assert answer.code == code


def test_a_cell_begins_alike_whatever_its_process_did_before():
    before = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(False)
        cells._seed_everything(3)
        assert torch.are_deterministic_algorithms_enabled()
        first = torch.rand(3)
        cells._seed_everything(3)
        assert torch.equal(first, torch.rand(3))
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_draws_weights_and_the_order_of_batches(protocol, tmp_path, monkeypatch, seed):
    begun = {}

    def spy(recipe, scans, folder, *, seed, **_):
        begun["weights"], begun["seed"] = recipe.method.state_dict(), seed
        raise RuntimeError

    monkeypatch.setattr(cells, "fit", spy)
    quick = replace(protocol.contenders[0], resolved=Recipe.load("quick", ["size=32"]).resolved)
    (first, *_) = cells_of(protocol, tmp_path / "out")
    with pytest.raises(RuntimeError):
        finish(replace(first, contender=quick, seed=seed))
    own = Recipe.from_dict(quick.resolved, seed=seed).method.state_dict()
    assert begun["seed"] == seed
    assert all(torch.equal(begun["weights"][name], weights) for name, weights in own.items())


@pytest.fixture
def small(protocol, tmp_path) -> Cell:
    """A cell that trains a small network for three epochs."""
    changes = ["size=32", "method.network.width=4", "training.batch=4", "training.epochs=3"]
    quick = replace(protocol.contenders[0], resolved=Recipe.load("quick", changes).resolved)
    (first, *_) = cells_of(protocol, tmp_path / "out")
    return replace(first, contender=quick)


def digest_of(cell: Cell) -> str:
    return json.loads((cell.folder / "cell.json").read_text())["digest"]


@pytest.mark.slow
def test_what_is_trained_is_not_trained_again(small, tmp_path, monkeypatch):
    """Judging failed, then a finished cell was damaged: only judging is done again."""
    whole = replace(small, folder=tmp_path / "whole")
    figure = finish(whole)
    with monkeypatch.context() as broken:
        broken.setattr(cells, "_judge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(small)
    assert can_go_on(unfinished(small.folder))
    monkeypatch.setattr(cells, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert finish(small) == figure
    assert digest_of(small) == digest_of(whole)
    (small.folder / "evaluation.json").write_text("{}")
    assert not is_finished(small.folder)
    assert finish(small) == figure
    assert is_finished(small.folder)
    assert json.loads((small.folder / "cell.json").read_text())["seconds"]["training"] is None


@pytest.mark.slow
def test_an_interrupted_training_goes_on(small, tmp_path, monkeypatch):
    whole = replace(small, folder=tmp_path / "whole")
    finish(whole)
    train = cells.fit
    stop = CtrlC(1)
    monkeypatch.setattr(cells, "fit", lambda *a, **k: train(*a, **k, callbacks=[stop]))
    with pytest.raises(Interrupted):
        finish(small)
    asked = []
    monkeypatch.setattr(
        cells, "fit", lambda *a, resume, **k: asked.append(resume) or train(*a, resume=resume, **k)
    )
    finish(small)
    assert asked == [True]
    assert digest_of(small) == digest_of(whole)


@pytest.mark.slow
def test_a_damaged_state_is_trained_from_the_beginning(small, tmp_path):
    whole = replace(small, folder=tmp_path / "whole")
    finish(whole)
    state = unfinished(small.folder) / "model" / "training" / "last.ckpt"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"half a checkpoint")
    finish(small)
    assert digest_of(small) == digest_of(whole)


@pytest.fixture
def folded(small, protocol, tmp_path) -> Cell:
    """The small cell in three folds of five subjects, each with a model of its own."""
    suite = protocol.suite.model_copy(update={"folds": Folds(number=3, calibration=1)})
    in_folds = draw_up(suite, [tmp_path / "set"], device="cpu")
    return replace(small, material=in_folds.materials[0])


def rows_of(cell: Cell) -> tuple[Row, ...]:
    return stored.load(cell.folder).rows


@pytest.mark.slow
def test_everybody_is_judged_once_by_a_model_that_has_not_seen_them(folded):
    finish(folded)
    assert sorted(row["subject"] for row in rows_of(folded)) == [*"abcde"]
    assert [row["case"] for row in rows_of(folded)] == [each.id for each in folded.material.judged]
    digests = digest_of(folded)
    assert len(set(digests.values())) == 3
    detectors = []
    for fold in folded.material.folds:
        model = folded.folder / "model" / fold.name
        detector = Detector.load(model)
        assert detector.digest == digests[fold.name]
        assert detector.threshold is not None
        calibration = {case.subject for case in fold.calibration}
        served = {*detector.record["data"]["subjects"]} | calibration
        assert served == {*"abcde"} - {case.subject for case in fold.judged}
        detectors.append(detector)
    # The maps and masks of a subject are those of its own fold's model.
    judged = Judged(folded.material.judged, BODIES["nonzero"]())
    for fold, detector in zip(folded.material.folds, detectors, strict=True):
        alone = evaluate("alone", judged.score_detector(detector, fold.judged), threshold_note="")
        own = {row["case"]: row for row in rows_of(folded)}
        for row in alone.rows:
            assert own[row["case"]]["flagged_voxels"] == row["flagged_voxels"]
            assert own[row["case"]]["auroc"] == row["auroc"]


@pytest.mark.slow
def test_a_cell_in_folds_goes_on_fold_by_fold(folded, tmp_path, monkeypatch):
    """Stopped in the second fold: the first is not trained again, and the second goes on."""
    whole = replace(folded, folder=tmp_path / "whole")
    figure = finish(whole)
    train, stop, asked = cells.fit, CtrlC(1), []

    def stopped(recipe, scans, out, **told):
        return train(recipe, scans, out, **told, callbacks=[stop] * (out.name == "fold-2"))

    def watched(recipe, scans, out, **told):
        asked.append((out.name, told["resume"]))
        return train(recipe, scans, out, **told)

    monkeypatch.setattr(cells, "fit", stopped)
    with pytest.raises(Interrupted):
        finish(folded)
    assert can_go_on(unfinished(folded.folder))
    monkeypatch.setattr(cells, "fit", watched)
    assert finish(folded) == figure
    assert asked == [("fold-2", True), ("fold-3", False)]
    assert digest_of(folded) == digest_of(whole)
    assert rows_of(folded) == rows_of(whole)


@pytest.mark.slow
def test_a_fold_whose_model_is_damaged_is_trained_again_alone(folded, tmp_path, monkeypatch):
    whole = replace(folded, folder=tmp_path / "whole")
    finish(whole)
    shutil.copytree(whole.folder, folded.folder)
    (folded.folder / "evaluation.json").write_text("{}")
    (folded.folder / "model" / "fold-3" / "weights.safetensors").write_bytes(b"half")
    train, asked = cells.fit, []
    monkeypatch.setattr(cells, "fit", lambda *a, **k: asked.append(a[2].name) or train(*a, **k))
    finish(folded)
    assert asked == ["fold-3"]
    assert digest_of(folded) == digest_of(whole)
    assert rows_of(folded) == rows_of(whole)


@pytest.mark.slow
def test_a_report_of_folds_says_so(folded, protocol, tmp_path):
    suite = protocol.suite.model_copy(update={"folds": Folds(number=3, calibration=1)})
    told = replace(protocol, suite=suite, materials=(folded.material,))
    quick = replace(protocol.contenders[1], resolved=folded.contender.resolved, trained=True)
    told = replace(told, contenders=(protocol.contenders[0], quick))
    every = cells_of(told, tmp_path / "out")
    for each in every:
        finish(each)
    results = collect(told, every, {})
    (dataset,) = results.datasets
    assert (dataset.folds, dataset.subset) == (3, "all subjects in 3 folds")
    assert dataset.facts["trained on"] == "2 to 3 subjects, 2 to 3 scans in each fold"
    assert dataset.facts["judged"] == "5 subjects, 5 scans"
    first = every[1].folder / "model" / "fold-1" / "training" / "history.csv"
    assert dataset.methods[1].histories == [history(first, cell=every[1].folder)]
    assert dataset.methods[1].histories[0]
    page = " ".join(to_html(results).split())
    for words in (
        "were judged in 3 folds, each by a model that has not seen it",
        "for 3 models, one a fold",
        "a thin line a seed, of the first of 3 folds",
        "One a fold, 3 in all; that of the first: percentile",
        "5 subjects were judged in 3 folds of 1 to 2, dealt out with seed 0",
    ):
        assert words in page
    first.write_text("epoch,loss\n1,x\n")
    with pytest.raises(InputError, match=r"Remove the folder .*/floor-raw/seed-0 and run"):
        collect(told, every, {})


class CtrlC(pl.Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_cell_is_judged_and_calibrated_as_the_suite_says(floor):
    finish(replace(floor, alpha=0.2))
    told = json.loads((floor.folder / "model" / "threshold.json").read_text())
    assert told["thresholds"]["all"]["alpha"] == 0.2
    with pytest.raises(InputError, match="without a mask of its body"):
        finish(replace(floor, body="given"))


def test_pictures_are_kept_of_the_seed_that_is_shown_alone(protocol, tmp_path):
    three = tuple(replace(each, seeds=(0, 1, 2)) for each in protocol.contenders)
    suite = protocol.suite.model_copy(update={"seeds": 3})
    protocol = replace(protocol, contenders=three, suite=suite)
    every = cells_of(protocol, tmp_path / "out")
    for each in every:
        finish(each)
    (dataset,) = collect(protocol, every, {}).datasets
    for method in dataset.methods:
        kept = [len(each.thumbnails) for each in method.evaluations]
        assert sum(kept) == 2
        assert kept[middle_place(method)] == 2


@pytest.mark.parametrize("text", ["a,b\n1", "epoch,loss\n1,x\n", "epoch,loss\n,2.0\n"])
def test_a_damaged_history_is_named(tmp_path, text):
    path = tmp_path / "seed-1" / "model" / "training" / "history.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"history\.csv: cannot be read .*Remove the folder .*seed-1 "
    ):
        history(path, cell=tmp_path / "seed-1")


def test_history_of_a_term_that_starts_later(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,kl\n1,3.0,\n2,2.0,1.0\n")
    rows = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 2.0, "kl": 1.0}]
    assert history(tmp_path / "history.csv", cell=tmp_path) == rows
    assert history(Path("not-there.csv"), cell=tmp_path) == []


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What the progress takes for the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left(floor, clock):
    """Four cells alike, two at a time, a minute each; the last one has nobody beside it."""
    with CellProgress([floor] * 4, before=0, jobs=2, console=None) as seen:
        assert seen._left() == ""
        seen.told(floor, Done(0.5, 60.0))
        assert seen._left() == "2 min left"
        seen.told(floor, Failed("E_METHOD", "diverged", ""))
        assert seen._left() == "1 failed, 1 min left"
        seen.told(floor, Done(0.5, 60.0))
        assert seen._left() == "1 failed, 1 min left"
        seen.told(floor, Done(None, 60.0))
        assert seen._left() == "1 failed"


def lines_of(cell: Cell, *, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, no_color=True)
    seen = CellProgress([cell] * 3, before=1, jobs=1, console=console)
    for ended in (Done(0.539, 161.0), Failed("E_METHOD", "diverged", ""), Done(None, 161.0)):
        seen.told(cell, ended)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_plain_line_says_how_much_time_is_left(floor, clock):
    assert lines_of(floor, terminal=False) == [
        f"2/4  {floor.name}  AUPRC 0.539  161 s  about 6 min left",
        f"3/4  {floor.name}  FAILED, E_METHOD: diverged  about 3 min left",
        f"4/4  {floor.name}  AUPRC none  161 s",
    ]
    assert not any("left" in line for line in lines_of(floor, terminal=True))


def test_the_bar_counts_down_between_two_cells(floor, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    seen = CellProgress([floor] * 3, before=0, jobs=1, console=console)
    seen.told(floor, Done(0.5, 300.0))

    def drawn() -> str:
        console.print(seen.bar.get_renderable())
        return console.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]

    assert "10 min left" in drawn()
    clock[0] = 240.0
    assert "6 min left" in drawn()
    clock[0] = 9000.0
    assert " 1 min left" in drawn()


def test_warnings_and_the_clock_of_a_cell_reach_its_method(protocol, tmp_path):
    three = tuple(replace(each, seeds=(0, 1, 2)) for each in protocol.contenders)
    suite = protocol.suite.model_copy(update={"seeds": 3})
    protocol = replace(protocol, contenders=three, suite=suite)
    every = cells_of(protocol, tmp_path / "out")
    for each in every:
        finish(each)
    noted = [["barrier is\n linear"], ["barrier is linear", "few slices"], []]
    own = [each for each in every if each.contender is three[0]]
    for each, notes in zip(own, noted, strict=True):
        path = each.folder / "cell.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": notes}))
    first, other = collect(protocol, every, {}).datasets[0].methods
    assert first.notes == ["barrier is linear", "few slices"]
    assert other.notes == []
    assert first.clocks == other.clocks == ["CPU time"]
