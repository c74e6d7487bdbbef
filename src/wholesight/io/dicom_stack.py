"""Where the slices of a DICOM series lie, and whether together they are a volume.

DICOM gives for every slice the centre of its first voxel, the directions of its rows and columns,
and the distance of their voxels. What lies between slices it does not say in a field that can be
trusted (SliceThickness is how thick a slice is, not how far the next one lies), so all of it is
worked out from the positions. World: LPS mm in the file, RAS mm in the affine.

Axes: i along a row of pixels, j down a column, k from slice to slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from wholesight.errors import InputError

# Slices whose positions are closer than this share one place.
_SAME_MM: Final = 0.01
# Two orientations are one when no direction cosine differs by more.
_SAME_COSINE: Final = 1e-4
# A distance between slices may differ by this share from the mean one.
_UNEVEN: Final = 0.01
# No slice may lie beside the regular grid by more than this share of the smallest voxel size.
_BESIDE: Final = 0.1

_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


class Plane(NamedTuple):
    """One slice in space.

    position : (3,) of the first voxel's centre, LPS mm. orientation : (6,) direction cosines along
    a row, then down a column. spacing_mm : (down a column, along a row). size : rows, columns.
    frame : hash of the frame of reference, "" where there is none.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    size: tuple[int, int]
    frame: str

    @property
    def normal(self) -> np.ndarray:
        """Return the direction of the stack: (3,), right-handed to rows and columns."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    def parallel_to(self, other: Plane) -> bool:
        """Whether both are orientated alike."""
        return bool(np.abs(np.subtract(self.orientation, other.orientation)).max() <= _SAME_COSINE)

    def is_sound(self) -> bool:
        """Whether it can be placed: finite, directions of length 1 at right angles, spacing > 0."""
        figures = np.array([*self.position, *self.orientation, *self.spacing_mm])
        if figures.size != 11 or not np.isfinite(figures).all() or min(self.spacing_mm) <= 0:
            return False
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        off = np.array([row @ row - 1, column @ column - 1, row @ column])
        return bool(np.abs(off).max() < 1e-3)


class Stack(NamedTuple):
    """A volume's places.

    places : for every k the indices of the planes that lie there, one mostly; affine : (4, 4)
    voxel index -> RAS mm; sheared where the slices are, as with a tilted gantry.
    """

    places: list[list[int]]
    affine: np.ndarray


def places_of(planes: Sequence[Plane]) -> list[list[int]]:
    """Group parallel planes by position, in the order of the stack."""
    normal = planes[0].normal
    along = [float(normal @ plane.position) for plane in planes]
    places: list[list[int]] = []
    for index in np.argsort(along, kind="stable").tolist():
        if places and _apart_mm(planes[places[-1][0]], planes[index]) < _SAME_MM:
            places[-1].append(index)
        else:
            places.append([index])
    return places


def arrange(planes: Sequence[Plane]) -> Stack:
    """Work out where parallel planes lie as a volume.

    Raises InputError, without a path, with the code of the check that failed.
    """
    _refuse_mixed(planes)
    places = places_of(planes)
    if len(places) < 2:
        raise InputError(
            "one slice alone: nothing says how far slices lie apart. Name the folder of the whole "
            "series.",
            code="E_ONE_SLICE",
        )
    at = np.array([planes[place[0]].position for place in places], np.float64)
    _refuse_uneven(at @ planes[0].normal)
    affine = _affine(planes[0], at)
    _refuse_beside(at, affine)
    return Stack(places, _TO_RAS @ affine)


def _apart_mm(one: Plane, other: Plane) -> float:
    return float(np.linalg.norm(np.subtract(one.position, other.position)))


def _refuse_mixed(planes: Sequence[Plane]) -> None:
    sizes = sorted({plane.size for plane in planes})
    if len(sizes) > 1:
        told = ", ".join(f"{rows} x {columns}" for rows, columns in sizes[:3])
        raise _mixed(f"in size ({told} pixels)")
    spacings = np.array([plane.spacing_mm for plane in planes])
    if not np.allclose(spacings, spacings[0], rtol=1e-3, atol=0):
        low, high = spacings.min(), spacings.max()
        raise _mixed(f"in the distance of their pixels ({low:.4g} to {high:.4g} mm)")
    if len({plane.frame for plane in planes}) > 1:
        raise _mixed("in their frame of reference")


def _mixed(what: str) -> InputError:
    return InputError(
        f"the slices of one series differ {what}. Put those that belong together into a folder of "
        "their own.",
        code="E_MIXED",
    )


def _refuse_uneven(along_mm: np.ndarray) -> None:
    """Refuse slices at unequal distances; along_mm : their places along the stack, sorted."""
    steps = np.diff(along_mm)
    mean = float(steps.mean())
    if np.abs(steps - mean).max() <= _UNEVEN * mean:
        return
    closest = float(steps.min())
    if closest < _SAME_MM:
        raise InputError(
            "slices lie beside each other at one height, so they are no stack. Put one tile or one "
            "stack into a folder of its own.",
            code="E_SAME_PLACE",
        )
    missing = np.rint(steps / closest) - 1
    if not missing.any() or np.abs(steps / closest - missing - 1).max() > 0.05:
        raise InputError(
            f"the slices lie {closest:.4g} to {float(steps.max()):.4g} mm apart, more than "
            f"{100 * _UNEVEN:.0f} % from even. Resample the series to even slices first.",
            code="E_SPACING",
        )
    gaps = np.flatnonzero(missing)
    at = int(gaps[0])
    lost = int(missing[at])
    more = f", as elsewhere ({len(gaps)} gaps in all)" if len(gaps) > 1 else ""
    raise InputError(
        f"between slices {at + 1} and {at + 2} of {len(along_mm)} ({along_mm[at]:.4g} and "
        f"{along_mm[at + 1]:.4g} mm along the stack) {lost} {'is' if lost == 1 else 'are'} "
        f"missing{more}. Copy the whole series.",
        code="E_GAP",
    )


def _affine(plane: Plane, at: np.ndarray) -> np.ndarray:
    """Return (4, 4) voxel index -> LPS mm; at : (k, 3) positions in the order of the stack."""
    down, along = plane.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(plane.orientation[:3], along)
    affine[:3, 1] = np.multiply(plane.orientation[3:], down)
    affine[:3, 2] = (at[-1] - at[0]) / (len(at) - 1)
    affine[:3, 3] = at[0]
    return affine


def _refuse_beside(at: np.ndarray, affine: np.ndarray) -> None:
    regular = affine[:3, 3] + np.arange(len(at))[:, None] * affine[:3, 2]
    beside = float(np.linalg.norm(at - regular, axis=1).max())
    if beside > _BESIDE * float(np.linalg.norm(affine[:3, :3], axis=0).min()):
        raise InputError(
            f"slices lie up to {beside:.3g} mm beside a regular grid. Resample the series to even "
            "slices first.",
            code="E_SPACING",
        )
