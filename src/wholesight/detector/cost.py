"""What a threshold costs: how many made-up lesions of known size and contrast it still finds.

A threshold that promises few false alarms may be so high that it finds nothing. Without an
abnormal scan at hand, lesions are inserted in the normal part of calibration scans, and each scan
is prepared, mapped and masked anew as a whole: a lesion may move what its scan is scaled by.

Axes: i j k file voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool

from wholesight.calibration.inserted import draw_weight, with_lesion
from wholesight.detector.detector import Detector
from wholesight.volume import Scan

# A lesion is found when this share of its voxels is flagged, and a larger one than of the rest.
LEAST_FLAGGED: Final = 0.1
# Each takes several mappings; ten tell a mute threshold from others.
MOST_SCANS: Final = 10


class Readable(Protocol):
    """A case on disk, or anything that knows its subject and can be read."""

    @property
    def subject(self) -> str: ...

    def read(self) -> Scan: ...


class Noticed(NamedTuple):
    """What a mask says of a lesion. found : or not. voxels : share of its voxels flagged."""

    found: bool
    voxels: float


class Cost(NamedTuple):
    """How lesions of one volume and one contrast fare; means over scans, NaN without any.

    contrast : added to the signal: 0.5 half as much again, -0.5 half of it gone. scans : where
    such a lesion fits. found : share of them in which it is found. voxels : mean share of its
    voxels that are flagged. found_by_chance, voxels_by_chance : the same of the same places in the
    untouched scans.
    """

    volume_ml: float
    contrast: float
    scans: int
    found: float
    voxels: float
    found_by_chance: float
    voxels_by_chance: float


def sensitivity_cost(
    detector: Detector,
    cases: Sequence[Readable],
    *,
    volumes_ml: Sequence[float] = (1.0, 8.0),
    contrasts: Sequence[float] = (-0.5, 0.25, 0.5),
    most_scans: int = MOST_SCANS,
    seed: int = 0,
    one_done: Callable[[], object] = lambda: None,
) -> list[Cost]:
    """Insert lesions of each volume and contrast in some scans; say what is found of them.

    cases : whose threshold this is; of at most `most_scans` subjects, evenly picked, the first
    scan is read. A scan's truth serves to keep lesions in its normal slices, and for nothing else.
    A lesion's place depends on `seed`, the scan and its volume, never on its contrast. one_done :
    called after each scan.

    It takes ``1 + volumes * contrasts`` mappings a scan. Raises ModelError while the detector has
    no threshold, or one a site, and InputError for a scan that cannot be used.
    """
    seen: dict[tuple[float, float], list[tuple[Noticed, Noticed]]] = {
        (volume, contrast): [] for volume in volumes_ml for contrast in contrasts
    }
    for number, case in enumerate(evenly_picked(cases, most_scans)):
        inserting = _Inserting(detector, case.read(), (seed, number))
        for volume in volumes_ml:
            for contrast, pair in zip(contrasts, inserting(volume, contrasts), strict=False):
                seen[volume, contrast].append(pair)
        one_done()
    return [_averaged(*combination, pairs) for combination, pairs in seen.items()]


def silent(costs: Sequence[Cost], *, least: float = 0.10) -> bool | None:
    """Return whether even the largest and strongest lesions are found in too few scans.

    Of the largest volume that fitted in any scan and the highest contrast, dark or bright,
    whichever is found more often; less than a share `least` of scans is silent. None when no
    lesion fitted anywhere: then nothing is known.
    """
    tried = [cost for cost in costs if cost.scans]
    if not tried:
        return None
    volume = max(cost.volume_ml for cost in tried)
    large = [cost for cost in tried if cost.volume_ml == volume]
    strongest = max(abs(cost.contrast) for cost in large)
    return max(cost.found for cost in large if abs(cost.contrast) == strongest) < least


def evenly_picked(cases: Sequence[Readable], most: int) -> list[Readable]:
    """Return the first case of each subject, or of `most` subjects spread evenly over the list."""
    first: dict[str, Readable] = {}
    for case in cases:
        first.setdefault(case.subject, case)
    several = list(first.values())
    at = np.linspace(0, len(several) - 1, min(most, len(several))).round().astype(int)
    return [several[number] for number in at]


def noticed(
    mask: Bool[np.ndarray, "i j k"],
    lesion: Bool[np.ndarray, "i j k"],
    body: Bool[np.ndarray, "i j k"],
) -> Noticed:
    """Return whether a mask shows where a lesion is.

    A tenth of its voxels flagged, and more densely than the rest of the body: a mask that covers
    everything, or as much of the lesion as of any other place, shows nobody a lesion. body : the
    normal one, without what else is abnormal in the scan.
    """
    share = float(mask[lesion].mean())
    rest = mask[body & ~lesion]
    elsewhere = float(rest.mean()) if rest.size else 0.0
    return Noticed(share >= LEAST_FLAGGED and share > elsewhere, share)


class _Inserting:
    """One scan, in whose normal body lesions are inserted one at a time."""

    def __init__(self, detector: Detector, scan: Scan, seed: tuple[int, int]) -> None:
        self.detector = detector
        self.scan = scan
        self.seed = seed
        self.body = detector.recipe.prep.forward(scan).normal_body()
        self.channels = {name: scan.channels[name] for name in detector.recipe.prep.channels}
        self.untouched = self._mask(lambda voxels: voxels)

    def __call__(
        self, volume_ml: float, contrasts: Sequence[float]
    ) -> Iterator[tuple[Noticed, Noticed]]:
        """Yield, for each contrast, what is noticed, and what in the untouched scan; or nothing."""
        image = self.scan.image
        rng = np.random.default_rng(self.seed)
        weight = draw_weight(self.body, image.spacing_mm, volume_ml=volume_ml, rng=rng)
        if weight is None:
            return
        lesion = weight > 0
        by_chance = noticed(self.untouched, lesion, self.body)
        for contrast in contrasts:
            mask = self._mask(partial(with_lesion, weight=weight, contrast=contrast))
            yield noticed(mask, lesion, self.body), by_chance

    def _mask(self, altered: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the mask of the scan, its image and its channels altered alike."""
        image, *shown = (
            volume.like(altered(volume.voxels))
            for volume in (self.scan.image, *self.channels.values())
        )
        channels = dict(zip(self.channels, shown, strict=True))
        return self.detector.segment(image, self.scan.inside, channels).mask.voxels


def _averaged(volume_ml: float, contrast: float, pairs: list[tuple[Noticed, Noticed]]) -> Cost:
    # NaN, and no warning of numpy's, where no scan had room.
    values = np.reshape([[*made, *chance] for made, chance in pairs], (-1, 4))
    means = values.mean(axis=0) if pairs else np.full(4, np.nan)
    return Cost(volume_ml, contrast, len(pairs), *(float(mean) for mean in means))
