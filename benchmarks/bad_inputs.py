"""What becomes of bad inputs: ours beside other readers' outcome, with time and memory.

    python benchmarks/bad_inputs.py [--json FILE]

Makes every entry of tests/corpus in a folder of its own, and reads it in a process of its own. Ours
is codes (docs/reference/errors.md), OK, or a TRACEBACK, which there must not be. The usual reader
is nibabel for NIfTI, highdicom for DICOM and Pillow for pictures. For others it is OK, or the kind
of the exception; OK for what must be refused is a silent wrong read (**bold**). Seconds are of
processors. Memory is what the process, and one that it started, took at their peaks beyond what
was taken before. SimpleITK is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corpus import CORPUS
from corpus.bad import Bad, outcome

READERS: Final = ("ours", "usual", "SimpleITK")


def main() -> None:
    """Try every entry with every reader, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there, ours alone")
    asked = parser.parse_args()
    readers = READERS[:1] if asked.json else tuple(filter(_is_there, READERS))
    rows = list(rows_of(readers))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        return
    print(table(rows, readers))


def rows_of(readers: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield for every entry what is expected, and of every reader outcome, seconds and MB."""
    for kind, entries in CORPUS.items():
        for bad in entries.values():
            with tempfile.TemporaryDirectory() as folder:
                path = bad.make(Path(folder))
                tried = {name: in_a_child(_reader(name, path, bad)) for name in readers}
            yield {"kind": kind, "name": bad.name, "expected": bad.expected, **tried}


def in_a_child(read: Callable[[], str]) -> dict[str, Any]:
    """Run it in a fork; returns its outcome, seconds, and the peak of its memory in MB."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        told = json.dumps(_tried(read))
        os.write(theirs, told.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else {"outcome": "KILLED", "seconds": 0.0, "peak_mb": 0.0}


def _tried(read: Callable[[], str]) -> dict[str, Any]:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of it
    warnings.simplefilter("ignore")
    before, begun = _peak_mb(), _cpu_s()
    try:
        found = read()
    except Exception as fault:
        found = f"TRACEBACK {type(fault).__name__}"
    return {
        "outcome": found,
        "seconds": round(_cpu_s() - begun, 3),
        "peak_mb": round(_peak_mb() - before, 1),
    }


def _cpu_s() -> float:
    """Return the processor time of this process and of those that it started."""
    return sum(os.times()[:4])


def _peak_mb() -> float:
    """Return the peak of this process, and of the largest that it started, which DICOM needs."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(who).ru_maxrss for who in whose)
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _reader(name: str, path: Path, bad: Bad) -> Callable[[], str]:
    others = {"usual": _usual, "SimpleITK": _simpleitk}
    if name == "ours":
        return lambda: outcome(path, as_mask=bad.as_mask)
    return lambda: _kind(others[name], path)


def _kind(read: Callable[[Path], None], path: Path) -> str:
    try:
        read(path)
    except Exception as fault:
        return type(fault).__name__
    return "OK"


def _usual(path: Path) -> None:
    """Read it with what is usual for its kind."""
    if path.is_dir() and path.name == "series":
        import highdicom
        import pydicom

        highdicom.get_volume_from_series([pydicom.dcmread(each) for each in path.iterdir()])
    elif path.suffix in (".png", ".jpg", ".tif"):
        import numpy as np
        from PIL import Image

        np.asarray(Image.open(path))
    else:
        import nibabel as nib

        nib.load(path).get_fdata()  # pyright: ignore[reportAttributeAccessIssue]


def _simpleitk(path: Path) -> None:
    import SimpleITK  # pyright: ignore[reportMissingImports]

    if path.is_dir():
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        reader.Execute()
    else:
        SimpleITK.ReadImage(str(path))


def _is_there(reader: str) -> bool:
    return reader in ("ours", "usual") or importlib.util.find_spec(reader) is not None


def table(rows: list[dict[str, Any]], readers: tuple[str, ...]) -> str:
    """Write the Markdown table and, below it, what it comes to."""
    lines = [
        f"| input | expected | {' | '.join(readers)} | s | MB |",
        "|---" * (len(readers) + 4) + "|",
    ]
    for row in rows:
        told = [_marked(row, name) for name in readers]
        ours = row["ours"]
        lines.append(
            f"| {row['kind']}: {row['name']} | {row['expected']} | {' | '.join(told)} | "
            f"{ours['seconds']:.2f} | {ours['peak_mb']:.0f} |"
        )
    wrong = {name: sum(_is_silent(row, name) for row in rows) for name in readers}
    right = sum(row["ours"]["outcome"] == row["expected"] for row in rows)
    slowest = max(row["ours"]["seconds"] for row in rows)
    largest = max(row["ours"]["peak_mb"] for row in rows)
    silent = ", ".join(f"{name} {count}" for name, count in wrong.items())
    return "\n".join(
        [
            *lines,
            "",
            f"{right} of {len(rows)} as expected; the slowest took {slowest:.2f} s, the largest "
            f"{largest:.0f} MB. Read without a word though they must be refused: {silent}.",
        ]
    )


def _is_silent(row: dict[str, Any], reader: str) -> bool:
    return row["expected"].startswith("E_") and row[reader]["outcome"] == "OK"


def _marked(row: dict[str, Any], reader: str) -> str:
    told = row[reader]["outcome"]
    return f"**{told}**" if _is_silent(row, reader) else told


if __name__ == "__main__":
    main()
