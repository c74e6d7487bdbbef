"""Maps and masks on disk, and the floor beside them, as scored cases.

Axes: i j k as in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wholesight.benchmark.evaluate import Scored
from wholesight.datasets import Case
from wholesight.detector import Detector
from wholesight.errors import InputError
from wholesight.io.nifti import SUFFIXES, read, read_mask, stem
from wholesight.metrics import eroded
from wholesight.prep.body import Body
from wholesight.prep.orient import axial_axis, canonical, restore
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

# The recipe that every result is shown beside.
FLOOR: Final = "floor"


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

        Raises InputError when a map is missing or not on the image's grid.
        """
        masks = [_find(folder, case, "mask") for case in self.cases]
        for case, mask_path in zip(self.cases, masks, strict=True):
            map_path = _find(folder, case, "anomaly")
            if map_path is None:
                raise InputError(
                    f"{folder}: no map {stem(case.image)}_anomaly.nii.gz for case {case.id}. "
                    "Segment all cases of the subset first.",
                    code="E_NO_MAP",
                )
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
            inside=eroded(self._inside(scan), axis=axis),
            truth=scan.abnormal.voxels,
            map=anomaly,
            mask=mask,
            axis=axis,
            affine=scan.image.affine,
        )

    def _inside(self, scan: Scan) -> np.ndarray:
        turned = canonical(scan.image.voxels, scan.image.affine)
        given = None
        if scan.inside is not None:
            given = canonical(scan.inside.voxels, scan.image.affine).voxels
        spacing_mm = Volume(turned.voxels, turned.affine).spacing_mm
        return restore(self.body(turned.voxels, spacing_mm, given), turned.turn)


def floor(normals: Iterable[tuple[str, Scan]] | None, *, rule: str, alpha: float) -> Detector:
    """Return the intensity floor, with a threshold where (subject, scan) normals are at hand."""
    detector = Detector(recipe=Recipe.load(FLOOR))
    return detector if normals is None else detector.calibrate(normals, rule=rule, alpha=alpha)


def _find(folder: Path, case: Case, role: str) -> Path | None:
    names = (
        f"{name}_{role}{suffix}" for name in (stem(case.image), case.id) for suffix in SUFFIXES
    )
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _on_grid(volume: Volume, path: Path, scan: Scan) -> np.ndarray:
    if not volume.same_grid(scan.image):
        raise InputError(
            f"{path}: {volume.shape} voxels, its image {scan.image.name} has {scan.image.shape}, "
            "or they lie elsewhere. Bring the map onto the image's grid first.",
            code="E_GRID",
        )
    return volume.voxels
