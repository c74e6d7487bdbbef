"""Maps and masks on disk, and the floor beside them, as scored cases.

Axes: i j k as in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from wholesight.benchmark.judge.evaluate import Scored
from wholesight.benchmark.judge.map_files import find_map_files
from wholesight.calibration import Normals, Terms
from wholesight.datasets import Case
from wholesight.datasets.case import part_of
from wholesight.detector import Detector
from wholesight.errors import InputError, UsageError
from wholesight.io.reading import read, read_mask
from wholesight.metrics import eroded
from wholesight.prep.body import Body
from wholesight.prep.chain import body_of
from wholesight.prep.grid import difference
from wholesight.prep.orient import axial_axis
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

# The recipe that every result is shown beside.
FLOOR: Final = "floor"


class Judged:
    """The cases that can be judged, and the body in which they are.

    min_lesion_share : cases with less lesion than this share of their body are left out, as some
    published protocols do; 0 leaves none out. Attribute `excluded` lists (case, reason).

    Raises InputError when a case has no mask, for without a truth there is nothing to judge by,
    and when none is left.
    """

    def __init__(self, cases: Sequence[Case], body: Body, *, min_lesion_share: float = 0.0) -> None:
        unmarked = [case.id for case in cases if not case.has_truth]
        if unmarked:
            raise InputError(
                f"{len(unmarked)} of {len(cases)} cases have no mask to judge by, the first is "
                f"{unmarked[0]}. Add masks (all zero for a normal case), or choose another "
                "--subset; with folds, everybody is judged.",
                code="E_NO_TRUTH",
            )
        self.body = body
        self.excluded = list(self._too_little(cases, min_lesion_share)) if min_lesion_share else []
        left_out = {case for case, _ in self.excluded}
        self.cases = [case for case in cases if case.id not in left_out]
        if not self.cases:
            raise InputError(
                f"all {len(cases)} cases have less lesion than {min_lesion_share:.2%} of their "
                "body. Lower min_lesion_share.",
                code="E_NO_CASES",
            )

    def score_files(self, folder: Path) -> Iterator[Scored]:
        """Yield each case with the map or mask, or both, that `folder` holds for it.

        Raises InputError as `find_map_files`, and for a file that is not on its image's grid.
        """
        files = find_map_files(folder, self.cases)
        for case, (map_path, mask_path) in zip(self.cases, files, strict=True):
            scan = case.read()
            anomaly = map_path and _on_grid(read(map_path), map_path, case, scan)
            mask = mask_path and _on_grid(read_mask(mask_path), mask_path, case, scan)
            yield self._scored(case, scan, anomaly, mask)

    def score_detector(
        self, detector: Detector, fold: Iterable[Case] | None = None
    ) -> Iterator[Scored]:
        """Yield each case as the detector maps it now; no mask while it has no threshold.

        fold : the cases that are this detector's to map; None for all.
        """
        names = {case.id for case in (self.cases if fold is None else fold)}
        for case in (case for case in self.cases if case.id in names):
            scan = case.read()
            if detector.threshold is None:
                found = detector.map(scan.image, scan.inside, scan.channels)
                yield self._scored(case, scan, found.voxels, None)
            else:
                found = detector.segment(scan.image, scan.inside, scan.channels)
                yield self._scored(case, scan, found.map.voxels, found.mask.voxels)

    def _too_little(self, cases: Sequence[Case], least: float) -> Iterator[tuple[str, str]]:
        for case in cases:
            scan = case.read()
            assert scan.abnormal is not None
            body = body_of(scan, self.body)
            share = float(scan.abnormal.voxels[body].mean()) if body.any() else 0.0
            if share < least:
                yield case.id, f"lesion is {share:.3%} of the body, under {least:.3%}"

    def _scored(
        self, case: Case, scan: Scan, anomaly: np.ndarray | None, mask: np.ndarray | None
    ) -> Scored:
        axis = axial_axis(scan.image.affine)
        assert scan.abnormal is not None
        body = body_of(scan, self.body)
        return Scored(
            case=case.id,
            subject=case.subject,
            site=case.site,
            image=scan.image.voxels,
            body=body,
            inside=eroded(body, axis=axis),
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
    normals: Iterable[tuple[str, Scan]] | None, terms: Terms, *, recipe: Recipe | None = None
) -> Detector:
    """Return the intensity floor, with a threshold where (subject, scan) normals are at hand.

    Where the terms ask for more than so few subjects, or the floor's map, can give, the percentile
    at the same alpha stands in; the threshold says so among its doubts.
    """
    detector = Detector(recipe=recipe or floor_recipe())
    if normals is None:
        return detector
    scans = (detector.normal_scan(subject, None, scan) for subject, scan in normals)
    found = Normals(scan for scan in scans if scan is not None)
    try:
        return detector.with_normals(found, terms)
    except UsageError as fault:
        reason = str(fault).split(". ")[0].rstrip(".")
        return detector.with_normals(
            found,
            Terms(rule="percentile", alpha=terms.alpha),
            doubts=(f"The percentile stands in: {reason}.",),
        )


def threshold_note(detectors: Sequence[Detector], *, without: str) -> str:
    """Say how the thresholds of a method were set: of each fold's detector its own.

    without : what to say where there is none.
    """
    first = detectors[0].threshold
    if first is None:
        return without
    of_many = f"one a fold, {len(detectors)} in all; that of the first: "
    return of_many * (len(detectors) > 1) + first.statement


def _on_grid(volume: Volume, path: Path, case: Case, scan: Scan) -> np.ndarray:
    """Return the voxels of what a file says of a case; of the whole image, or of its slices."""
    if volume.same_grid(scan.image):
        return volume.voxels
    if case.slices and case.slices[1] < volume.shape[axial_axis(volume.affine)]:
        part = part_of(volume, case.slices)
        if part.same_grid(scan.image):
            return part.voxels
    raise InputError(
        f"{path}: {difference(volume, scan.image)}. Bring it onto the image's grid first.",
        code="E_GRID",
    )
