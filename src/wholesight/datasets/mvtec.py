"""Pictures with defects in the layout of MVTec AD, one kind of object or texture.

    DATA/train/good/*.png                     normal pictures
         test/good/*.png                      normal pictures, to judge on
         test/<defect>/*.png                  pictures with a defect of this kind
         ground_truth/<defect>/<x>_mask.png   what is abnormal in test/<defect>/<x>.png
         inside/<split>/<kind>/<x>.png        optional: the body of DATA/<split>/<kind>/<x>.png

The case is the path in words: test/cut/007.png is test_cut_007. The layout does not say what a
picture is a picture of, so that each is a subject of its own.

It has no part for a threshold either. Without a split.json the last fifth of train/good, by name,
is `calibration` and trains nothing. The last, and not every fifth: pictures that follow each other
are often of one thing, and a threshold that is set on neighbours of what was learnt is too low.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.datasets.case import Case
from wholesight.datasets.finding import Finding, Found, count, error, note, some
from wholesight.datasets.split import FILE, read_split
from wholesight.errors import UsageError
from wholesight.io.formats import is_image, stem

LOOKS_LIKE = "train/good/*.png, test/<defect>/ with ground_truth/<defect>/ beside them (MVTec)"

_TRAIN, _TEST, _TRUTH, _INSIDE = "train", "test", "ground_truth", "inside"
_GOOD: Final = "good"
_MASK: Final = "_mask"
# Of the normal pictures, for the threshold.
_CALIBRATION_SHARE: Final = 0.2


class _Picture(NamedTuple):
    """An image and where it lies: DATA/part/kind/file."""

    part: str
    kind: str
    file: Path

    @property
    def place(self) -> tuple[str, str]:
        return self.part, self.kind

    @property
    def id(self) -> str:
        return f"{self.part}_{self.kind}_{stem(self.file)}"


def fits(root: Path) -> bool:
    """Whether images lie in train/good."""
    return bool(_files(root / _TRAIN / _GOOD))


def find(root: Path, modality: str | None) -> Found:
    """Find the cases, sorted by name.

    Raises UsageError when a modality is asked for: the names of the files do not tell it.
    """
    if modality is not None:
        raise UsageError(
            f"{root}: the MVTec layout has one image a case. Leave out --modality {modality}."
        )
    pictures = [
        _Picture(part, folder.name, file)
        for part in (_TEST, _TRAIN)
        for folder in _folders(root / part)
        if part == _TEST or folder.name == _GOOD
        for file in _files(folder)
    ]
    by_id: dict[str, list[_Picture]] = defaultdict(list)
    for picture in pictures:
        by_id[picture.id].append(picture)
    splits, findings = _splits(root, by_id)
    masks = {each.kind: _by_stem(root / _TRUTH / each.kind) for each in pictures}
    bodies = {each.place: _by_stem(root / _INSIDE / each.part / each.kind) for each in pictures}
    cases = []
    for name, (each, *_) in sorted(by_id.items()):
        called, normal = stem(each.file), each.kind == _GOOD
        cases.append(
            Case(
                id=name,
                subject=name,
                image=each.file,
                mask=None if normal else masks[each.kind].get(called + _MASK),
                inside=bodies[each.place].get(called),
                split=splits.get(name),
                normal=normal,
            )
        )
    return Found(cases, [*findings, *_repeats(by_id, root), *_unused(root, pictures)])


def _splits(root: Path, by_id: dict[str, list[_Picture]]) -> tuple[dict[str, str], list[Finding]]:
    """Return the splits that the layout gives; what split.json names is left to it."""
    path = root / FILE
    named = read_split(path, by_id)[0] if path.exists() else {}
    splits = {name: _TEST for name, (first, *_) in by_id.items() if first.part == _TEST}
    findings = []
    if not path.exists():
        train = sorted(name for name, (first, *_) in by_id.items() if first.part == _TRAIN)
        last = len(train) - round(_CALIBRATION_SHARE * len(train))
        splits |= dict.fromkeys(train[:last], _TRAIN)
        splits |= dict.fromkeys(train[last:], "calibration")
        findings = [_dealt(train[:last], train[last:], path)]
    return {name: split for name, split in splits.items() if name not in named}, findings


def _dealt(train: list[str], calibration: list[str], path: Path) -> Finding:
    whose = f"{calibration[0]} to {calibration[-1]}" if calibration else "none, they are too few"
    return note(
        "N_DEALT",
        path.name,
        f"no {path}: of train/good the last {count(len(calibration), 'picture')} by name ({whose}) "
        f"are for the threshold, the other {len(train)} for training. If several pictures show one "
        f"thing, keep them together: write {path.name}, or a cases.tsv with the column subject.",
    )


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(
        path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image(path))


def _by_stem(folder: Path) -> dict[str, Path]:
    return {stem(file): file for file in _files(folder)}


def _repeats(by_id: dict[str, list[_Picture]], root: Path) -> list[Finding]:
    return [
        error(
            "E_DUPLICATE",
            name,
            f"{name}: {some(str(each.file.relative_to(root)) for each in pictures)} would be one "
            "case. Rename or remove the others.",
        )
        for name, pictures in sorted(by_id.items())
        if len(pictures) > 1
    ]


def _unused(root: Path, pictures: list[_Picture]) -> Iterator[Finding]:
    """Yield what lies where it is not looked for, or belongs to no picture."""
    known = (_TRAIN, _TEST, _TRUTH, _INSIDE)
    other = [folder.name for folder in _folders(root) if folder.name not in known]
    if other:
        text = f"{some(other)}: not used. This layout has {', '.join(known)}."
        yield note("N_UNUSED", root.name, text)
    odd = [folder.name for folder in _folders(root / _TRAIN) if folder.name != _GOOD]
    if odd:
        text = f"train/: {some(odd)} not used. Training is on normal pictures alone, in train/good."
        yield note("N_UNUSED", _TRAIN, text)
    there = {(each.kind, stem(each.file) + _MASK) for each in pictures if each.part == _TEST}
    idle = [
        f"{folder.name}/{file.name}"
        for folder in _folders(root / _TRUTH)
        for file in _files(folder)
        if folder.name == _GOOD or (folder.name, stem(file)) not in there
    ]
    if idle:
        text = (
            f"ground_truth/: {some(idle)} not used. The mask of test/<defect>/x.png is "
            "ground_truth/<defect>/x_mask.png; test/good has none."
        )
        yield note("N_UNUSED", _TRUTH, text)
