"""Where a benchmark's files lie in its folder, and what is finished there.

    DIR/protocol.json                                  what is done; written before anything is
        cells/<data set>/<method>/seed-<n>/            finished or absent
            model/  evaluation.json  arrays.npz  cell.json (written last)
        failures.tsv  failures/<cell>.txt              what failed, and its traceback
        data/                                          what the suite made itself

A cell grows in a hidden folder beside and is renamed when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wholesight.errors import UsageError

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


def is_finished(folder: Path) -> bool:
    """Whether a cell is there; it is renamed when it is complete, so one look is enough."""
    return (folder / FACTS).is_file()


def remove_unfinished(out: Path) -> None:
    """Remove what a run that was killed has left of its cells."""
    for folder in (out / CELLS).glob(f"*/*/{_UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def require_room(out: Path, *, resume: bool, again: Sequence[str]) -> None:
    """Refuse a folder that holds something else, or a run that was not asked to go on.

    again : lines that say how to go on. Raises UsageError.
    """
    if (out / PROTOCOL).is_file():
        if not resume:
            raise UsageError(
                f"{out}: holds a benchmark already. To go on with what is missing there:\n"
                + "\n".join(again)
                + "\nor choose another --out."
            )
        return
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    # What the suite makes itself comes before the protocol.
    strange = [name for name in there if name != DATA and not name.startswith(".")]
    if out.exists() and (not out.is_dir() or strange):
        raise UsageError(
            f"{out}: is there already and holds no {PROTOCOL}, so it is no benchmark of ours. "
            "Choose another --out."
        )
    if there and not resume:
        raise UsageError(
            f"{out}: holds {', '.join(there)}. Remove it, add --resume to use it, or choose "
            "another --out."
        )
