"""The published fixed threshold, for reproduction: it promises nothing."""

from __future__ import annotations


def fixed() -> float:
    """Return 0.5, for maps scaled to [0, 1].

    Silva-Rodríguez, Naranjo, Dolz (Looking at the whole picture, BMVC 2021, arXiv 2109.00482)
    binarise their attention maps, min-max scaled, at 0.5. Where every slice is scaled by itself,
    its oddest voxel is 1 and lies above 0.5 in every healthy slice, too.

    >>> fixed()
    0.5
    """
    return 0.5
