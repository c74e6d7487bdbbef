"""What is wrong with a data set, or worth knowing: collected, so that one look shows all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from wholesight.datasets.case import Case


class Finding(NamedTuple):
    """One thing found.

    level : an error makes a case or the data set unusable, a note does not.
    code : stable and machine readable, E_... for an error and N_... for a note.
    where : a case, a file, or a file and its line.
    text : what is wrong and what to do next.
    """

    level: Literal["error", "note"]
    code: str
    where: str
    text: str


class Found(NamedTuple):
    """The cases of a data set, and what its layout could not make sense of."""

    cases: list[Case]
    findings: list[Finding]


def error(code: str, where: str, text: str) -> Finding:
    """Make a finding that stands in the way."""
    return Finding("error", code, where, text)


def note(code: str, where: str, text: str) -> Finding:
    """Make a finding that is good to know."""
    return Finding("note", code, where, text)


def some(names: Iterable[str], most: int = 6) -> str:
    """List names in order, the first few of them.

    >>> some("dbca", most=2)
    'a, b and 2 more'
    """
    ordered = sorted(names)
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")


def count(n: int, noun: str) -> str:
    """Put a number before its noun.

    >>> count(1, "case"), count(2, "case")
    ('1 case', '2 cases')
    """
    return f"{n} {noun}" + ("" if n == 1 else "s")
