"""Where the voxels lie, and smooth random fields over that place.

Axes: i j k voxels of the output, p q r knots of a field, n fields at once. World: RAS+ mm, with the
origin of MNI space. A field is drawn on knots that do not depend on the voxel size, so one seed
gives one head, whatever grid it is looked at on.

Everything up to the whole numbers of a scan is float64: matrix products and exp round differently
on each kind of processor, and one seed is to give the same bytes on all of them. In float32 some
voxels came out one apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# The box that is imaged. It holds the largest head that can be drawn, but for the lowest end of
# the brain stem and cerebellum: the maps themselves stop there.
CENTRE_MM = (0.0, -18.0, 15.0)
EXTENT_MM = (192.0, 224.0, 144.0)

# Mean square of a sum of cubic B-splines with unit normal weights, along one axis.
_SPLINE_POWER = 151 / 315


class Grid(NamedTuple):
    """An axial grid over the box, its voxels stored as BraTS stores them (LPS)."""

    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = (
            round(extent / step) for extent, step in zip(EXTENT_MM, self.spacing_mm, strict=True)
        )
        return i, j, k

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """Voxel index -> world mm. Both axes in the plane run against the world's, as LPS does."""
        step = np.array(self.spacing_mm) * (-1, -1, 1)
        first = np.array(CENTRE_MM) - step * (np.array(self.shape) - 1) / 2
        affine = np.diag([*step, 1.0])
        affine[:3, 3] = first
        return affine

    def axes_mm(self, samples: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World position of the voxels along each axis, each slice cut into `samples` sheets."""
        x, y = (self.affine[a, 3] + self.affine[a, a] * np.arange(self.shape[a]) for a in range(2))
        sheet_mm = self.spacing_mm[2] / samples
        lowest = self.affine[2, 3] - self.spacing_mm[2] / 2 + sheet_mm / 2
        return x, y, lowest + sheet_mm * np.arange(self.shape[2] * samples)

    def points_mm(self, samples: int = 1) -> Float[np.ndarray, "3 i j k"]:
        """World position of every sample."""
        return np.stack(np.meshgrid(*self.axes_mm(samples), indexing="ij"))


class SmoothField(NamedTuple):
    """Random fields of mean 0 and standard deviation 1 that vary over about `knot_mm`."""

    weights: Float[np.ndarray, "n p q r"]
    knot_mm: float

    def on(self, grid: Grid, samples: int = 1) -> Float[np.ndarray, "n i j k"]:
        """Evaluate the fields at the grid's samples: sum over knots of weight times B-spline."""
        x, y, z = (
            _spline(axis, centre - extent / 2, self.knot_mm, knots)
            for axis, centre, extent, knots in zip(
                grid.axes_mm(samples), CENTRE_MM, EXTENT_MM, self.weights.shape[1:], strict=True
            )
        )
        along_z = self.weights @ z.T
        along_yz = y @ along_z
        fields, knots, j, k = along_yz.shape
        return (x @ along_yz.reshape(fields, knots, j * k)).reshape(fields, len(x), j, k)


def draw_field(rng: np.random.Generator, knot_mm: float, fields: int = 1) -> SmoothField:
    """Draw independent smooth fields over the box.

    >>> field = draw_field(np.random.default_rng(0), 20.0)
    >>> values = field.on(Grid((4.0, 4.0, 4.0)))
    >>> bool(abs(values.std() - 1) < 0.1)
    True
    """
    knots = [int(np.ceil(extent / knot_mm)) + 3 for extent in EXTENT_MM]
    weights = rng.standard_normal((fields, *knots)) / _SPLINE_POWER**1.5
    return SmoothField(weights, knot_mm)


def _spline(
    at_mm: np.ndarray, first_mm: float, knot_mm: float, knots: int
) -> Float[np.ndarray, "i p"]:
    """Cubic B-spline of every knot (columns) at every position (rows)."""
    at = (at_mm - first_mm) / knot_mm
    away = np.abs(at[:, None] - (np.arange(knots) - 1)[None])
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, near, far)
