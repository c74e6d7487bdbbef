"""Cells: what a process makes of a fault, what is kept in memory, and the time that is left."""

import errno
import io
import json
import os
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
from wholesight.benchmark.plan.place import is_finished, unfinished
from wholesight.benchmark.plan.protocol import Protocol, draw_up
from wholesight.benchmark.plan.suite import load_suite
from wholesight.benchmark.report.lineup import middle_place
from wholesight.errors import InputError, Interrupted
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
        history(path)


def test_history_of_a_term_that_starts_later(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,kl\n1,3.0,\n2,2.0,1.0\n")
    rows = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 2.0, "kl": 1.0}]
    assert history(tmp_path / "history.csv") == rows
    assert history(Path("not-there.csv")) == []


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
