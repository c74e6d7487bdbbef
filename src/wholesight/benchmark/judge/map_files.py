"""Which file of a folder is the map, and which the mask, of which case; from any tool.

Names that are known, for a case `x` (its id, or else its image's name without ending):
`x_anomaly.nii.gz` is its map, `x_mask.nii.gz` its mask. A plain `x.nii.gz` is a map, or a mask when
all plain files of the folder hold 0 and 1 alone, or 0 and 255. Maps alone or masks alone will do.
Any kind of file that can be read will do, such as x_anomaly.tif and x_mask.png. Where the image
has a name of BIDS, the folder may be a derivative data set as `segment` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from wholesight.datasets import Case
from wholesight.datasets.finding import some
from wholesight.errors import InputError
from wholesight.io.bids_name import parse
from wholesight.io.formats import SUFFIXES, format_of, stem
from wholesight.io.outputs import Outputs, derivative
from wholesight.io.reading import read

_MAP: Final = "_anomaly"
_MASK: Final = "_mask"


class MapFiles(NamedTuple):
    """The files of one case; at least one of the two is there."""

    map: Path | None
    mask: Path | None


def find_map_files(folder: Path, cases: Sequence[Case]) -> list[MapFiles]:
    """Return each case's files, all with a map or none, all with a mask or none.

    Raises InputError where a case has no file, some have maps or masks and others none, or two
    cases would share a file.
    """
    found = [_named(folder, case) for case in cases]
    if not any(files.map or files.mask for files in found):
        found = _plain(folder, cases)
    _require_owners(found, cases)
    maps = [files.map is not None for files in found]
    masks = [files.mask is not None for files in found]
    for case, has_map, has_mask in zip(cases, maps, masks, strict=True):
        if not has_map and (any(maps) or not has_mask):
            end = format_of(case.image).outputs
            raise InputError(
                f"{folder}: no map {stem(case.image)}{_MAP}{end['anomaly']} for case {case.id}. "
                "Segment all cases of the subset first. Maps of other tools may be called "
                f"{case.id}{_MAP}{end['anomaly']} or {case.id}{end['anomaly']}, masks "
                f"{case.id}{_MASK}{end['mask']}. "
                f"There: {some(sorted(path.name for path in folder.iterdir())) or 'nothing'}.",
                code="E_NO_MAP",
            )
        if any(masks) and not has_mask:
            raise InputError(
                f"{folder}: case {case.id} has a map and no mask, other cases have both. Add "
                f"{case.id}{_MASK}.nii.gz, or take all masks away to judge maps alone.",
                code="E_NO_MAP",
            )
    return found


def _named(folder: Path, case: Case) -> MapFiles:
    """Find x_anomaly and x_mask, or those of BIDS; a mask goes with the map of the same name."""
    found = [
        MapFiles(_file(folder, f"{name}{_MAP}"), _file(folder, f"{name}{_MASK}"))
        for name in _names(case)
    ]
    found += [
        MapFiles(*(_there(folder / name) for name in (outputs.anomaly, outputs.mask)))
        for outputs in _derivatives(case)
    ]
    masks = (files for files in found if files.mask)
    return next((files for files in found if files.map), next(masks, MapFiles(None, None)))


def _derivatives(case: Case) -> list[Outputs]:
    """Return where the files of a case may lie in a derivative data set."""
    name = parse(stem(case.image))
    if name is None or not name.is_image:
        return []
    return [derivative(name.text, unit=unit) for unit in (True, False)]


def _plain(folder: Path, cases: Sequence[Case]) -> list[MapFiles]:
    """Find files called as the cases are."""
    paths = []
    for case in cases:
        candidates = (_file(folder, name) for name in _names(case))
        paths.append(next((path for path in candidates if path), None))
    are_masks = all(_is_mask(path) for path in paths if path)
    return [MapFiles(None, path) if are_masks else MapFiles(path, None) for path in paths]


def _names(case: Case) -> list[str]:
    # The id first: it is unique in the data set, a file's name need not be.
    return list(dict.fromkeys((case.id, stem(case.image))))


def _file(folder: Path, name: str) -> Path | None:
    paths = (_there(folder / f"{name}{end}") for end in SUFFIXES)
    return next((path for path in paths if path), None)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _is_mask(path: Path) -> bool:
    values = np.unique(read(path).voxels)
    # A picture's white is 255.
    return any(bool(np.isin(values, (0, marked)).all()) for marked in (1, 255))


def _require_owners(found: Sequence[MapFiles], cases: Sequence[Case]) -> None:
    owner: dict[Path, Case] = {}
    for case, files in zip(cases, found, strict=True):
        path = files.map or files.mask
        if path is None:
            continue
        if path in owner:
            raise InputError(
                f"{path}: is it the map of case {owner[path].id} or of {case.id}? Name the maps "
                f"after the cases, as {case.id}{_MAP}.nii.gz.",
                code="E_AMBIGUOUS",
            )
        owner[path] = case
