"""The errors a user can meet. Each message says what is wrong, where, and what to do next.

A kind carries the exit code of the command line, so that one table (`cli/main.py`) needs no cases.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class WholesightError(Exception):
    """Any fault that is not a bug of ours. Abstract: raise one of the kinds below."""

    exit_code: ClassVar[int] = 1


class UsageError(WholesightError):
    """The command, an option or a recipe cannot be meant as it was written."""

    exit_code = 2


class RecipeError(UsageError):
    """A key or a value of a recipe is not legal; the message names the key and the legal ones."""


class InputError(WholesightError):
    """An input file or data set cannot be used. `code` is stable and machine readable."""

    exit_code = 3

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class OutputError(WholesightError):
    """The output cannot be written."""

    exit_code = 5


class ModelError(WholesightError):
    """A model folder is damaged, incomplete, not calibrated, or from another version."""

    exit_code = 6


class Interrupted(WholesightError):  # noqa: N818 - somebody pressed Ctrl-C, which is no error
    """The user stopped it; the message says what is kept and how to go on."""

    exit_code = 130


def nearest(name: str, legal: Iterable[str]) -> str:
    """Say which names are legal, the nearest first.

    >>> nearest("qick", ["quick", "vae"])
    "Did you mean 'quick'? Legal: quick, vae."
    """
    names = sorted(legal)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Legal: {', '.join(names)}."
