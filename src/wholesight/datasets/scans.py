"""Cases as scans in memory, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wholesight.datasets.case import Case
from wholesight.io.files import sha256
from wholesight.volume import Scan


class Scans:
    """The scans of some cases; each pass reads the files anew, so that memory holds one."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Scan]:
        return (case.read() for case in self.cases)


def file_hashes(cases: Sequence[Case]) -> dict[str, dict[str, str]]:
    """Return {subject: {file name: sha256}} of every file that the cases name."""
    hashes: dict[str, dict[str, str]] = {}
    for case in cases:
        of_subject = hashes.setdefault(case.subject, {})
        of_subject |= {path.name: sha256(path) for path in _files(case)}
    return hashes


def _files(case: Case) -> list[Path]:
    return [path for path in (case.image, case.mask, case.inside) if path is not None]
