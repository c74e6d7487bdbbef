"""How many lesions are found, and how many alarms are false: lesions counted, not voxels.

A clinician asks "is it found?" of a lesion; a large lesion outvotes ten small ones in every pixel
figure, and here each counts once. A lesion is a connected component of the truth, an alarm one of
the mask. Lesions are those of the judged body: give truth & inside, mask & inside.

Axes: i j k as in the file; l lesion voxels; a lesions, f flagged components; r whatever stands
before the four counts: cases, resamples, nothing.

What is empty: no lesion and no alarm is NaN, left out of a mean and counted. Lesions and silence
are 0 of each figure; alarms without lesion have sensitivity NaN, precision 0 and F1 0.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.ndimage import generate_binary_structure, label

from wholesight.metrics.overlap import share

# Voxels that touch by a corner belong together, as in `cleanup`.
_NEIGHBOURS = generate_binary_structure(3, 3)

LEAST_OVERLAP: Final = 0.1


class LesionCounts(NamedTuple):
    """Of one mask.

    lesions : there are. found : of these. flagged : components of the mask. true : of these.
    """

    lesions: int
    found: int
    flagged: int
    true: int

    @property
    def false(self) -> int:
        """Flagged components that are no lesion."""
        return self.flagged - self.true


class Lesions(NamedTuple):
    """The lesions of one case, labelled once for any number of masks.

    voxels : (l,) the flat index of each lesion voxel. lesion : (l,) its lesion, from 0.
    sizes : (a,) voxels of each lesion.
    """

    voxels: Int[np.ndarray, " l"]
    lesion: Int[np.ndarray, " l"]
    sizes: Int[np.ndarray, " a"]


def components(mask: Bool[np.ndarray, "i j k"]) -> tuple[Int[np.ndarray, "i j k"], int]:
    """Number the connected components (26 neighbours) from 1; 0 is background.

    >>> components(np.eye(3, dtype=bool)[..., None])[1]
    1
    """
    labels = np.zeros(mask.shape, np.int32)
    return labels, int(label(mask, _NEIGHBOURS, output=labels))  # pyright: ignore[reportArgumentType]


def lesions_of(truth: Bool[np.ndarray, "i j k"]) -> Lesions:
    """Take the lesions of a truth apart."""
    labels, number = components(truth)
    voxels = np.flatnonzero(truth)
    lesion = labels.reshape(-1)[voxels] - 1
    return Lesions(voxels, lesion, np.bincount(lesion, minlength=number))


def matched(
    mask: Bool[np.ndarray, "i j k"], lesions: Lesions
) -> tuple[Bool[np.ndarray, " f"], Bool[np.ndarray, " a"]]:
    """Return which components of the mask are true and which lesions are found.

    A component is true when at least 10 % of its voxels are lesion: one that drowns a lesion in
    normal tissue shows nobody where the lesion is, so flagging everything finds nothing (unless
    a tenth of the body is lesion). A lesion is found when at least 10 % of its voxels lie in
    true components, together. Both ways any number may match: a component that covers two lesions
    finds both and is one true alarm; two components on one lesion are two true alarms.
    """
    labels, number = components(mask)
    flagged = labels.reshape(-1)
    under = flagged[lesions.voxels]
    sizes = np.bincount(flagged, minlength=number + 1)
    overlap = np.bincount(under, minlength=number + 1)
    overlap[0] = 0  # the background is no alarm
    # A quotient, not a product: 3 of 30 is a tenth, and 0.1 * 30 is above 3 in floating point.
    true = overlap / np.maximum(sizes, 1) >= LEAST_OVERLAP
    hit = np.bincount(lesions.lesion[true[under]], minlength=lesions.sizes.size)
    return true[1:], hit / lesions.sizes >= LEAST_OVERLAP


def lesion_counts(
    mask: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]
) -> LesionCounts:
    """Count lesions and alarms of one case; `matched` says which are found and which are true.

    Raises ValueError when the shapes differ.

    >>> truth = np.zeros((9, 9, 3), dtype=bool)
    >>> truth[1:3, 1:3], truth[6:8, 6:8] = True, True
    >>> lesion_counts(truth & (np.arange(9)[:, None, None] < 5), truth)
    LesionCounts(lesions=2, found=1, flagged=1, true=1)
    """
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} for truth {truth.shape}")
    true, found = matched(mask.astype(bool), lesions_of(truth.astype(bool)))
    return LesionCounts(found.size, int(found.sum()), true.size, int(true.sum()))


def lesion_sensitivity(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Share of the lesions that are found. 1 perfect, 0 worst; NaN without lesion.

    counts : lesions, found, flagged, true, as in `LesionCounts`; sums over cases will do.
    """
    lesions, found, _, _ = np.moveaxis(counts, -1, 0)
    return share(found, lesions)


def lesion_precision(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Share of the flagged components that are true. 1 perfect, 0 worst.

    Silence beside a lesion is 0, not NaN: silence must not raise a mean.
    """
    lesions, _, flagged, true = np.moveaxis(counts, -1, 0)
    return np.where((flagged == 0) & (lesions > 0), 0.0, share(true, flagged))


def lesion_f1(counts: Num[np.ndarray, "*r 4"]) -> Float[np.ndarray, "*r"]:
    """Harmonic mean of lesion sensitivity S and precision P, 2 S P / (S + P). 1 perfect, 0 worst.

    0 when nothing true is flagged beside a lesion, and when alarms are all there is.

    >>> lesion_f1(np.array([[2, 1, 1, 1], [0, 0, 3, 0], [0, 0, 0, 0]]))
    array([0.66666667, 0.        ,        nan])
    """
    found, true = lesion_sensitivity(counts), lesion_precision(counts)
    # Without lesion the sensitivity is NaN, and the precision alone says 0 or NaN.
    found = np.where(np.isnan(found), true, found)
    return np.where(found + true == 0, 0.0, share(2 * found * true, found + true))
