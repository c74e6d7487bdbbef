"""A manifest: `cases.tsv`, one line a case, for data that lie in any other way.

Columns, separated by tabs, in any order; the first two are needed:

    case     unique name                  inside   file of the body mask
    image    file of the scan             split    train, calibration, validation or test
    subject  whose it is, else the case   site     where it was acquired
    mask     file of what is abnormal      volume   which one of a series in the image, from 0
    image_t2 ...  files of further images, by modality, for recipes with channels of these names
                                           series   which DICOM series in the image, by its UID

Files are relative to the manifest; an image may be a folder with a DICOM series. An empty cell or
n/a is "none". UTF-8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, error
from wholesight.datasets.split import SPLITS
from wholesight.errors import UsageError, nearest

LOOKS_LIKE = "a cases.tsv with the columns case, image and more (manifest)"

FILE = "cases.tsv"
COLUMNS = ("case", "subject", "image", "mask", "inside", "split", "site", "volume", "series")
_NEEDED = ("case", "image")
_FILES = ("image", "mask", "inside")
_NONE = ("", "n/a")
_IMAGE = "image_"


def fits(root: Path) -> bool:
    """Whether this is a table, or a folder with a `cases.tsv`."""
    return root.suffix == ".tsv" if root.is_file() else (root / FILE).is_file()


def find(root: Path, modality: str | None) -> Found:
    """Read the manifest; cases in its order. Lines that cannot be meant are left out and named.

    Raises UsageError when a modality is asked for: the image column has already chosen.
    """
    path = root if root.is_file() else root / FILE
    if modality is not None:
        raise UsageError(
            f"{path}: a manifest names each image itself. Leave out --modality {modality}, "
            "or write a second manifest."
        )
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as fault:
        text = f"{path}: cannot be read as UTF-8 text ({fault}). Save it again as UTF-8."
        return Found([], [error("E_MANIFEST", path.name, text)])
    columns, *rows = [line.split("\t") for line in lines]
    columns = [name.strip() for name in columns]
    wrong = _header_faults(columns, path)
    return Found([], wrong) if wrong else _cases(columns, rows, path)


def _header_faults(columns: list[str], path: Path) -> list[Finding]:
    where = f"{path.name} line 1"
    texts = []
    if len(columns) == 1 and any(mark in columns[0] for mark in ",;"):
        texts.append(f"{path}, line 1: the columns must be separated by tabs.")
    else:
        texts += [
            f"{path}, line 1: unknown column '{name}'. {nearest(name, COLUMNS)}"
            for name in columns
            if name not in COLUMNS and not _modality(name)
        ]
        texts += [
            f"{path}, line 1: column '{name}' is missing. It must have: {', '.join(_NEEDED)}."
            for name in _NEEDED
            if name not in columns
        ]
        texts += [
            f"{path}, line 1: column '{name}' is there twice. Remove one."
            for name in dict.fromkeys(columns)
            if columns.count(name) > 1
        ]
    return [error("E_MANIFEST", where, text) for text in texts]


def _cases(columns: list[str], rows: list[list[str]], path: Path) -> Found:
    cases: list[Case] = []
    findings: list[Finding] = []
    # (column, value, volume and series) -> its line
    seen: dict[tuple[str, str, tuple[str | None, ...]], int] = {}
    for line, cells in enumerate(rows, 2):
        values = [cell.strip() for cell in cells]
        if not any(values):
            continue
        wrong = list(_row_faults(columns, values, path))
        row = dict(zip(columns, values, strict=False))
        for column, value in (("case", row.get("case")), ("image", row.get("image"))):
            of = (row.get("volume"), row.get("series")) if column == "image" else ()
            key = column, os.path.normpath(value or ""), of
            if value and seen.setdefault(key, line) != line:
                text = f"{column} '{value}' is in line {seen[key]} too. Remove one."
                wrong.append(("E_DUPLICATE", text))
        findings += [
            error(code, f"{path.name} line {line}", f"{path}, line {line}: {text}")
            for code, text in wrong
        ]
        if not wrong:
            cases.append(_case(row, path.parent))
    return Found(cases, findings)


def _row_faults(columns: list[str], values: list[str], path: Path) -> Iterator[tuple[str, str]]:
    """Yield (code, what is wrong) for one line."""
    if len(values) != len(columns):
        text = f"{len(values)} cells where line 1 has {len(columns)}. Is a tab missing or too many?"
        yield "E_MANIFEST", text
        return
    row = dict(zip(columns, values, strict=True))
    for name in _NEEDED:
        if row[name] in _NONE:
            yield "E_MANIFEST", f"the {name} is missing. Fill it in, or remove the line."
    if "/" in row["case"] or "\\" in row["case"]:
        yield "E_MANIFEST", f"case '{row['case']}' names files later. Write it without a slash."
    split = row.get("split", "")
    if split not in (*_NONE, *SPLITS):
        yield "E_SPLIT", f"there is no split called '{split}'. {nearest(split, SPLITS)}"
    volume = row.get("volume", "")
    if volume not in _NONE and not volume.isdecimal():
        yield "E_MANIFEST", f"volume '{volume}' is no whole number from 0."
    for name in (*_FILES, *filter(_modality, row)):
        # A link that leads nowhere is there: the reader knows better what to say about it.
        if row.get(name, "") not in _NONE and not os.path.lexists(path.parent / row[name]):
            yield "E_NOT_FOUND", f"{name} '{row[name]}' is not there. Paths start at {path.parent}."


def _case(row: dict[str, str], folder: Path) -> Case:
    given = {name: value for name, value in row.items() if value not in _NONE}
    files = {name: folder / given[name] for name in _FILES if name in given}
    return Case(
        id=given["case"],
        subject=given.get("subject", given["case"]),
        image=files["image"],
        mask=files.get("mask"),
        inside=files.get("inside"),
        split=given.get("split"),
        site=given.get("site"),
        volume=int(given["volume"]) if "volume" in given else None,
        series=given.get("series"),
        modalities=tuple(
            (_modality(name), folder / value) for name, value in given.items() if _modality(name)
        ),
    )


def _modality(column: str) -> str:
    """Return which modality a column names a file of; nothing of another column.

    >>> _modality("image_t2"), _modality("image"), _modality("image_")
    ('t2', '', '')
    """
    return column.removeprefix(_IMAGE) if column.startswith(_IMAGE) else ""
