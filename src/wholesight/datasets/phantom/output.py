"""What every phantom on disk has: scans with their truth, a record, a folder that appears whole.

Axes: i j k voxels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wholesight.datasets.phantom.atlas import NOTICE, load_atlas
from wholesight.datasets.phantom.compose import PhantomHead
from wholesight.datasets.phantom.field import Grid
from wholesight.errors import OutputError, UsageError
from wholesight.io import nifti
from wholesight.io.files import write_json
from wholesight.volume import Volume

# Goes up whenever the same seed gives other voxels.
GENERATOR_VERSION = 2

RECORD = "phantom.json"

# Slices between these are what a scanner can be asked for, and what the deformation still resolves.
_FINEST_MM, _COARSEST_MM = 0.5, 20.0


def check_seed_and_spacing(seed: int, spacing_mm: tuple[float, float, float]) -> None:
    """Refuse what no head can be made with (UsageError)."""
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is a whole number from 0.")
    if not all(_FINEST_MM <= step <= _COARSEST_MM for step in spacing_mm):
        raise UsageError(
            f"A spacing of {spacing_mm} mm cannot be made. "
            f"Give three values from {_FINEST_MM:g} to {_COARSEST_MM:g} mm."
        )


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write in, which becomes `out` when all went well, and else never was.

    Raises OutputError when `out` is taken or cannot be written, and UsageError when nilearn, which
    carries the maps, is missing: both before anything is made.
    """
    _check_free(out)
    load_atlas()
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            # a folder in the temporary one: that is readable by its owner only
            unfinished = Path(temporary) / out.name
            unfinished.mkdir()
            yield unfinished
            if out.exists():
                out.rmdir()
            unfinished.rename(out)
    except OSError as fault:
        raise OutputError(
            f"{out}: the phantom cannot be written here ({fault.strerror}). "
            "Check that the folder is yours and that the disk has room."
        ) from fault


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(
            f"{out}: is already there and not an empty folder; nothing was written. "
            "Choose another folder, or remove this one first."
        )


def image_path(case: str) -> str:
    """Return where the scan of a case lies, from the data set's folder."""
    return f"{case}/{case}_flair.nii.gz"


def mask_path(case: str) -> str:
    """Return where the truth of a case lies, from the data set's folder."""
    return f"{case}/{case}_seg.nii.gz"


def write_head(out: Path, case: str, head: PhantomHead, grid: Grid) -> dict[str, Any]:
    """Write one case in BraTS layout and return what was drawn for it."""
    (out / case).mkdir()
    truth = head.abnormal.astype(np.uint8)
    for voxels, name in ((head.image, image_path(case)), (truth, mask_path(case))):
        nifti.write(Volume(voxels, grid.affine, Path(name).name), out / name)
    return head.facts


def write_record(out: Path, *, what: str, seed: int, grid: Grid, cases: dict[str, Any]) -> None:
    """Write phantom.json: how to make it again, what was drawn, and the notice of the maps."""
    record = {
        "what": what,
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "spacing_mm": list(grid.spacing_mm),
        "notice": NOTICE,
        "cases": cases,
    }
    write_json(out / RECORD, record)
