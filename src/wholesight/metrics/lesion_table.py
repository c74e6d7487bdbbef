"""What each lesion of a case is like, and what became of it.

Axes: i j k as in the file; l voxels of one lesion; n other in-body voxels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Real

from wholesight.metrics.lesion import Lesions, lesions_of, matched

_MM3_PER_ML = 1000

# The median absolute deviation of a normal distribution is its standard deviation over 1.4826.
_SD_PER_MAD = 1.4826


class Found(NamedTuple):
    """One lesion.

    volume_ml : within the judged body. contrast : how far it stands out, see `contrast_of`; None
    when undefined. flagged_share : share of its voxels that are flagged. found : whether it counts
    as found, see `lesion.matched`. The last two are None without a mask.
    """

    volume_ml: float
    contrast: float | None
    flagged_share: float | None
    found: bool | None


def lesion_table(
    image: Real[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
    *,
    voxel_mm3: float,
    mask: Bool[np.ndarray, "i j k"] | None = None,
) -> list[Found]:
    """Describe the lesions within the body, in the order of their first voxel; often one or none.

    Raises ValueError when the shapes differ.
    """
    lesions = lesions_of(truth & inside, inside)
    normal = _spread(image[inside & ~truth])
    flagged, found = _fate(mask, inside, lesions)
    return [
        Found(size * voxel_mm3 / _MM3_PER_ML, _contrast(values, normal), flagged[a], found[a])
        for a, (size, values) in enumerate(
            zip(lesions.sizes.tolist(), _values(image, lesions), strict=True)
        )
    ]


def contrast_of(
    image: Real[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
) -> float | None:
    """How far all lesion of a case stands out, in robust standard deviations of what is normal.

    (median of the lesion - median of the other in-body voxels) / (1.4826 MAD of the others). Above
    0 it is brighter, below 0 darker. None without lesion, without others, or when over half of
    the others are equal, so that their MAD is 0.

    >>> image = np.arange(5.0).reshape(5, 1, 1)
    >>> round(contrast_of(image, image > 3, image >= 0), 3)
    1.686
    """
    return _contrast(image[inside & truth], _spread(image[inside & ~truth]))


def _values(image: np.ndarray, lesions: Lesions) -> list[np.ndarray]:
    """Return the intensities of each lesion."""
    together = image.reshape(-1)[lesions.voxels][np.argsort(lesions.lesion, kind="stable")]
    return np.split(together, np.cumsum(lesions.sizes)[:-1]) if together.size else []


def _fate(
    mask: np.ndarray | None, inside: np.ndarray, lesions: Lesions
) -> tuple[list[float | None], list[bool | None]]:
    number = lesions.sizes.size
    if mask is None:
        return [None] * number, [None] * number
    mask = mask & inside
    hit = lesions.lesion[mask.reshape(-1)[lesions.voxels]]
    flagged = np.bincount(hit, minlength=number) / lesions.sizes
    return flagged.tolist(), matched(mask, lesions)[1].tolist()


def _spread(normal: Real[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the median and the robust standard deviation; NaN of nothing."""
    if not normal.size:
        return float("nan"), float("nan")
    median = float(np.median(normal))
    return median, _SD_PER_MAD * float(np.median(np.abs(normal - median)))


def _contrast(lesion: Real[np.ndarray, " l"], normal: tuple[float, float]) -> float | None:
    median, deviation = normal
    if not lesion.size or not deviation > 0:
        return None
    return (float(np.median(lesion)) - median) / deviation
