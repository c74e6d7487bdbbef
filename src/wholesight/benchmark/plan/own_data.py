"""Data that a suite makes itself: made once, and used again only as it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

from wholesight.benchmark.plan.place import DATA
from wholesight.benchmark.plan.suite import Stress
from wholesight.datasets.phantom import write_stress
from wholesight.errors import UsageError
from wholesight.io.files import write_json
from wholesight.training.record import first_difference


def own_data(name: str, asked: Stress, out: Path) -> Path:
    """Return the folder of a suite's own data, made unless it is there.

    Raises UsageError when what is there was made otherwise, OutputError when it cannot be written.
    """
    folder = out / DATA / name
    note = out / DATA / f"{name}.json"
    now = asked.model_dump(mode="json")
    if folder.exists():
        difference = first_difference(_read(note), now)
        if difference:
            raise UsageError(
                f"{folder}: was made for another suite: {difference}. Remove {out / DATA}, or "
                "choose another --out."
            )
        return folder
    write_stress(
        folder,
        normal=asked.normal,
        volumes_ml=asked.volumes_ml,
        contrasts=asked.contrasts,
        repeats=asked.repeats,
        seed=asked.seed,
    )
    write_json(note, now)
    return folder


def _read(note: Path) -> object:
    try:
        return json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
