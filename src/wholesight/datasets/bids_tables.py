"""What a BIDS data set says beside its images: participants.tsv and .bidsignore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.datasets.finding import Finding, error
from wholesight.datasets.split import SPLITS
from wholesight.errors import nearest

FILE: Final = "participants.tsv"
_KEY: Final = "participant_id"
_NONE: Final = ("", "n/a")


class Participant(NamedTuple):
    """What participants.tsv tells of a subject; None is nothing."""

    site: str | None
    split: str | None


def participants(root: Path) -> tuple[dict[str, Participant], list[Finding]]:
    """Read the table where there is one: {label without sub-: its line}, and what is wrong in it.

    Of its columns `site` and `split` are read; it may have any others.
    """
    path = root / FILE
    if not os.path.lexists(path):
        return {}, []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        text = f"{path}: cannot be read ({fault}). Fetch it, or save it again as UTF-8."
        return {}, [error("E_PARTICIPANTS", FILE, text)]
    columns, *rows = [[cell.strip() for cell in line.split("\t")] for line in lines] or [[]]
    if _KEY not in columns or len(set(columns)) < len(columns):
        text = f"{path}, line 1: needs the column {_KEY}, once, and no name twice; cells are "
        return {}, [error("E_PARTICIPANTS", FILE, f"{text}separated by tabs.")]
    found: dict[str, Participant] = {}
    findings: list[Finding] = []
    for line, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        row = {_KEY: "", **dict(zip(columns, cells, strict=False))}
        label = row[_KEY].removeprefix("sub-")
        findings += [
            error(code, f"{FILE} line {line}", f"{path}, line {line}: {text}")
            for code, text in _faults(row, len(cells), len(columns), label in found)
        ]
        site, split = (row.get(name, "") for name in ("site", "split"))
        found[label] = Participant(_or_none(site), split if split in SPLITS else None)
    return found, findings


def _or_none(cell: str) -> str | None:
    return None if cell in _NONE else cell


def _faults(
    row: dict[str, str], cells: int, columns: int, again: bool
) -> Iterator[tuple[str, str]]:
    """Yield (code, what is wrong) for one line."""
    if cells != columns:
        yield "E_PARTICIPANTS", f"{cells} cells where line 1 has {columns}. Is a tab missing?"
    if row[_KEY] in _NONE:
        yield "E_PARTICIPANTS", f"the {_KEY} is missing. Fill it in, or remove the line."
    elif again:
        yield "E_PARTICIPANTS", f"{row[_KEY]} is there twice. Remove one line."
    split = row.get("split", "")
    if split not in (*_NONE, *SPLITS):
        yield "E_SPLIT", f"there is no split called '{split}'. {nearest(split, SPLITS)}"


class Ignored:
    """The files that .bidsignore names, by patterns as git has them; without it none.

    A pattern without a slash is of a name anywhere, one with a slash is of the path from the root.
    What lies in a folder that is ignored is too; the last pattern that fits, decides, and `!` takes
    back.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / ".bidsignore"
        lines = path.read_text("utf-8-sig", "replace").splitlines() if path.is_file() else []
        self.patterns = [line.strip() for line in lines if line.strip() and line[0] != "#"]

    def __contains__(self, path: Path) -> bool:
        """Whether a path of the data set is ignored."""
        if not self.patterns:
            return False
        inner = path.relative_to(self.root)
        places = [inner, *inner.parents][:-1]  # the last is the root itself
        ignored = False
        for pattern in self.patterns:
            if any(_fits(place, pattern.removeprefix("!")) for place in places):
                ignored = not pattern.startswith("!")
        return ignored


def _fits(place: Path, pattern: str) -> bool:
    pattern = pattern.removesuffix("/")
    if pattern.startswith("**/"):
        return fnmatchcase(f"/{place.as_posix()}", f"*/{pattern[3:]}")
    if "/" in pattern:
        return fnmatchcase(place.as_posix(), pattern.removeprefix("/"))
    return fnmatchcase(place.name, pattern)
