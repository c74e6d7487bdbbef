"""Which voxels count: the body region of a scan.

Axes: i j k canonical voxels (RAS+), k slices from foot to head. Spacings in mm along i, j, k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Num

from wholesight.errors import InputError
from wholesight.prep.morphology import Mask, SpacingMm, filled, large_parts
from wholesight.prep.skull_strip import strip_skull

Voxels = Num[np.ndarray, "i j k"]
# Of any shape: that it is the scan's is checked, and said in words.
GivenMask = Bool[np.ndarray, "_ _ _"]


class Body(ABC):
    """A rule for the region of a scan in which a method looks, and a threshold counts."""

    @abstractmethod
    def find(self, voxels: Voxels, spacing_mm: SpacingMm) -> Mask:
        """Find the body (i, j, k) of a scan that came without a mask."""

    @final
    def __call__(
        self,
        voxels: Voxels,
        spacing_mm: SpacingMm,
        given: GivenMask | None = None,
    ) -> Mask:
        """Return the body (i, j, k) of a scan: the given mask where there is one, else find it.

        Raises
        ------
        InputError
            ``E_EMPTY`` when no voxel counts, ``E_GRID`` when the given mask is on another grid.
        """
        if given is not None:
            return _checked(given, voxels)
        body = self.find(voxels, spacing_mm)
        if not body.any():
            raise InputError(
                f"no voxel of this scan counts by the body rule {type(self).__name__!r}. Check "
                "that it is not blank, give a mask of the body, or choose another rule "
                f"({', '.join(BODIES)}).",
                code="E_EMPTY",
            )
        return body


@final
class Nonzero(Body):
    """What is brighter than the background, for scans whose skull is stripped.

    Holes are filled slice by slice (stripped scans have ventricles of 0), and crumbs are dropped.

    background : the value of what is outside.
    crumb : parts below this share of the largest part's voxels are dropped.
    """

    def __init__(self, *, background: float = 0.0, crumb: float = 0.01) -> None:
        if not 0 <= crumb <= 1:
            raise ValueError(f"crumb is {crumb}, legal is 0 to 1")
        self.background = background
        self.crumb = crumb

    def find(self, voxels: Voxels, spacing_mm: SpacingMm) -> Mask:
        self._refuse_standardised(voxels)
        return filled(large_parts(voxels > self.background, share=self.crumb))

    def _refuse_standardised(self, voxels: Voxels) -> None:
        """A standardised scan is half below 0: what is above 0 would be half a body."""
        # Resampling rings a little below the background; that is not meant.
        slack = 0.05 * max(float(voxels.max()) - self.background, 0.0)
        below = np.count_nonzero(voxels < self.background - slack)
        if below > 0.1 * np.count_nonzero(voxels > self.background):
            raise InputError(
                f"{below} voxels are darker than the background {self.background:g}, so they "
                "would not count as body. If the intensities were standardised, use the scan from "
                "before that or give a mask of the body; if the background has another value, set "
                "the option background.",
                code="E_BACKGROUND",
            )


@final
class Given(Body):
    """The mask that came with the scan, and no other."""

    def find(self, voxels: Voxels, spacing_mm: SpacingMm) -> Mask:
        raise InputError(
            "this scan came without a mask of its body, and the body rule 'given' finds none. Add "
            "the mask (column inside of cases.tsv), or choose another rule "
            f"({', '.join(name for name in BODIES if name != 'given')}).",
            code="E_NO_BODY",
        )


@final
class SkullStrip(Body):
    """The brain in a head scan whose skull is still there (see `prep/skull_strip.py`).

    tissue : at the brain's surface, what is darker than this share of the brain is fluid or bone.
    sulcus_mm : a cleft in the brain's surface narrower than twice this belongs to the brain.
    """

    def __init__(self, *, tissue: float = 0.5, sulcus_mm: float = 8.0) -> None:
        if not 0 < tissue < 1:
            raise ValueError(f"tissue is {tissue}, legal is 0 < tissue < 1")
        if sulcus_mm <= 0:
            raise ValueError(f"sulcus_mm is {sulcus_mm}, legal is sulcus_mm > 0")
        self.tissue = tissue
        self.sulcus_mm = sulcus_mm

    def find(self, voxels: Voxels, spacing_mm: SpacingMm) -> Mask:
        return strip_skull(voxels, spacing_mm, tissue=self.tissue, sulcus_mm=self.sulcus_mm)


@final
class Whole(Body):
    """Every voxel, for pictures that show nothing but their object.

    margin : share of each axial slice's width and height that is left off on every side, rounded
    to whole voxels.
    """

    def __init__(self, *, margin: float = 0.0) -> None:
        if not 0 <= margin < 0.5:
            raise ValueError(f"margin is {margin}, legal is 0 <= margin < 0.5")
        self.margin = margin

    def find(self, voxels: Voxels, spacing_mm: SpacingMm) -> Mask:
        body = np.zeros(voxels.shape, dtype=bool)
        off = [round(self.margin * side) for side in voxels.shape[:2]]
        kept = tuple(slice(n, side - n) for n, side in zip(off, voxels.shape, strict=False))
        body[kept] = True
        return body


BODIES: Final[dict[str, type[Body]]] = {
    "nonzero": Nonzero,
    "given": Given,
    "skull-strip": SkullStrip,
    "whole": Whole,
}


def _checked(given: GivenMask, voxels: Voxels) -> Mask:
    if given.shape != voxels.shape:
        raise InputError(
            f"the mask of the body is {' x '.join(map(str, given.shape))} voxels but its scan is "
            f"{' x '.join(map(str, voxels.shape))}. Resample the mask onto the scan's grid first.",
            code="E_GRID",
        )
    if not given.any():
        raise InputError(
            "the mask of the body that came with this scan is empty. Check that the file belongs "
            "to the scan, or leave it out and choose a rule that finds the body.",
            code="E_EMPTY",
        )
    return given.astype(bool)
