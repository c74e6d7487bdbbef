"""What a check says of a file: a refusal or a note, in words that end with what to do."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wholesight.errors import InputError
from wholesight.volume import Note


class Verdict(NamedTuple):
    """One thing that a check found.

    code : of `wholesight.codes`; E_ refuses the file, N_ is a note and the file is read. text :
    what is wrong. remedy : what to do next.
    """

    code: str
    text: str
    remedy: str

    @property
    def refuses(self) -> bool:
        """Whether the file is not read because of it."""
        return self.code.startswith("E_")

    @property
    def told(self) -> str:
        """What is wrong and what to do, as a message has it."""
        return f"{self.text} {self.remedy}"


def no_file(path: Path, needed: str) -> Iterator[Verdict]:
    """Say of what is no regular file, or an empty one, that `needed` is. Raises OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        yield Verdict("E_NOT_FILE", "is a folder or a device.", f"{needed} is needed here.")
    if not status.st_size:
        yield Verdict("E_TRUNCATED", "the file is empty (0 bytes).", "Copy it again.")


def settle(path: Path, verdicts: Iterable[Verdict]) -> tuple[Note, ...]:
    """Return the notes; raise the first refusal as InputError, with the path before it."""
    notes = []
    for verdict in verdicts:
        if verdict.refuses:
            raise InputError(f"{path}: {verdict.told}", code=verdict.code)
        notes.append(Note(verdict.code, verdict.told))
    return tuple(notes)
