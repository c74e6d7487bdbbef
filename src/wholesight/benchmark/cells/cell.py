"""One cell of a benchmark: one method trained with one seed on one data set, and judged.

With folds it is a model for each, and one judgement of all subjects, each by the model of its fold.
"""

from __future__ import annotations

import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from wholesight.benchmark.judge import stored
from wholesight.benchmark.judge.evaluate import Evaluation, Scored, evaluate
from wholesight.benchmark.judge.predictions import Judged, threshold_note
from wholesight.benchmark.plan.contenders import Contender
from wholesight.benchmark.plan.folds import Fold
from wholesight.benchmark.plan.material import Material
from wholesight.benchmark.plan.place import cell_folder, is_finished, unfinished, write_facts
from wholesight.benchmark.plan.protocol import Protocol
from wholesight.calibration import Terms
from wholesight.datasets.scans import Scans
from wholesight.detector import RECORD, Detector
from wholesight.errors import ModelError, OutputError
from wholesight.io.files import make_folder
from wholesight.prep.body import BODIES
from wholesight.recipe import Recipe
from wholesight.training.fit import CHECKPOINT, fit
from wholesight.training.record import software, training_data

_MODEL: Final = "model"
_FOLDS: Final = "fold-*"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a process needs to finish it. folder : where it will be when it is complete."""

    material: Material
    contender: Contender
    seed: int
    rule: str
    alpha: float
    body: str
    device: Literal["cpu", "cuda"]
    folder: Path

    @property
    def name(self) -> str:
        """How it is called in messages and in failures/."""
        return f"{self.material.name}.{self.contender.name}.seed-{self.seed}"


def cells_of(protocol: Protocol, out: Path) -> list[Cell]:
    """Return every cell, seed by seed: a run that is stopped early has something of everything."""
    suite = protocol.suite
    return [
        Cell(
            material=material,
            contender=contender,
            seed=seed,
            rule=suite.rule,
            alpha=suite.alpha,
            body=suite.body,
            device=protocol.device,
            folder=cell_folder(out, material.name, contender.name, seed),
        )
        for seed in range(suite.seeds)
        for material in protocol.materials
        for contender in protocol.contenders
        if seed in contender.seeds
    ]


def finish(cell: Cell) -> float | None:
    """Train, set the threshold, judge; the cell's folder appears when all of it is there.

    A training that was interrupted goes on after its last full epoch, and a model that is there,
    of whichever fold, is not trained again: either way with the weights of an uninterrupted run.

    Returns the AUPRC over the set, None where there is none. Raises whatever goes wrong.
    """
    building = _begin(cell.folder)
    with warnings.catch_warnings(record=True) as noted:
        # Other kinds speak to programmers.
        warnings.simplefilter("ignore")
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", kind)
        clock = _clock(cell)
        started = clock()
        whole = not can_go_on(building)
        folds = cell.material.folds
        trained = [_train(cell, fold, model_folder(building, fold)) for fold in folds]
        training_s = round(clock() - started, 3) if whole else None
        detectors = [
            _calibrate(cell, fold, each, model_folder(building, fold))
            for fold, each in zip(folds, trained, strict=True)
        ]
        evaluation, case_s = _judge(cell, detectors)
    stored.save(evaluation, building)
    seconds = {
        "of": "CPU time" if clock is time.process_time else "time passed",
        "training": training_s,
        "case": round(case_s, 4),
    }
    notes = sorted({str(note.message) for note in noted})
    write_facts(building, _facts(cell, detectors) | {"seconds": seconds, "notes": notes})
    _appear(building, cell.folder)
    return evaluation.deployable["set"]["average_precision"]


def model_folder(folder: Path, fold: Fold) -> Path:
    """Return where a cell keeps the model of a fold: model/fold-1, or model where there is one."""
    return folder / _MODEL / fold.name


def can_go_on(building: Path) -> bool:
    """Whether an unfinished cell holds a model, or the state of a training, to go on from."""
    model = building / _MODEL
    return any(_is_trained(each) or _is_begun(each) for each in (model, *model.glob(_FOLDS)))


def _is_begun(model: Path) -> bool:
    return (model / "training" / CHECKPOINT).is_file()


def _is_trained(model: Path) -> bool:
    return (model / RECORD).is_file()


def _begin(folder: Path) -> Path:
    """Return the hidden folder in which a cell grows, with what is left of it, if that is of use.

    Of a damaged cell, whose figures are no longer what was written, the model is taken over.
    """
    building = unfinished(folder)
    if not can_go_on(building):
        shutil.rmtree(building, ignore_errors=True)
        if folder.is_dir():
            folder.rename(building)
    if not can_go_on(building):
        shutil.rmtree(building, ignore_errors=True)
    make_folder(building)
    for path in building.iterdir():
        if path.is_file():
            path.unlink()  # figures of an earlier try
    return building


def _facts(cell: Cell, detectors: Sequence[Detector]) -> dict[str, Any]:
    return {
        "data": cell.material.name,
        "method": cell.contender.name,
        "seed": cell.seed,
        "digest": cell.material.by_fold(each.digest for each in detectors),
        "device": detectors[0].device,
        **software(),
    }


def _seed_everything(seed: int) -> None:
    """Begin alike whatever the process did before: no model may depend on who trains it."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # Training switches this on and leaves it on.
    torch.use_deterministic_algorithms(True, warn_only=True)


def _clock(cell: Cell) -> Callable[[], float]:
    """CPU time, so that other work on the machine does not count; a GPU's own is not in it."""
    return time.process_time if cell.device == "cpu" else time.monotonic


def _train(cell: Cell, fold: Fold, model: Path) -> Detector:
    """Train, or go on, or load what is trained; what is damaged is trained from the beginning."""
    _seed_everything(cell.seed)
    try:
        if not _is_trained(model):
            _fit(cell, fold, model, resume=_is_begun(model))
        return Detector.load(model, device=cell.device, with_threshold=False)
    except ModelError:
        shutil.rmtree(model)
        _fit(cell, fold, model, resume=False)
        return Detector.load(model, device=cell.device)


def _fit(cell: Cell, fold: Fold, model: Path, *, resume: bool) -> None:
    fold = fold.training_on(cell.contender.train_subjects, seed=cell.seed)
    served = training_data(cell.material.files_of(fold, "train"))
    fit(
        Recipe.from_dict(cell.contender.resolved, seed=cell.seed),
        Scans(fold.train),
        model,
        seed=cell.seed,
        device=cell.device,
        resume=resume,
        record={"data": {"layout": cell.material.layout, **served}},
    )


def _calibrate(cell: Cell, fold: Fold, detector: Detector, folder: Path) -> Detector:
    """Set the threshold on calibration subjects; without any, the detector has none."""
    cases = fold.calibration
    if not cases:
        return detector
    detector.require_unseen(cell.material.files_of(fold, "calibration"))
    normals = zip((case.subject for case in cases), Scans(cases), strict=True)
    found = detector.calibrate(normals, Terms(rule=cell.rule, alpha=cell.alpha))
    found.save_calibration(folder)
    return found


def _judge(cell: Cell, detectors: Sequence[Detector]) -> tuple[Evaluation, float]:
    """Judge every case by its fold's detector; also the mean seconds from a case's file to its map.

    All cases are one set, so that every figure and interval is over all subjects.
    """
    seconds: list[float] = []
    clock = _clock(cell)

    def timed(scored: Iterator[Scored], cases: Sequence[Any]) -> Iterator[Scored]:
        for _ in cases:
            started = clock()
            case = next(scored)
            seconds.append(clock() - started)
            yield case

    judged = Judged(cell.material.judged, BODIES[cell.body]())
    evaluation = evaluate(
        cell.contender.name,
        chain.from_iterable(
            timed(judged.score_detector(detector, fold.judged), fold.judged)
            for fold, detector in zip(cell.material.folds, detectors, strict=True)
        ),
        threshold_note=threshold_note(detectors, without="none: no calibration subjects"),
    )
    return evaluation, float(np.mean(seconds))


def _appear(building: Path, folder: Path) -> None:
    if not is_finished(folder):
        shutil.rmtree(folder, ignore_errors=True)  # what is left of one that was damaged
    try:
        building.rename(folder)
    except OSError as fault:
        raise OutputError(
            f"{folder}: the finished cell cannot be put there ({fault.strerror}). "
            "Is another benchmark writing into the same folder?"
        ) from fault
