"""Intensities to a scale that scans share. The background becomes exactly 0.

Axes: x y z, canonical. What is fitted is fitted on normal slices, then frozen and saved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import islice
from typing import ClassVar, Final, Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d
from skimage.exposure import equalize_hist, match_histograms

from wholesight.errors import InputError, ModelError

# What resampling rings below the background is less than this share of a scan's brightest.
_RINGING = 0.05
# A standardised body is half below 0; a sound one has a few such voxels at most.
_MOST_NEGATIVE = 0.05


class Intensity(ABC):
    """A map of intensities. `learns` says whether `fit` needs to see normal slices at all."""

    learns: ClassVar[bool] = False

    @property
    def unit_range(self) -> bool:
        """Whether what comes out lies in [0, 1]."""
        return True

    @abstractmethod
    def values(self, values: np.ndarray) -> np.ndarray:
        """Map the body's values (n,) of one scan to the shared scale, float32 (n,)."""

    def fit(self, normal_slices: Iterable[np.ndarray]) -> None:  # noqa: B027 - most learn nothing
        """Learn from the body values (n,) of each normal training slice.

        normal_slices : can be gone through more than once, in the same order, and is too much to
        be kept. Raises InputError E_NO_NORMAL when there is none.
        """

    def state(self) -> dict[str, np.ndarray]:
        """Return what was learned, to be saved with the model."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:  # noqa: B027 - see fit
        """Take over what was learned."""

    def __call__(self, voxels: np.ndarray, body: np.ndarray) -> np.ndarray:
        """Map a scan (x, y, z) inside its body (bool); 0 outside. Returns float32."""
        out = np.zeros(voxels.shape, np.float32)
        out[body] = self.values(voxels[body])
        return out


class Raw(Intensity):
    """Leave the values as they are: the floor of floors, for scans that share a scale already."""

    @property
    def unit_range(self) -> bool:
        return False

    def values(self, values: np.ndarray) -> np.ndarray:
        _positive(float(np.ptp(values)), "range")
        return values.astype(np.float32)


class ZScore(Intensity):
    """Subtract the body's mean, divide by its standard deviation. About half becomes negative."""

    @property
    def unit_range(self) -> bool:
        return False

    def values(self, values: np.ndarray) -> np.ndarray:
        # float64: the deviation of many large values loses its digits in float32.
        wide = values.astype(np.float64)
        spread = _positive(float(wide.std()), "standard deviation")
        return ((wide - wide.mean()) / spread).astype(np.float32)


class Equalise(Intensity):
    """Equalise the histogram of the scan's body: a value becomes the share of voxels at or below.

    The floor of Meissen et al. 2021 (arXiv 2109.06023), there over the voxels above 0. In (0, 1],
    uniform whatever the scan, so a large bright lesion pushes the tissue beside it down. Every grey
    level is a bin of its own, as in the published code, which equalises whole numbers.
    """

    def values(self, values: np.ndarray) -> np.ndarray:
        _positive(float(np.ptp(values)), "range")
        # Of whole numbers, scikit-image makes a bin each; so the scan's unit does not matter.
        _, level = np.unique(values, return_inverse=True)
        return equalize_hist(level).astype(np.float32)


class Maximum(Intensity):
    """Divide by the scan's maximum (BMVC 2021 preprocessing). Result in [0, 1]."""

    def values(self, values: np.ndarray) -> np.ndarray:
        values = values - min(float(values.min()), 0.0)
        return (values / _positive(float(values.max()), "maximum")).astype(np.float32)


class Percentile(Intensity):
    """Percentiles `low` and `high` of the body become 0 and 1; beyond them is clipped."""

    def __init__(self, *, low: float = 0.5, high: float = 99.5) -> None:
        if not 0 <= low < high <= 100:
            raise ValueError(f"low {low} and high {high}: legal is 0 <= low < high <= 100")
        self.low = low
        self.high = high

    def values(self, values: np.ndarray) -> np.ndarray:
        low, high = np.percentile(values, [self.low, self.high])
        scaled = (values - low) / _positive(float(high - low), "range between the percentiles")
        return np.clip(scaled, 0, 1).astype(np.float32)


class Mode(Intensity):
    """Divide by the histogram's mode in the body, on FLAIR the bulk of grey and white matter.

    Standardised scans, whose 0 is not black, are refused: what is below 0 has no place here.

    top : how many modes become 1; brighter is clipped to 1. None leaves the quotient as it is.
    """

    def __init__(self, *, top: float | None = 3.0) -> None:
        if top is not None and top <= 0:
            raise ValueError(f"top is {top}, legal is top > 0 or none")
        self.top = top

    @property
    def unit_range(self) -> bool:
        return self.top is not None

    def values(self, values: np.ndarray) -> np.ndarray:
        _refuse_standardised(values)
        quotient = values / _positive(histogram_mode(values), "mode of the histogram")
        if self.top is None:
            return quotient.astype(np.float32)
        return np.clip(quotient / self.top, 0, 1).astype(np.float32)


class HistogramMatch(Intensity):
    """Match the body's histogram to one reference slice, then divide by the reference's maximum.

    The published preprocessing (BMVC 2021 code), with two differences: the background takes no
    part in the match, and the reference is not picked by hand. It is the normal training slice
    whose median is the median of all, of those with at least as much body as half of them have
    (three voxels at the vertex are no reference).

    per : "slice" matches every axial slice by itself, as published, so that all have the same
    histogram, and a large bright lesion darkens the rest of its slice; "scan" matches the scan's
    body as a whole and keeps the differences between its slices. A slice whose body is of one value
    has no histogram to match, and becomes the reference's median.
    """

    learns: ClassVar[bool] = True

    def __init__(self, *, per: Literal["slice", "scan"] = "slice") -> None:
        self.per: Literal["slice", "scan"] = per
        self.reference: np.ndarray | None = None

    def fit(self, normal_slices: Iterable[np.ndarray]) -> None:
        # Two numbers a slice are kept, and one slice is read again.
        told = np.array([(values.size, np.median(values)) for values in normal_slices])
        if not told.size:
            raise InputError(
                "no normal slice to take a reference from: in every slice of the training scans a "
                "voxel is marked abnormal or no body is found. Add normal scans, or see wholesight "
                "check DATA.",
                code="E_NO_NORMAL",
            )
        sizes, medians = told.T
        large = np.flatnonzero(sizes >= np.median(sizes))
        middle = large[np.argsort(medians[large], kind="stable")[len(large) // 2]]
        chosen = next(islice(normal_slices, int(middle), None))
        _refuse_standardised(chosen)
        self.reference = np.sort(chosen).astype(np.float32).clip(0)

    def state(self) -> dict[str, np.ndarray]:
        return {} if self.reference is None else {"reference": self.reference}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.reference = state.get("reference")

    def values(self, values: np.ndarray) -> np.ndarray:
        if self.reference is None:
            raise ModelError(
                "intensity histogram-match has no reference slice yet. Run: wholesight fit"
            )
        scale = _positive(float(self.reference.max()), "reference")
        if np.ptp(values) == 0:
            return np.full(len(values), np.median(self.reference) / scale, np.float32)
        return (match_histograms(values, self.reference) / scale).astype(np.float32)

    def __call__(self, voxels: np.ndarray, body: np.ndarray) -> np.ndarray:
        _positive(float(np.ptp(voxels[body])), "range")
        if self.per == "scan":
            return super().__call__(voxels, body)
        out = np.zeros(voxels.shape, np.float32)
        for z in np.flatnonzero(body.any(axis=(0, 1))):
            here = body[..., z]
            out[..., z][here] = self.values(voxels[..., z][here])
        return out


def histogram_mode(values: np.ndarray) -> float:
    """Return the value where the smoothed histogram of positive values is highest.

    256 bins up to the 99.5th percentile, smoothed over about three of them: fine enough for 8-bit
    scans, coarse enough that one crowded grey level is not mistaken for a tissue.

    >>> rng = np.random.default_rng(0)
    >>> abs(histogram_mode(rng.normal(100, 10, 20_000)) - 100) < 3
    True
    """
    positive = values[values > 0]
    if not positive.size:
        return 0.0
    counts, edges = np.histogram(positive, bins=256, range=(0, np.percentile(positive, 99.5)))
    peak = int(np.argmax(gaussian_filter1d(counts.astype(float), sigma=3)))
    return float(edges[peak : peak + 2].mean())


def negative_share(values: np.ndarray) -> float:
    """Return the share of values below 0, by more than resampling rings.

    >>> negative_share(np.array([-1.0, -0.01, 0.0, 1.0]))
    0.25
    """
    if values.min() >= 0:
        return 0.0
    # Not the maximum: one bright voxel would hide what is negative.
    slack = _RINGING * max(float(np.percentile(values, 99.5)), 0.0)
    return float(np.count_nonzero(values < -slack) / values.size)


def _refuse_standardised(values: np.ndarray) -> None:
    share = negative_share(values)
    if share > _MOST_NEGATIVE:
        raise InputError(
            f"{share:.0%} of the body's voxels are below 0, and 0 has to be black here. If the "
            "intensities were standardised, use the scan from before that, or the intensity "
            "percentile, which takes any scale.",
            code="E_BACKGROUND",
        )


def _positive(scale: float, what: str) -> float:
    if not np.isfinite(scale) or scale <= 0:
        raise InputError(
            f"the {what} of the body is {scale:g}, so intensities cannot be scaled. "
            "Is the scan constant, or the body mask wrong?",
            code="E_INTENSITY",
        )
    return scale


INTENSITIES: Final[dict[str, type[Intensity]]] = {
    "raw": Raw,
    "z-score": ZScore,
    "equalise": Equalise,
    "maximum": Maximum,
    "percentile": Percentile,
    "mode": Mode,
    "histogram-match": HistogramMatch,
}
