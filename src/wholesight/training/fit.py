"""Fit a recipe to the normal slices of scans, and save what comes of it as a model folder."""

from __future__ import annotations

import logging
import pickle
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerStatus
from rich.console import Console

from wholesight.detector import BATCH, RECORD, Detector, device_name
from wholesight.errors import Interrupted, ModelError, UsageError
from wholesight.io.files import make_folder, write_json
from wholesight.recipe import Recipe
from wholesight.training.data import NormalSlices
from wholesight.training.history import EpochProgress, History, draw_curve
from wholesight.training.module import MethodModule
from wholesight.training.record import PLAN, require_same_plan, software
from wholesight.volume import Scan

CHECKPOINT: Final = "last.ckpt"
Device = Literal["auto", "cpu", "cuda"]


def fit(
    recipe: Recipe,
    scans: Iterable[Scan],
    out: Path,
    *,
    seed: int = 0,
    device: Device = "auto",
    resume: bool = False,
    record: dict[str, Any] | None = None,
    console: Console | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Detector:
    """Train on the normal slices of the scans and save the model folder `out`.

    scans : iterated over up to three times, so a lazy reader keeps one scan in memory at a time.
    seed : of batch order and noise; the recipe's weights were drawn when it was loaded. record :
    what else record.json should say, such as the data's hashes. console : where progress goes;
    None is silent. callbacks : Lightning's, to look on while it trains. Raises UsageError when
    `out` holds a finished model, ModelError when there is nothing to resume, InputError when no
    normal slice is left.
    """
    _require_free(out, resume=resume)
    plan = {"recipe": recipe.resolved, "seed": seed, "data": (record or {}).get("data", {})}
    if resume:
        require_same_plan(out / "training", plan)
        _require_readable(out / "training" / CHECKPOINT)
    started, clock = datetime.now(UTC), time.monotonic()
    recipe.prep.fit(scans)
    slices = NormalSlices.of(recipe.prep, scans, min_body_share=recipe.training.min_body_share)
    folder = make_folder(out / "training")
    write_json(folder / PLAN, plan)
    if console:
        console.print(f"{len(slices.pixels)} normal slices to learn from")
    rows: list[dict[str, float]] = []
    if recipe.method.trainable:
        progress = [EpochProgress(recipe.training.epochs, console)] if console else []
        watchers = [*callbacks, *progress]
        rows = _train(recipe, slices, folder, seed, device, resume, watchers)
        draw_curve(rows, out / "learning-curve.png")
    where = device_name(device)
    recipe.method.to(where).eval().observe(slices.batches(batch=BATCH, device=where))
    Detector(
        recipe=recipe,
        record={
            "recipe": recipe.name,
            "seed": seed,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "normal_slices": len(slices.pixels),
            "spacing_mm": slices.spacing_mm,
            "body_ml": slices.body_ml,
            "typical": slices.typical.to_json(),
            "last_epoch": rows[-1] if rows else {},
            **software(),
            **(record or {}),
        },
    ).save(out)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    # What is returned is what everybody else will load, to the last bit.
    return Detector.load(out)


def _require_free(out: Path, *, resume: bool) -> None:
    if (out / RECORD).exists():
        raise UsageError(
            f"{out}: already holds a finished model. Choose another --out, or delete the folder."
        )
    begun = (out / "training" / CHECKPOINT).exists()
    if begun and not resume:
        raise UsageError(
            f"{out}: holds a training that was interrupted. Add --resume to go on with it, or "
            "choose another --out, or delete the folder."
        )
    if resume and not begun:
        raise ModelError(f"{out}: there is nothing to resume. Run without --resume.")


def _train(
    recipe: Recipe,
    slices: NormalSlices,
    folder: Path,
    seed: int,
    device: Device,
    resume: bool,
    watchers: Sequence[pl.Callback],
) -> list[dict[str, float]]:
    """Run Lightning's trainer; returns the history's rows."""
    plan = recipe.training
    loader = slices.loader(batch=plan.batch, seed=seed)
    history = History(folder)
    keep = ModelCheckpoint(
        dirpath=folder,
        filename=CHECKPOINT.removesuffix(".ckpt"),
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    # Half again as fast on a CPU; saved weights are in the usual order all the same.
    recipe.method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=plan.epochs,
            accelerator="gpu" if device_name(device) == "cuda" else "cpu",
            devices=1,
            callbacks=[history, keep, *watchers],
            gradient_clip_val=plan.gradient_clip,
            deterministic="warn",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        with _interruptible(trainer, folder):
            trainer.fit(
                MethodModule(recipe.method, plan, seed=seed),
                loader,
                ckpt_path=folder / CHECKPOINT if resume else None,
                # A checkpoint is unpickled by torch; weights_only admits plain data alone.
                weights_only=True,
            )
    return history.rows


def _require_readable(checkpoint: Path) -> None:
    """Say what to do when the state to resume from is damaged."""
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, OSError, KeyError, EOFError, pickle.UnpicklingError) as fault:
        raise ModelError(
            f"{checkpoint}: damaged, training cannot go on from it. Delete the model folder and "
            "run without --resume."
        ) from fault


@contextmanager
def _interruptible(trainer: pl.Trainer, folder: Path) -> Iterator[None]:
    """Turn Lightning's exit after Ctrl-C into a message that says how to go on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
        kept = (folder / CHECKPOINT).exists()
        raise Interrupted(
            f"Stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}. "
            + (
                "The state after the last full epoch is kept: the same command with --resume goes "
                "on from there."
                if kept
                else "No epoch was over yet, so there is nothing to go on from: run it again."
            )
        ) from stop
    finally:
        # Lightning leaves Ctrl-C switched off.
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice to programmers from users."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield
