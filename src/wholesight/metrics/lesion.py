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

# Of a lesion, this share must lie in true components to be found.
LEAST_OVERLAP: Final = 0.1
# A true component is this much of the way from chance to pure lesion, see `least_share`.
LEAST_GAIN: Final = 0.2

_ROUNDING: Final = 1e-12


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
    sizes : (a,) voxels of each lesion. least_share : of a true component that must be lesion.
    """

    voxels: Int[np.ndarray, " l"]
    lesion: Int[np.ndarray, " l"]
    sizes: Int[np.ndarray, " a"]
    least_share: float


def components(mask: Bool[np.ndarray, "i j k"]) -> tuple[Int[np.ndarray, "i j k"], int]:
    """Number the connected components (26 neighbours) from 1; 0 is background.

    >>> components(np.eye(3, dtype=bool)[..., None])[1]
    1
    """
    labels = np.zeros(mask.shape, np.int32)
    return labels, int(label(mask, _NEIGHBOURS, output=labels))  # pyright: ignore[reportArgumentType]


def least_share(prevalence: float) -> float:
    """Share of a component that must be lesion for it to be true: q + 0.2 (1 - q).

    prevalence : q, the lesion's share of the judged body, which is what a component that knows
    nothing holds on average. So the share beyond chance must be a fifth of what there is beyond
    chance, as in Cohen's kappa. Of a fixed share, say a tenth, large lesions fill so much of a
    thick slice that the whole body is a true component.

    >>> least_share(0.0), least_share(0.5), least_share(1.0)
    (0.2, 0.6, 1.0)
    """
    return prevalence + LEAST_GAIN * (1 - prevalence)


def lesions_of(
    truth: Bool[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"] | None = None
) -> Lesions:
    """Take the lesions of a truth apart. inside : the judged body; the whole grid without it."""
    labels, number = components(truth)
    voxels = np.flatnonzero(truth)
    lesion = labels.reshape(-1)[voxels] - 1
    body = truth.size if inside is None else int(np.count_nonzero(inside))
    least = least_share(voxels.size / body if body else 0.0)
    return Lesions(voxels, lesion, np.bincount(lesion, minlength=number), least)


def matched(
    mask: Bool[np.ndarray, "i j k"], lesions: Lesions
) -> tuple[Bool[np.ndarray, " f"], Bool[np.ndarray, " a"]]:
    """Return which components of the mask are true and which lesions are found.

    A component is true when enough of its voxels are lesion (`least_share`): one that drowns a
    lesion in normal tissue shows nobody where the lesion is, so flagging everything finds nothing.
    A lesion is found when at least 10 % of its voxels lie in true components, together. Both ways
    any number may match: a component that covers two lesions finds both and is one true alarm; two
    components on one lesion are two true alarms.
    """
    labels, number = components(mask)
    flagged = labels.reshape(-1)
    under = flagged[lesions.voxels]
    sizes = np.bincount(flagged, minlength=number + 1)
    overlap = np.bincount(under, minlength=number + 1)
    overlap[0] = 0  # the background is no alarm
    # A share that is just enough must not fail by its last digit.
    true = (sizes > 0) & (overlap / np.maximum(sizes, 1) >= lesions.least_share - _ROUNDING)
    true[0] = False
    hit = np.bincount(lesions.lesion[true[under]], minlength=lesions.sizes.size)
    return true[1:], hit / lesions.sizes >= LEAST_OVERLAP


def lesion_counts(
    mask: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"] | None = None,
) -> LesionCounts:
    """Count lesions and alarms of one case; `matched` says which are found and which are true.

    inside : the judged body, in which mask and truth must lie; the whole grid without it.

    Raises ValueError when the shapes differ.

    >>> truth = np.zeros((9, 9, 3), dtype=bool)
    >>> truth[1:3, 1:3], truth[6:8, 6:8] = True, True
    >>> lesion_counts(truth & (np.arange(9)[:, None, None] < 5), truth)
    LesionCounts(lesions=2, found=1, flagged=1, true=1)
    """
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} for truth {truth.shape}")
    true, found = matched(mask.astype(bool), lesions_of(truth.astype(bool), inside))
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
