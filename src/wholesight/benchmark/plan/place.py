"""Where a benchmark's files lie in its folder, and what is finished there.

    DIR/protocol.json                                  what is done; written before anything is
        cells/<data set>/<method>/seed-<n>/            finished or absent
            model/  evaluation.json  arrays.npz  cell.json (written last, with their hashes)
            model/fold-<n>/                            in place of one model, where there are folds
        failures.tsv  failures/<cell>.txt              what failed, and its traceback
        data/                                          what the suite made itself

A cell grows in a hidden folder beside and is renamed when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wholesight.errors import OutputError, UsageError
from wholesight.io.files import sha256, write_json

PROTOCOL: Final = "protocol.json"
CELLS: Final = "cells"
DATA: Final = "data"
FACTS: Final = "cell.json"

_UNFINISHED: Final = ".unfinished-"


def cell_folder(out: Path, dataset: str, method: str, seed: int) -> Path:
    """Return the folder of a cell."""
    return out / CELLS / dataset / method / f"seed-{seed}"


def unfinished(folder: Path) -> Path:
    """Return the hidden folder in which a cell grows.

    >>> unfinished(Path("quick/seed-0")).as_posix()
    'quick/.unfinished-seed-0'
    """
    return folder.with_name(f"{_UNFINISHED}{folder.name}")


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what is known of a cell, with the hash of every file beside it. Raises OutputError.

    Models are left out: the report does not need them, and they may be removed to save room.
    """
    beside = sorted(path for path in folder.iterdir() if path.is_file())
    write_json(folder / FACTS, {**facts, "files": {path.name: sha256(path) for path in beside}})


def is_finished(folder: Path) -> bool:
    """Whether a cell is there, every file as it was written: a damaged one is done again."""
    try:
        files = json.loads((folder / FACTS).read_bytes())["files"]
        return all(sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove_unfinished(out: Path, *, unless: Callable[[Path], bool]) -> None:
    """Remove what a run that was stopped has left of its cells, unless one can go on from it."""
    for folder in (out / CELLS).glob(f"*/*/{_UNFINISHED}*"):
        if not unless(folder):
            shutil.rmtree(folder, ignore_errors=True)


def require_room(out: Path, *, resume: bool, again: Sequence[str]) -> None:
    """Refuse a folder that holds something else, or a run that was not asked to go on.

    again : lines that say how to go on. Raises UsageError, and OutputError for a folder that cannot
    be written: now, and not when all data have been read.
    """
    _require_writable(out)
    if (out / PROTOCOL).is_file():
        if not resume:
            raise UsageError(
                f"{out}: holds a benchmark already. To go on with what is missing there:\n"
                + "\n".join(again)
                + "\nor choose another --out."
            )
        return
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    there = [name for name in names if not name.startswith(".")]
    # What the suite makes itself comes before the protocol.
    if out.exists() and (not out.is_dir() or there not in ([], [DATA])):
        raise UsageError(
            f"{out}: is there already and holds no {PROTOCOL}, so it is no benchmark of ours. "
            "Choose another --out."
        )
    if there and not resume:
        raise UsageError(
            f"{out}: holds {', '.join(there)}. Remove it, add --resume to use it, or choose "
            "another --out."
        )


def _require_writable(out: Path) -> None:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if there.is_dir() and not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise OutputError(
            f"{out}: cannot be written, for {there} is read-only or not yours. Choose another "
            "--out."
        )
