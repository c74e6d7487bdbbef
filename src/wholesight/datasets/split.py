"""Which subjects train, set the threshold, and judge: `split.json` in the data set's folder.

    {"train": ["subject", ...], "calibration": [...], "validation": [...], "test": [...]}

A subject is in one split at most. Subjects that it does not name belong to none.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, count, error, note, some
from wholesight.errors import nearest

SPLITS = ("train", "calibration", "validation", "test")
FILE = "split.json"


def assign(cases: Iterable[Case], path: Path) -> Found:
    """Give the cases the splits that the file at `path` names, where there is one.

    A split that the layout already gave (a manifest's column, a folder's name) stays; where the
    two disagree, or where a subject ends up in two splits, that is an error.
    """
    cases = list(cases)
    subjects = {case.subject for case in cases}
    named, findings = read_split(path, subjects) if path.exists() else ({}, [])
    findings += _unmatched(named, subjects, path)
    for case in cases:
        told = named.get(case.subject, case.split)
        if case.split not in (None, told):
            findings.append(
                error(
                    "E_SPLIT",
                    case.id,
                    f"{case.id}: belongs to '{case.split}' by its layout but subject "
                    f"{case.subject} to '{told}' by {path.name}. Make them agree.",
                )
            )
    cases = [replace(case, split=case.split or named.get(case.subject)) for case in cases]
    return Found(cases, findings + _shared_subjects(cases) + _without_split(cases, path))


def read_split(path: Path, subjects: Container[str]) -> tuple[dict[str, str], list[Finding]]:
    """Read subject -> split, and list what is wrong with the file. Never raises for its content.

    subjects : those that are there; sub-01 is the subject 01 where that one is.
    """
    try:
        # Pairs, because a key that is given twice would silently lose the first list.
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=list)
    except (OSError, ValueError) as fault:
        text = f"{path}: cannot be read as JSON ({fault}). Mend it, or write it again."
        return {}, [error("E_SPLIT", path.name, text)]
    fault = _shape_fault(content)
    if fault:
        return {}, [error("E_SPLIT", path.name, f"{path}: {fault}")]
    places: dict[str, list[str]] = defaultdict(list)
    for split, names in content:
        for name in names:
            places[known_as(name, subjects)].append(split)
    findings = [finding for item in places.items() for finding in _twice(*item, path)]
    return {subject: splits[0] for subject, splits in places.items()}, findings


def known_as(name: str, subjects: Container[str]) -> str:
    """Return the subject that a name means: BIDS writes sub-01 for 01.

    >>> known_as("sub-01", {"01"}), known_as("sub-01", {"sub-01"}), known_as("02", {"01"})
    ('01', 'sub-01', '02')
    """
    label = name.removeprefix("sub-")
    return label if name not in subjects and label in subjects else name


def _shape_fault(content: Any) -> str | None:
    """Say why the content is not a split, or None. `content` is a list of (key, value) pairs."""
    form = 'Its form is {"train": ["subject", ...], "calibration": [...], ...}.'
    if not isinstance(content, list) or not all(isinstance(pair, tuple) for pair in content):
        return f"is not a JSON object. {form}"
    for split, subjects in content:
        if split not in SPLITS:
            return f"there is no split called '{split}'. {nearest(split, SPLITS)}"
        if not isinstance(subjects, list) or not all(isinstance(name, str) for name in subjects):
            return f"'{split}' is not a list of subject names in quotes. {form}"
    again = [split for split, n in Counter(split for split, _ in content).items() if n > 1]
    return f"'{again[0]}' stands there twice. Join the two lists." if again else None


def _twice(subject: str, splits: list[str], path: Path) -> list[Finding]:
    if len(set(splits)) > 1:
        text = f"{path}: subject {subject} is in {_and(splits)}. Leave it in one of them."
        return [error("E_SPLIT", subject, text)]
    if len(splits) > 1:
        text = f"{path}: subject {subject} stands {len(splits)} times in '{splits[0]}'."
        return [note("N_SPLIT", subject, text)]
    return []


def _unmatched(named: dict[str, str], subjects: set[str], path: Path) -> list[Finding]:
    """Find the named subjects that have no case: a typing error, or images that are not here."""
    missing = sorted(named.keys() - subjects)
    if not missing:
        return []
    hint = f" {missing[0]}: {nearest(missing[0], subjects)}" if len(subjects) < 10 else ""
    text = (
        f"{path}: names {count(len(missing), 'subject')} without a case ({some(missing)}). "
        f"Correct the names, add the images, or take the names out.{hint}"
    )
    return [error("E_SPLIT", path.name, text)]


def _shared_subjects(cases: list[Case]) -> list[Finding]:
    splits: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.split:
            splits[case.subject].add(case.split)
    return [
        error(
            "E_SPLIT",
            subject,
            f"subject {subject} has cases in {_and(names)}: a network would be judged on someone "
            "it learnt from. Put all cases of a subject into one split.",
        )
        for subject, names in sorted(splits.items())
        if len(names) > 1
    ]


def _without_split(cases: list[Case], path: Path) -> list[Finding]:
    left = [case.id for case in cases if case.split is None]
    if not left:
        return []
    text = f"{count(len(left), 'case')} of {len(cases)} in no split ({some(left)})."
    if len(left) == len(cases):
        deeper = sorted(path.parent.glob(f"*/{FILE}"))
        remedy = (
            f"There is one deeper down: give {deeper[0].parent} as DATA."
            if deeper
            else f'Write {path}: {{"train": ["subject", ...], "calibration": [...], ...}}.'
        )
        text = "no case belongs to a split, so `fit` and `calibrate` have nothing to use. " + remedy
    return [note("N_NO_SPLIT", path.name, text)]


def _and(splits: Iterable[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(set(splits), key=SPLITS.index))
