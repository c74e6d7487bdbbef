"""The whole preparation: orientation, body, intensity, slices; and the way back.

Axes: i j k file voxels, x y z canonical voxels, n slices, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np

from wholesight.errors import InputError
from wholesight.prep.assembly import Assembly
from wholesight.prep.body import Body
from wholesight.prep.grid import difference, require_one_grid
from wholesight.prep.intensity import Intensity
from wholesight.prep.orient import canonical, restore
from wholesight.prep.slices import SliceGrid, Slicing
from wholesight.volume import Scan, Volume

AS_THEY_ARE: Final = Assembly()


class Prepared(NamedTuple):
    """A volume as a method sees it, with what is needed to put a map back on its grid.

    pixels (n, c, H, W) float32, 0 outside the body. inside (n, 1, H, W) bool.
    body (i, j, k) bool on the volume's own grid. normal (n,) bool: slices without an abnormal
    voxel; all True when the scan came without truth. grid, turn, assembly and slice_mm, from slice
    to slice: the way back.
    """

    pixels: np.ndarray
    inside: np.ndarray
    body: np.ndarray
    normal: np.ndarray
    grid: SliceGrid
    turn: np.ndarray
    assembly: Assembly
    slice_mm: float

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """(n, 1, H, W) -> (i, j, k) float32 on the volume's grid, 0 outside the body.

        Put together by `assembly`, of normal slices alone: what a truth marks as abnormal must not
        reach the normal slices beside it, of which thresholds are made.
        """
        counted = self.inside & self.normal[:, None, None, None]
        maps = self.assembly(maps, counted, slice_mm=self.slice_mm)
        return np.where(self.body, restore(self.grid.unstack(maps), self.turn), np.float32(0))

    def normal_body(self) -> np.ndarray:
        """Return the body's voxels in normal slices, (i, j, k) bool on the volume's grid."""
        return self.body & restore(np.broadcast_to(self.normal, self.grid.shape), self.turn)


class Turned(NamedTuple):
    """A scan in canonical orientation: image and body (x, y, z), normal (n,), turn, affine."""

    image: np.ndarray
    body: np.ndarray
    normal: np.ndarray
    turn: np.ndarray
    affine: np.ndarray


class Prep:
    """What is done to a volume before any method sees it; fitted on normals, then frozen.

    channels : names of what a method sees, in this order, each scaled by itself; none is the image
    alone. The body is always found in the image. maps : what is done to the method's maps when they
    are a volume again.
    """

    def __init__(
        self,
        *,
        body: Body,
        intensity: Intensity,
        slices: Slicing,
        maps: Assembly = AS_THEY_ARE,
        channels: Sequence[str] = (),
    ) -> None:
        if len(set(channels)) < len(channels):
            raise ValueError(f"channels are {list(channels)}, legal is each name once")
        self.body = body
        self.intensity = intensity
        self.slices = slices
        self.maps = maps
        self.channels = tuple(channels)

    def fit(self, scans: Iterable[Scan]) -> None:
        """Learn what the intensity needs from the normal slices of training scans, if anything.

        scans : gone through twice where the intensity learns, one scan in memory at a time; so no
        iterator, which ends after the first pass. Raises InputError, E_NO_NORMAL when no slice is
        normal.
        """
        if not self.intensity.learns:
            return
        if isinstance(scans, Iterator):
            raise ValueError("scans can be gone through only once, a list or the like is needed")
        self.intensity.fit(_NormalValues(self, scans))

    def forward(self, scan: Scan) -> Prepared:
        """Prepare one scan.

        Raises InputError, which names the scan, when its masks or channels lie on another grid, a
        channel is not there, no body is found, or nothing can be scaled.
        """
        with _naming(scan):
            turned = self.turned(scan)
            spacing_mm = Volume(turned.image, turned.affine).spacing_mm
            grid = self.slices.grid(turned.body, spacing_mm)
            shown = self._channels(scan, turned)
            stacks = [grid.stack(self.intensity(voxels, turned.body)) for voxels in shown]
            pixels = stacks[0] if len(stacks) == 1 else np.concatenate(stacks, axis=1)
            inside = grid.stack(turned.body) >= 0.5
            _require_some(inside)
        body = restore(turned.body, turned.turn)
        return Prepared(
            pixels=pixels * inside,
            inside=inside,
            body=body,
            normal=turned.normal,
            grid=grid,
            turn=turned.turn,
            assembly=self.maps,
            slice_mm=spacing_mm[2],
        )

    def turned(self, scan: Scan) -> Turned:
        """Bring a scan into canonical orientation and find its body."""
        require_one_grid(scan)
        image, affine, turn = canonical(scan.image.voxels, scan.image.affine)
        body = _body(self.body, scan, image, affine)
        _require_no_hole(scan.image, body)
        normal = np.ones(image.shape[2], bool)
        if scan.abnormal is not None:
            abnormal = canonical(scan.abnormal.voxels, scan.image.affine).voxels
            normal = np.logical_not(np.any(abnormal, axis=(0, 1)))
        return Turned(image, body, normal, turn, affine)

    def _channels(self, scan: Scan, turned: Turned) -> list[np.ndarray]:
        """Return what the method sees, (x, y, z) each."""
        if not self.channels:
            return [turned.image]
        shown = []
        for name in self.channels:
            volume = _channel(scan, name)
            _require_no_hole(volume, turned.body)
            shown.append(canonical(volume.voxels, scan.image.affine).voxels)
        return shown


def _require_some(inside: np.ndarray) -> None:
    """Refuse a body that is lost when it is cut to slices."""
    if not inside.any():
        raise InputError(
            "next to nothing is left of its body on the slices that the model sees: the voxels or "
            "the body are too small for it. Is the unit of the voxel size right?",
            code="E_NO_BODY",
        )


def require_channels(scan: Scan, names: Sequence[str]) -> None:
    """Read channels of a scan, and raise InputError, which names the scan, where one is unfit."""
    with _naming(scan):
        for name in names:
            _channel(scan, name)


def body_of(scan: Scan, rule: Body) -> np.ndarray:
    """Find a scan's body by a rule, (i, j, k) bool on the scan's own grid.

    Raises InputError, which names the scan, as `Prep.forward` does.
    """
    with _naming(scan):
        require_one_grid(scan)
        image, affine, turn = canonical(scan.image.voxels, scan.image.affine)
        return restore(_body(rule, scan, image, affine), turn)


def _body(rule: Body, scan: Scan, image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Find the body (x, y, z) of a scan whose image is already in canonical orientation."""
    given = None
    if scan.inside is not None:
        given = canonical(scan.inside.voxels, scan.image.affine).voxels.astype(bool)
    return rule(image, Volume(image, affine).spacing_mm, given)


def _channel(scan: Scan, name: str) -> Volume:
    if name not in scan.channels:
        there = ", ".join(scan.channels) or "none"
        raise InputError(
            f"has no channel '{name}', which the recipe asks for. There: {there}. Take images that "
            "have it, or a recipe with other channels.",
            code="E_MISSING_MODALITY",
        )
    volume = scan.channels[name]
    if not volume.same_grid(scan.image):
        raise InputError(
            f"its channel '{name}' {difference(volume, scan.image)}. Resample it onto the image's "
            "grid first.",
            code="E_GRID",
        )
    return volume


def _require_no_hole(image: Volume, body: np.ndarray) -> None:
    """Refuse an image without a finite value somewhere in the body (x, y, z)."""
    if image.holes is None:
        return
    inside = int((canonical(image.holes, image.affine).voxels & body).sum())
    if inside:
        raise InputError(
            f"{inside} of the body's voxels are NaN, infinite or beyond float32. Set them to a "
            "real value first, or convert the scan again.",
            code="E_NONFINITE",
        )


class _NormalValues:
    """The body values (n,) of each normal slice of some scans; each pass reads the scans anew."""

    def __init__(self, prep: Prep, scans: Iterable[Scan]) -> None:
        self.prep = prep
        self.scans = scans

    def __iter__(self) -> Iterator[np.ndarray]:
        for scan in self.scans:
            with _naming(scan):
                image, body, normal, *_ = self.prep.turned(scan)
            for z in np.flatnonzero(normal & body.any(axis=(0, 1))):
                yield image[..., z][body[..., z]]


@contextmanager
def _naming(scan: Scan) -> Iterator[None]:
    """Say of which scan an error speaks: the parts of a preparation see voxels only."""
    try:
        yield
    except InputError as fault:
        raise InputError(f"{scan.image.name}: {fault}", code=fault.code) from fault
