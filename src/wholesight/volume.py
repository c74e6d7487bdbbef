"""A volume: voxels, their place in the world, and header facts that come back unchanged.

Axes: i j k, in the order of the file. World: RAS+ millimetres (NIfTI).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num


class Note(NamedTuple):
    """What somebody who looks at a result should know. code : N_..., of `wholesight.codes`."""

    code: str
    text: str


@dataclass(frozen=True)
class Volume:
    """Voxels on a grid.

    Attributes
    ----------
    voxels : (i, j, k) array; for an image the file's values after its scale and intercept.
    affine : (4, 4) float64, voxel index -> world in mm.
    name : what to call it in a message, usually the file's name.
    header : the raw header block of the file it came from, or None for a volume made in memory.
        A writer copies the geometry fields from it bit for bit.
    notes : what was noticed when it was read.
    holes : (i, j, k) voxels of a scan that had no finite value and are 0 here; None without any.
    """

    voxels: Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"]
    affine: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    name: str = "volume"
    header: bytes | None = None
    notes: tuple[Note, ...] = ()
    holes: Bool[np.ndarray, "i j k"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = self.voxels.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along i, j, k.

        >>> Volume(np.zeros((2, 2, 2)), np.diag([1.0, 1.0, 6.0, 1.0])).spacing_mm
        (1.0, 1.0, 6.0)
        """
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel; right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def is_noted(self, code: str) -> bool:
        """Whether one of its notes has this code."""
        return any(note.code == code for note in self.notes)

    def like(self, voxels: np.ndarray) -> Volume:
        """Other voxels on this grid, with this volume's geometry and header.

        Raises ValueError when the shape differs: that is a bug of the caller, not of a file.
        """
        if voxels.shape != self.voxels.shape:
            raise ValueError(f"{self.name}: voxels {voxels.shape} on a grid of {self.shape}")
        return replace(self, voxels=voxels, holes=None)

    def same_grid(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same shape and corresponding corners within the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1])).reshape(4, -1)
        apart = ((self.affine - other.affine) @ corners)[:3]
        return bool(np.linalg.norm(apart, axis=0).max() <= tolerance_mm)


NO_CHANNELS: Final[Mapping[str, Volume]] = MappingProxyType({})


class Scan(NamedTuple):
    """One case in memory, everything on the image's grid.

    image : the scan. inside : the given body mask or None. abnormal : the truth or None; it may
    leave slices out of training and is otherwise read by the evaluation alone. channels : what
    else the case shows, by name, such as the red of a colour picture; a mapping that may read a
    file only when it is asked for.
    """

    image: Volume
    inside: Volume | None = None
    abnormal: Volume | None = None
    channels: Mapping[str, Volume] = NO_CHANNELS
