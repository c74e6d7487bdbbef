"""Cases as scans in memory, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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


def file_hashes(
    cases: Sequence[Case], *, channels: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Return {subject: {"case/role": sha256}} of every file of the cases that is read.

    channels : those that a method sees; files of others are not its. As role `voxels` that of the
    image's values. Raises InputError for a file that cannot be read, as reading the case would.
    """
    hashes: dict[str, dict[str, str]] = {}
    for case in cases:
        roles = {"image": case.image, "mask": case.mask, "inside": case.inside}
        others = {f"image_{name}": file for name, file in case.modalities if name in channels}
        for role, path in {**roles, **others}.items():
            if path is not None:
                hashes.setdefault(case.subject, {})[f"{case.id}/{role}"] = _sha256(path)
        hashes[case.subject][f"{case.id}{VOXELS}"] = voxels_sha256(case.read().image)
    return hashes


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as fault:
        raise unreadable(path, fault) from fault
