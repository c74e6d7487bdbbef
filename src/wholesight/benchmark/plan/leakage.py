"""Nobody is judged who has served: refused by subject and by image, within and across data sets.

With folds that holds of each fold: who is judged by one model may well train another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from wholesight.benchmark.plan.folds import Fold
from wholesight.benchmark.plan.material import Material
from wholesight.datasets.finding import count, some
from wholesight.errors import InputError
from wholesight.io.content import VOXELS

# What must not meet; the worst first.
_APART: Final = (("train", "judged"), ("calibration", "judged"), ("train", "calibration"))
_TOLD: Final = {
    "train": "trained on",
    "calibration": "used to set the threshold",
    "judged": "judged",
}


class _File(NamedTuple):
    """An image of one part of a data set. sha256 : of its voxels, however they are stored."""

    where: str
    subject: str
    sha256: str


def require_no_leak(materials: Sequence[Material]) -> None:
    """Refuse a subject or an image that serves in two parts, in whatever data set.

    A method that has seen a head judges it too well; a threshold set on it is too lenient. Masks
    are not compared: those without a lesion are alike in many subjects.

    All data sets have as many folds as the suite has. Raises InputError, E_LEAK.
    """
    for folds in zip(*(each.folds for each in materials), strict=True):
        files = {part: list(_images(materials, folds, part)) for part in _TOLD}
        where = f"{folds[0].name}: " if folds[0].name else ""
        for one, other in _APART:
            _refuse("file", files[one], files[other], one, other, where)
            _refuse("subject", files[one], files[other], one, other, where)


def _images(materials: Sequence[Material], folds: Sequence[Fold], part: str) -> Iterator[_File]:
    for material, fold in zip(materials, folds, strict=True):
        for subject, shas in material.files_of(fold, part).items():
            for name, sha in shas.items():
                if name.endswith(VOXELS):
                    case = name.removesuffix(VOXELS)
                    yield _File(f"{case} ({material.name})", subject, sha)


def _refuse(
    what: str, ones: Sequence[_File], others: Sequence[_File], one: str, other: str, where: str
) -> None:
    by_key: dict[str, list[_File]] = defaultdict(list)
    for file in ones:
        by_key[_key(what, file)].append(file)
    met = [(by_key[_key(what, file)][0], file) for file in others if _key(what, file) in by_key]
    if not met:
        return
    if what == "file":
        pairs = (
            f"{a.where} and {b.where}, subjects {a.subject} and {b.subject}"
            if a.subject != b.subject
            else f"{a.where} and {b.where}, subject {a.subject}"
            for a, b in met
        )
        told = f"{count(len(met), 'image')} with the same content: {some(pairs, most=3)}"
        remedy = (
            "Take one of each pair out of the data, or put both into one part of the split; with "
            "folds, under one subject's name."
        )
    else:
        names = {b.subject: f"{b.subject} ({a.where}, {b.where})" for a, b in met}
        told = f"{count(len(names), 'subject')}: {some(names.values(), most=3)}"
        remedy = (
            "Put all cases of a subject into one part of the split; subjects of two data sets who "
            "are not the same person need different names."
        )
    raise InputError(
        f"{where}What is {_TOLD[one]} and what is {_TOLD[other]} share {told}. {remedy}",
        code="E_LEAK",
    )


def _key(what: str, file: _File) -> str:
    return file.sha256 if what == "file" else file.subject
