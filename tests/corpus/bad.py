"""What an entry of the corpus of bad inputs is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wholesight.errors import InputError
from wholesight.io import reading


class Bad(NamedTuple):
    """One bad input.

    make : writes it into an empty folder and returns what a user would name. expected : the code it
    must get: E_... when it is refused, N_... of its notes when it is read all the same, OK when
    nothing is to be said of it. as_mask : whether it is read as a mask.
    """

    name: str
    make: Callable[[Path], Path]
    expected: str
    as_mask: bool = False


class Corpus:
    """Entries in the order in which they are defined, by name."""

    def __init__(self) -> None:
        self.entries: dict[str, Bad] = {}

    def __call__(
        self, expected: str, *, as_mask: bool = False
    ) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
        """Enter a maker under its own name; its docstring says what is wrong."""

        def enter(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
            name = make.__name__.replace("_", " ")
            self.entries[name] = Bad(name, make, expected, as_mask)
            return make

        return enter


def outcome(path: Path, *, as_mask: bool) -> str:
    """Return the code that a file gets from us: E_..., N_... of every note, or OK."""
    try:
        volume = reading.read_mask(path) if as_mask else reading.read_image(path)
    except InputError as fault:
        return fault.code
    return " ".join(note.code for note in volume.notes) or "OK"
