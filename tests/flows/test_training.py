"""Training: resumed equals uninterrupted, Ctrl-C keeps what is done, divergence is explained."""

import csv
import json
import os
import signal
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from wholesight.datasets import open_dataset
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.errors import InputError, Interrupted, ModelError, UsageError
from wholesight.recipe import Recipe, Training
from wholesight.training.data import NormalSlices
from wholesight.training.fit import fit
from wholesight.training.module import DivergedError

EPOCHS = 4


SMALL = ["size=32", "method.network.width=4", "training.batch=4", f"training.epochs={EPOCHS}"]


def recipe(*overrides: str) -> Recipe:
    return Recipe.load("quick", [*SMALL, *overrides], seed=5)


@pytest.fixture(scope="module")
def scans(heads) -> Scans:
    return Scans(open_dataset(heads).subset("train"))


class CtrlC(pl.Callback):
    """Presses Ctrl-C in the middle of an epoch, as a person would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGINT)


def weights_of(model: Path) -> bytes:
    return (model / "weights.safetensors").read_bytes()


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(scans, tmp_path):
    fit(recipe(), scans, tmp_path / "whole", seed=5, device="cpu")
    with pytest.raises(Interrupted, match=f"Stopped in epoch 3 of {EPOCHS}.*--resume"):
        fit(recipe(), scans, tmp_path / "cut", seed=5, device="cpu", callbacks=[CtrlC(2)])
    assert not (tmp_path / "cut" / "record.json").exists()
    fit(recipe(), scans, tmp_path / "cut", seed=5, device="cpu", resume=True)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")
    history = (tmp_path / "cut" / "training" / "history.csv").read_text()
    rows = list(csv.DictReader(history.splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert (tmp_path / "cut" / "learning-curve.png").stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs"), [("fanogan", 2), ("anovaegan", 3)])
def test_players_that_take_turns_resume_in_turn(name, epochs, scans, small_recipe, tmp_path):
    """f-AnoGAN's second stage begins with its second epoch; AnoVAEGAN's turns cross epochs."""

    def longer() -> Recipe:
        spec = small_recipe(name).resolved
        return Recipe.from_dict(spec | {"training": spec["training"] | {"epochs": epochs}})

    fit(longer(), scans, tmp_path / "whole", device="cpu")
    with pytest.raises(Interrupted, match=f"Stopped in epoch 2 of {epochs}"):
        fit(longer(), scans, tmp_path / "cut", device="cpu", callbacks=[CtrlC(1)])
    fit(longer(), scans, tmp_path / "cut", device="cpu", resume=True)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


def test_resuming_with_another_recipe_seed_or_data_is_refused(heads, scans, tmp_path):
    cut = tmp_path / "cut"
    with pytest.raises(Interrupted):
        fit(recipe(), scans, cut, seed=5, device="cpu", callbacks=[CtrlC(1)])
    for other, seed, said in (
        (recipe("method.beta=2.0"), 5, "recipe.method.beta was 1.0, now it is 2.0"),
        (Recipe.load("vae", [*SMALL], seed=5), 5, "recipe.name was quick, now it is vae"),
        (recipe(), 6, "seed was 5, now it is 6"),
    ):
        with pytest.raises(UsageError, match=said):
            fit(other, scans, cut, seed=seed, device="cpu", resume=True)
    with pytest.raises(UsageError, match=r"data\.subjects"):
        fit(
            recipe(),
            scans,
            cut,
            seed=5,
            device="cpu",
            resume=True,
            record={"data": {"subjects": ["somebody else"]}},
        )


def test_resuming_from_a_damaged_state_says_what_to_do(scans, tmp_path):
    cut = tmp_path / "cut"
    with pytest.raises(Interrupted):
        fit(recipe(), scans, cut, seed=5, device="cpu", callbacks=[CtrlC(1)])
    state = cut / "training" / "last.ckpt"
    state.write_bytes(state.read_bytes()[:2000])
    with pytest.raises(ModelError, match="run without --resume"):
        fit(recipe(), scans, cut, seed=5, device="cpu", resume=True)


def test_training_that_cannot_begin_leaves_no_folder(scans, tmp_path):
    with pytest.raises(InputError, match="No normal slice"):
        fit(recipe("training.min_body_share=0.99"), scans, tmp_path / "m", device="cpu")
    assert not (tmp_path / "m").exists()


def test_ctrl_c_before_the_first_epoch_says_that_nothing_is_kept(scans, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="nothing to go on from"):
        fit(recipe(), scans, tmp_path / "cut", seed=5, device="cpu", callbacks=[CtrlC(0)])
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_same_seed_same_weights_other_seed_other_weights(scans, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        short = recipe("training.epochs=1")
        fit(short, scans, tmp_path / name, seed=seed, device="cpu")
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")


def test_a_loss_that_is_not_finite_stops_with_the_name_of_its_term(scans, tmp_path):
    with pytest.raises(DivergedError, match=r"kl.*learning_rate"):
        fit(
            recipe("training.learning_rate=1e6", "training.epochs=30", "training.decay=none"),
            scans,
            tmp_path / "m",
            device="cpu",
        )


@pytest.mark.slow
def test_saved_and_loaded_gives_the_same_map(scans, tmp_path):
    short = recipe("training.epochs=1", "prep.intensity=histogram-match")
    fitted = fit(short, scans, tmp_path / "m", seed=5, device="cpu")
    loaded = Detector.load(tmp_path / "m")
    image = next(iter(scans)).image
    before, after = fitted.map(image).voxels, loaded.map(image).voxels
    assert before.any()
    torch.testing.assert_close(torch.from_numpy(after), torch.from_numpy(before))
    assert loaded.digest == fitted.digest


def test_record_says_what_was_learned_from(heads, model):
    record = json.loads((model / "record.json").read_text())
    assert record["data"]["subjects"] == sorted(
        json.loads((heads / "split.json").read_text())["train"]
    )
    for files in record["data"]["files"].values():
        assert [len(sha) for sha in files.values()] == [64, 64, 64]  # image, mask, voxels
    assert {"python", "torch", "wholesight"} <= set(record["versions"])
    assert record["last_epoch"]["epoch"] == 2


def test_abnormal_slices_never_reach_training(heads):
    """Train on the heads with a lesion: of them only the slices without one are taken."""
    found = Scans(open_dataset(heads).subset("test"))
    slices = NormalSlices.of(recipe().prep, found, min_body_share=0.0)
    normal = 0
    for scan in found:
        assert scan.abnormal is not None
        free = ~scan.abnormal.voxels.any(axis=(0, 1))
        normal += int((free & (scan.image.voxels > 0).any(axis=(0, 1))).sum())
    assert abs(len(slices.pixels) - normal) <= len(found)  # slices with a voxel or two of body


def test_learning_rate_is_a_function_of_the_epoch():
    plan = Training(epochs=10, learning_rate=1e-2, decay="cosine")
    assert plan.rate(0) == 1e-2
    assert plan.rate(5) == pytest.approx(5e-3)
    assert plan.rate(10) == pytest.approx(0)
    assert Training(epochs=10).rate(9) == 1e-3


@pytest.mark.slow
def test_a_stage_that_is_over_is_no_longer_in_the_history(scans, small_recipe, tmp_path):
    fit(small_recipe("fanogan"), scans, tmp_path / "m", device="cpu")
    history = (tmp_path / "m" / "training" / "history.csv").read_text()
    first, second = csv.DictReader(history.splitlines())
    assert first["critic"]
    assert not first["image_residual"]
    assert second["image_residual"]
    assert not second["critic"]


@pytest.mark.slow
def test_the_history_tells_the_gradient_norms_of_the_rivals(scans, tmp_path):
    fit(recipe(), scans, tmp_path / "m", device="cpu")
    history = (tmp_path / "m" / "training" / "history.csv").read_text()
    for row in csv.DictReader(history.splitlines()):
        assert float(row["gradient_reconstruction"]) > 0
        assert float(row["gradient_constraint"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("override", ["training.betas=[0.0, 0.5]", "training.gradient_clip=1e-6"])
def test_options_of_the_optimiser_change_the_weights(scans, tmp_path, override):
    short = ["training.epochs=2"]
    fit(recipe(*short), scans, tmp_path / "plain", device="cpu")
    fit(recipe(*short, override), scans, tmp_path / "other", device="cpu")
    assert weights_of(tmp_path / "plain") != weights_of(tmp_path / "other")
