"""The whole preparation: orientation, body, intensity, slices; and the way back.

Axes: i j k file voxels, x y z canonical voxels, n slices, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from wholesight.prep.body import Body
from wholesight.prep.intensity import Intensity
from wholesight.prep.orient import canonical, restore
from wholesight.prep.slices import SliceGrid, Slicing
from wholesight.volume import Scan, Volume


class Prepared(NamedTuple):
    """A volume as a method sees it, with what is needed to put a map back on its grid.

    pixels (n, 1, H, W) float32, 0 outside the body. inside (n, 1, H, W) bool.
    body (i, j, k) bool on the volume's own grid. normal (n,) bool: slices without an abnormal
    voxel; all True when the scan came without truth. grid and turn: the way back.
    """

    pixels: np.ndarray
    inside: np.ndarray
    body: np.ndarray
    normal: np.ndarray
    grid: SliceGrid
    turn: np.ndarray

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """(n, 1, H, W) -> (i, j, k) float32 on the volume's grid, 0 outside the body."""
        return np.where(self.body, restore(self.grid.unstack(maps), self.turn), np.float32(0))

    def normal_body(self) -> np.ndarray:
        """Return the body's voxels in normal slices, (i, j, k) bool on the volume's grid."""
        return self.body & restore(np.broadcast_to(self.normal, self.grid.shape), self.turn)


class _Turned(NamedTuple):
    """A scan in canonical orientation: image and body (x, y, z), normal (n,), turn, affine."""

    image: np.ndarray
    body: np.ndarray
    normal: np.ndarray
    turn: np.ndarray
    affine: np.ndarray


class Prep:
    """What is done to a volume before any method sees it; fitted on normals, then frozen."""

    def __init__(self, *, body: Body, intensity: Intensity, slices: Slicing) -> None:
        self.body = body
        self.intensity = intensity
        self.slices = slices

    def fit(self, scans: Iterable[Scan]) -> None:
        """Learn what the intensity needs from the normal slices of training scans, if anything."""
        if not self.intensity.learns:
            return
        values = [part for scan in scans for part in self._normal_values(scan)]
        self.intensity.fit(values)

    def forward(self, scan: Scan) -> Prepared:
        """Prepare one scan. Raises InputError when no body is found or nothing can be scaled."""
        turned = self._canonical(scan)
        grid = self.slices.grid(turned.body, Volume(turned.image, turned.affine).spacing_mm)
        pixels = grid.stack(self.intensity(turned.image, turned.body))
        inside = grid.stack(turned.body) >= 0.5
        body = restore(turned.body, turned.turn)
        return Prepared(pixels * inside, inside, body, turned.normal, grid, turned.turn)

    def _canonical(self, scan: Scan) -> _Turned:
        image, affine, turn = canonical(scan.image.voxels, scan.image.affine)
        given = None
        if scan.inside is not None:
            given = canonical(scan.inside.voxels, scan.image.affine).voxels.astype(bool)
        body = self.body(image, Volume(image, affine).spacing_mm, given)
        normal = np.ones(image.shape[2], bool)
        if scan.abnormal is not None:
            abnormal = canonical(scan.abnormal.voxels, scan.image.affine).voxels
            normal = np.logical_not(np.any(abnormal, axis=(0, 1)))
        return _Turned(image, body, normal, turn, affine)

    def _normal_values(self, scan: Scan) -> list[np.ndarray]:
        image, body, normal, *_ = self._canonical(scan)
        parts = (image[..., k][body[..., k]] for k in np.flatnonzero(normal))
        return [part for part in parts if part.size]
