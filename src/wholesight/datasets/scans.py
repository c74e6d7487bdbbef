"""Cases as scans in memory, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wholesight.datasets.case import Case
from wholesight.io.content import VOXELS, voxels_sha256
from wholesight.io.files import sha256, unreadable
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
    """Return {subject: {"case/role": sha256}} of every file that the cases name.

    As role `voxels` that of the image's values. Raises InputError for a file that cannot be read,
    as reading the case would.
    """
    hashes: dict[str, dict[str, str]] = {}
    for case in cases:
        roles = {"image": case.image, "mask": case.mask, "inside": case.inside}
        for role, path in roles.items():
            if path is not None:
                hashes.setdefault(case.subject, {})[f"{case.id}/{role}"] = _sha256(path)
        hashes[case.subject][f"{case.id}{VOXELS}"] = voxels_sha256(case.read().image)
    return hashes


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as fault:
        raise unreadable(path, fault) from fault
