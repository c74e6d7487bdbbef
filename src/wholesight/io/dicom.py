"""DICOM series in; segmentations and parametric maps out.

This half starts the process that does it. A scan is a folder of files, or one file of many slices.
Nothing of a file is parsed in this process (why: `wholesight.io.dicom_child`), and no word of one
comes back: what is returned are voxels, where they lie, and notes; of UIDs the start of a hash.
Needs the extra [dicom].
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np

from wholesight.errors import InputError, OutputError
from wholesight.io.files import unreadable, write_bytes
from wholesight.volume import Note, Volume

SUFFIXES: Final = (".dcm",)

# What the process may take beyond what it needs to start, and how long it may work.
LIMIT_BYTES: Final = 4 * 1024**3
DEADLINE_S: Final = 120
# Memory for the voxels as float32, as of other formats.
VOXELS_BYTES: Final = 2 * 1024**3

_MAGIC: Final = (128, b"DICM")
_VOLUMES: Final = (".nii", ".nii.gz")
_NAMED_LIKE_DICOM: Final = (".dcm", ".ima", ".dicom")
_OURS: Final = re.compile(r".+_(anomaly|mask)\.dcm", re.IGNORECASE)
_INDEX: Final = "DICOMDIR"
_UID: Final = re.compile(r"[0-9]+([.][0-9]+)+")  # a mark may be all digits, and has no dot


def is_dicom(path: Path) -> bool:
    """Whether a file has the magic of DICOM, or a folder holds a file that is part of a scan.

    Maps and masks that `segment` wrote are no part of one. A folder with NIfTI files is a folder of
    scans, whatever lies beside them.
    """
    if not path.is_dir():
        return _has_magic(path)
    try:
        files = list(path.iterdir())
        if any(file.name.lower().endswith(_VOLUMES) for file in files):
            return False
        return any(
            _has_magic(file) or file.name.lower().endswith(_NAMED_LIKE_DICOM)
            for file in files
            if _may_be_dicom(file) and not _is_ours(file)
        )
    except OSError:
        return False  # whoever reads it says why


def mark(identifier: str) -> str:
    """Return what stands for a UID in a message or a record: the start of its SHA-256."""
    return sha256(identifier.encode()).hexdigest()[:12]


def series_mark(series: str) -> str:
    """Return what a series is called in messages and records: the hash of a UID, a mark as it is.

    >>> series_mark("1.2.840.113619.2.5")
    '8ca7ad86c993'
    >>> series_mark("4f2a9c01d3e4"), series_mark("402090010304")
    ('4f2a9c01d3e4', '402090010304')
    """
    return mark(series) if _UID.fullmatch(series) else series


def read(path: Path | str, *, volume: int | None = None, series: str | None = None) -> Volume:
    """Read one series.

    path : its folder, or a file of many slices. Returns float32 voxels after the files' slope and
    intercept, (i, j, k): i along a row of pixels, j down a column, k from slice to slice; a tilted
    stack gives a sheared affine. volume : None or 0, as a series holds one. series : which one,
    where several are volumes, by its UID or mark. Raises InputError, whose code says which check
    failed.
    """
    path = Path(path)
    if volume:
        raise InputError(
            f"{path}: has no volume {volume}, a DICOM series is one. Leave out --volume.",
            code="E_DIMS",
        )
    task = {
        "do": "read",
        "files": [str(file.absolute()) for file in _files(path)],
        "series": series and series_mark(series),
        "voxels_bytes": VOXELS_BYTES,
    }
    with _child(task, path) as (folder, told):
        stored = np.load(folder / "voxels.npy")
    return Volume(
        stored.transpose(2, 1, 0),
        np.array(told["affine"]),
        path.name,
        header=json.dumps({"slices": told["slices"]}).encode(),
        notes=tuple(Note(*each) for each in told["notes"]),
    )


def whole_scans(paths: Sequence[Path]) -> list[tuple[Path, str | None]]:
    """Return for each path the scan that it is or belongs to, and the mark of its series.

    A slice belongs to its series in its folder. What is a scan already, no DICOM, or cannot be read
    stays as it is, without a series; whoever reads it says why. Raises InputError without the extra
    where one is a DICOM file.
    """
    asked = [path for path in paths if path.is_file() and is_dicom(path) and not _is_ours(path)]
    if not asked:
        return [(path, None) for path in paths]
    task = {"do": "which", "files": [str(file.absolute()) for file in asked]}
    with _child(task, asked[0]) as (_, told):
        series = dict(zip(asked, told["series"], strict=True))
    return [(path.parent, series[path]) if series.get(path) else (path, None) for path in paths]


def write(volume: Volume, path: Path | str, source: Path) -> None:
    """Write a mask (bool) as a binary segmentation, a map (float) as a parametric map; atomically.

    source : what the volume's grid was read from; its slices are referenced, and patient and study
    are theirs. The same volume and source give the same bytes, where the source has a date. Raises
    InputError when the source has gone, OutputError, and ValueError for a volume of another kind of
    file, which is a bug of the caller.
    """
    folder = source if source.is_dir() else source.parent
    try:
        slices = json.loads(volume.header or b"")["slices"]
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(f"{volume.name}: does not come from a DICOM series") from fault
    task = {
        "do": "write",
        "slices": [(str((folder / name).absolute()), frame) for name, frame in slices],
        "between_mm": _between_mm(volume.affine),
    }
    with _child(task, source, voxels=volume.voxels.transpose(2, 1, 0)) as (work, _):
        content = (work / "object.dcm").read_bytes()
    write_bytes(Path(path), content)


def _between_mm(affine: np.ndarray) -> float:
    """Return how far slices lie apart, at right angles to them: in a shear less than their step."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return float(abs(normal @ affine[:3, 2]) / np.linalg.norm(normal))


# ---------------------------------------------------------------- which files


def _files(path: Path) -> list[Path]:
    """Return the files of a scan, sorted by name. Raises InputError."""
    try:
        if not path.is_dir():
            path.open("rb").close()
            _require_dicom(path, path.name)
            return [path]
        there = sorted(file for file in path.iterdir() if _may_be_dicom(file))
    except OSError as fault:
        raise unreadable(path, fault) from fault
    found = [file for file in there if not _is_ours(file)]
    for at, file in enumerate(found):
        if file.name.lower().endswith(_NAMED_LIKE_DICOM) or not file.stat().st_size:
            _require_dicom(file, f"{path}: file {at + 1} of {len(found)} by name")
    found = [file for file in found if _has_magic(file)]
    if not found:
        raise InputError(f"{path}: holds no DICOM files.", code="E_FORMAT")
    return found


def _require_dicom(file: Path, told: str) -> None:
    # Left out, an empty one at the end of the stack would shorten the scan without a word.
    if not file.stat().st_size:
        raise InputError(f"{told} is empty (0 bytes). Copy it again.", code="E_TRUNCATED")
    if not _has_magic(file):
        raise InputError(
            f"{told} is no DICOM file: DICM does not stand at byte {_MAGIC[0]}. Remove it, or "
            "export the series again.",
            code="E_FORMAT",
        )


def _may_be_dicom(file: Path) -> bool:
    """Whether a name is one that DICOM files have: .dcm, none, or the end of a UID."""
    if file.name.startswith(".") or file.name.upper() == _INDEX:
        return False
    suffix = file.suffix.lower()
    named = suffix in ("", *_NAMED_LIKE_DICOM) or suffix[1:].isdigit()
    return named and file.is_file()


def _is_ours(file: Path) -> bool:
    """Whether it is called like what `segment` writes."""
    return _OURS.fullmatch(file.name) is not None


def _has_magic(file: Path) -> bool:
    at, magic = _MAGIC
    try:
        with file.open("rb") as stream:
            return stream.read(at + len(magic))[at:] == magic
    except OSError:
        return False


# ---------------------------------------------------------------- the process


@contextmanager
def _child(
    task: Mapping[str, Any], path: Path, *, voxels: np.ndarray | None = None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Have a task done; yields the folder with what was made, and what is told of it.

    path : for messages. Raises InputError, OutputError when the temporary folder is full.
    """
    _require_extra(path)
    with tempfile.TemporaryDirectory(prefix="wholesight-") as name:
        folder = Path(name)
        try:
            if voxels is not None:
                np.save(folder / "voxels.npy", voxels)
            # What is written was read under the limit; a few copies of it may be made.
            room = LIMIT_BYTES + (0 if voxels is None else 5 * voxels.nbytes)
            limits = {"limit_bytes": room, "seconds": DEADLINE_S}
            (folder / "task.json").write_text(json.dumps({**task, **limits}), encoding="utf-8")
        except OSError as fault:
            raise _full(folder, str(fault.strerror)) from fault
        told = _run(folder, path)
        if "refused" in told:
            refused = told["refused"]
            raise InputError(f"{path}: {refused['text']}", code=refused["code"])
        if "full" in told:
            raise _full(folder, told["full"])
        if "fault" in told:
            raise RuntimeError(f"{path}: {told['fault']}")
        yield folder, told


def _run(folder: Path, path: Path) -> dict[str, Any]:
    # One thread: each further one reserves memory that counts against the limit.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    home = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        # Its words go nowhere: a warning of pydicom's quotes what it stumbled over. -P: no module
        # that lies in the current folder is imported.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "wholesight.io.dicom_child", str(folder)],
            env={**os.environ, **single, "PYTHONPATH": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(path) from None
    if hasattr(signal, "SIGXCPU") and done.returncode == -signal.SIGXCPU:
        raise _too_slow(path)
    try:
        return json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{path}: the process for its DICOM files ended without a result (exit "
            f"{done.returncode}): a codec crashed on damaged pixels, or memory ran out. Export the "
            "series again, uncompressed.",
            code="E_WORKER",
        ) from fault


def _too_slow(path: Path) -> InputError:
    return InputError(
        f"{path}: its DICOM files took more than {DEADLINE_S} s. Is it one scan, and what it "
        "claims? Copy it to a faster disk, or give the series a folder of its own.",
        code="E_DEADLINE",
    )


def _full(folder: Path, why: str) -> OutputError:
    return OutputError(
        f"{folder.parent}: the temporary folder cannot be used ({why}). Make room in it, or name "
        "another by TMPDIR."
    )


def _require_extra(path: Path) -> None:
    missing = [
        name for name in ("pydicom", "highdicom", "gdcm") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise InputError(
            f"{path}: DICOM needs {', '.join(missing)}: pip install 'wholesight[dicom]'",
            code="E_EXTRA",
        )
