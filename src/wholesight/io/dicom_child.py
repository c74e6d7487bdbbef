"""The process in which DICOM files are parsed: `python -m wholesight.io.dicom_child FOLDER`.

A DICOM file can be made so that reading it takes all memory or never ends, and codecs written in C
can crash. So it is read here, under a limit of memory and of time, and whoever started this reads
what came of it. FOLDER/task.json says what to do; FOLDER/result.json is written last.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from wholesight.errors import InputError
from wholesight.io.dicom import mark
from wholesight.io.dicom_choice import choose
from wholesight.io.dicom_instance import Instance, Slice, parse
from wholesight.io.dicom_pixels import fill
from wholesight.io.dicom_stack import arrange

_VOXEL_BYTES: Final = 4
_OURS: Final = str(Path(__file__).parent)


def main(folder: Path) -> None:
    """Do the task of a folder under its limits and write the result."""
    task = json.loads((folder / "task.json").read_bytes())
    _limit(task["limit_bytes"], task["seconds"])
    (folder / "result.json").write_text(json.dumps(work(task, folder)), encoding="utf-8")


def work(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Do a task and return its result; what goes wrong is a result, too."""
    try:
        return _TASKS[task["do"]](task, folder)
    except InputError as fault:
        return {"refused": {"code": fault.code, "text": str(fault)}}
    except MemoryError:
        return {"refused": {"code": "E_TOO_LARGE", "text": _too_large(task["limit_bytes"])}}
    except OSError as fault:  # files of the scan are another matter, and refused by then
        return {"full": fault.strerror or type(fault).__name__}
    except Exception as fault:
        # Its text may hold what stands in a file, a name for instance; where it was raised may not.
        return {"fault": f"{type(fault).__name__} in {_where(fault)}"}


def _limit(limit_bytes: int, seconds: int) -> None:
    """Limit the memory that is taken from now on, and the time of the processor."""
    try:
        import resource  # noqa: PLC0415 - Windows has none; the deadline holds there all the same
    except ImportError:
        return
    taken = Path("/proc/self/statm")
    pages = int(taken.read_text().split()[0]) if taken.exists() else 0
    wanted = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + limit_bytes,
        resource.RLIMIT_CPU: seconds,
    }
    for kind, most in wanted.items():
        # Where less is allowed already, or the system knows no such limit, that stays.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _too_large(limit_bytes: int) -> str:
    return (
        f"needs more than {limit_bytes / 1e9:.1f} GB of memory. Is it what it claims? Crop or "
        "resample the scan first."
    )


def _where(fault: BaseException) -> str:
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_OURS)]
    return " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in ours[-2:])


def _read(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    files = [Path(name) for name in task["files"]]
    instances = [parse(files, at) for at in range(len(files))]
    slices, notes = choose(instances, task["series"])
    stack = arrange([each.plane for each in slices])
    rows, columns = slices[0].plane.size
    needed = len(stack.places) * rows * columns * _VOXEL_BYTES
    if needed > task["voxels_bytes"]:
        raise InputError(
            f"needs {needed / 1e9:.1f} GB for its voxels, over the limit of "
            f"{task['voxels_bytes'] / 1e9:.1f} GB. Crop or resample the scan first.",
            code="E_TOO_LARGE",
        )
    voxels, more = fill(slices, stack, files)
    kept = [slices[place[0]] for place in stack.places]
    _refuse_part_of_a_file(kept, instances)
    np.save(folder / "voxels.npy", voxels)
    return {
        "affine": stack.affine.tolist(),
        "notes": [*notes, *more],
        "slices": [(files[each.file].name, each.frame) for each in kept],
    }


def _refuse_part_of_a_file(kept: Sequence[Slice], instances: Sequence[Instance]) -> None:
    """Of files with many slices each, one whole file is a scan: a map lies on all of its slices."""
    if not any(each.frame for each in kept):
        return
    files = {each.file for each in kept}
    if len(files) > 1 or len(kept) < len(instances[kept[0].file].slices):
        raise InputError(
            "the volume is a part of an enhanced file, or spread over several. Convert the series "
            "to one slice a file, or to one volume a file.",
            code="E_MIXED",
        )


def _write(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    from wholesight.io import dicom_seg  # noqa: PLC0415 - highdicom takes its time, to write alone

    slices = [(Path(name), frame) for name, frame in task["slices"]]
    voxels = np.load(folder / "voxels.npy")
    dicom_seg.write(voxels, slices, task["between_mm"], folder / "object.dcm")
    return {}


def _which(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Tell of each file the mark of the series that it is a slice of, None where it is no slice."""
    del folder
    files = [Path(name) for name in task["files"]]
    series: list[str | None] = []
    for at in range(len(files)):
        try:
            found = parse(files, at)
        except InputError:
            series.append(None)
        else:
            series.append(mark(found.series) if len(found.slices) == 1 else None)
    return {"series": series}


_TASKS: Final = {"read": _read, "write": _write, "which": _which}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
