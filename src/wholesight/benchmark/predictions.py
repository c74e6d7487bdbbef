"""Maps and masks on disk, and the floor beside them, as scored cases.

Axes: i j k as in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from wholesight.benchmark.evaluate import Scored
from wholesight.datasets import Case
from wholesight.detector import Detector
from wholesight.errors import InputError
from wholesight.io.nifti import SUFFIXES, read, read_mask, stem
from wholesight.metrics import eroded
from wholesight.prep.body import Body
from wholesight.prep.chain import body_of
from wholesight.prep.orient import axial_axis
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

# The recipe that every result is shown beside.
FLOOR: Final = "floor"

_MAP, _MASK = "_anomaly", "_mask"


class Judged:
    """The cases that can be judged, and the body in which they are.

    Raises InputError when a case has no mask: without a truth there is nothing to judge by.
    """

    def __init__(self, cases: Sequence[Case], body: Body) -> None:
        unmarked = [case.id for case in cases if case.mask is None]
        if unmarked:
            raise InputError(
                f"{len(unmarked)} of {len(cases)} cases have no mask to judge by, the first is "
                f"{unmarked[0]}. Add masks (all zero for a normal case), or choose another "
                "--subset.",
                code="E_NO_TRUTH",
            )
        self.cases = cases
        self.body = body

    def score_files(self, folder: Path) -> Iterator[Scored]:
        """Yield each case with the map, and the mask if there is one, that `folder` holds for it.

        Raises InputError when a map is missing, serves two cases or is not on its image's grid.
        """
        maps = _maps(folder, self.cases)
        masks = [_mask_of(path) for path in maps]
        for case, map_path, mask_path in zip(self.cases, maps, masks, strict=True):
            scan = case.read()
            anomaly = _on_grid(read(map_path), map_path, scan)
            # A mask that some cases lack is no mask of the method.
            mask = None
            if all(masks) and mask_path is not None:
                mask = _on_grid(read_mask(mask_path), mask_path, scan)
            yield self._scored(case, scan, anomaly, mask)

    def score_detector(self, detector: Detector) -> Iterator[Scored]:
        """Yield each case as the detector maps it now; no mask while it has no threshold."""
        for case in self.cases:
            scan = case.read()
            if detector.threshold is None:
                yield self._scored(case, scan, detector.map(scan.image, scan.inside).voxels, None)
            else:
                found = detector.segment(scan.image, scan.inside)
                yield self._scored(case, scan, found.map.voxels, found.mask.voxels)

    def _scored(
        self, case: Case, scan: Scan, anomaly: np.ndarray, mask: np.ndarray | None
    ) -> Scored:
        axis = axial_axis(scan.image.affine)
        assert scan.abnormal is not None
        return Scored(
            case=case.id,
            subject=case.subject,
            image=scan.image.voxels,
            inside=eroded(body_of(scan, self.body), axis=axis),
            truth=scan.abnormal.voxels,
            map=anomaly,
            mask=mask,
            axis=axis,
            affine=scan.image.affine,
        )


def floor_recipe(body: str | Mapping[str, Any] = "nonzero") -> Recipe:
    """Return the floor's recipe, which looks in the body that it is judged in.

    body : a rule's name, or its kind and options as a resolved recipe has them.
    """
    return Recipe.load(FLOOR, [f"prep.body={json.dumps(body)}"])


def floor(
    normals: Iterable[tuple[str, Scan]] | None,
    *,
    rule: str,
    alpha: float,
    recipe: Recipe | None = None,
) -> Detector:
    """Return the intensity floor, with a threshold where (subject, scan) normals are at hand."""
    detector = Detector(recipe=recipe or floor_recipe())
    return detector if normals is None else detector.calibrate(normals, rule=rule, alpha=alpha)


def _maps(folder: Path, cases: Sequence[Case]) -> list[Path]:
    """Return each case's map. Raises InputError where one is missing or two cases share one."""
    owner: dict[Path, Case] = {}
    for case in cases:
        path = _map_of(folder, case)
        if path in owner:
            raise InputError(
                f"{path}: is it the map of case {owner[path].id} or of {case.id}? Name the maps "
                f"after the cases, as {case.id}{_MAP}.nii.gz.",
                code="E_AMBIGUOUS",
            )
        owner[path] = case
    return list(owner)


def _map_of(folder: Path, case: Case) -> Path:
    # The id first: it is unique in the data set, a file's name need not be.
    names = (f"{name}{_MAP}{end}" for name in (case.id, stem(case.image)) for end in SUFFIXES)
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{folder}: no map {stem(case.image)}{_MAP}.nii.gz for case {case.id}. "
            "Segment all cases of the subset first.",
            code="E_NO_MAP",
        )
    return found


def _mask_of(map_path: Path) -> Path | None:
    """Return the mask beside a map, by the same name."""
    name = stem(map_path).removesuffix(_MAP)
    paths = (map_path.with_name(f"{name}{_MASK}{end}") for end in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _on_grid(volume: Volume, path: Path, scan: Scan) -> np.ndarray:
    if not volume.same_grid(scan.image):
        raise InputError(
            f"{path}: {volume.shape} voxels, its image {scan.image.name} has {scan.image.shape}, "
            "or they lie elsewhere. Bring the map onto the image's grid first.",
            code="E_GRID",
        )
    return volume.voxels
