"""What somebody who looks at one segmentation should know, in words.

A note is {"code": "N_...", "text": what, and what to do}; none of them refuses a scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from wholesight.calibration import Threshold
from wholesight.calibration.typical import Likeness
from wholesight.calibration.wording import in_mm3, percent
from wholesight.cohort.decision import NO_P, SEEN
from wholesight.cohort.spacing import NOTED, sizes, times_off
from wholesight.datasets import Case
from wholesight.detector import Detector, Segmentation
from wholesight.io.content import voxels_sha256
from wholesight.volume import Scan, Volume

# A body this many times as large as those of the training, or as small, is another kind of scan.
_APART: Final = 1.5
# More than this share of a body is hardly ever a lesion.
_MUCH: Final = 0.5
ON_MASK: Final = ("N_EMPTY", "N_MUCH")
# Rules whose alpha is a share of a healthy body.
_OF_THE_BODY: Final = ("crc", "percentile")


def notes(detector: Detector, case: Case, scan: Scan, found: Segmentation) -> list[dict[str, str]]:
    """Return the notes on a segmentation; an empty list when there is nothing to say."""
    parts = (
        _when_read(scan, detector.recipe.prep.channels),
        _seen(detector, case, scan.image),
        notes_on_mask(
            detector.calibrated_threshold, found, body_voxels=int(found.body.voxels.sum())
        ),
        _unlike(found.likeness),
        _no_p(detector, found),
        _spacing(detector, found),
        _body(detector.record, found),
    )
    return [note for part in parts for note in part]


def _when_read(scan: Scan, channels: Sequence[str]) -> Iterator[dict[str, str]]:
    """Tell what was odd about the files: of other files than the image with their role before."""
    others = {"body mask": scan.inside, **{name: scan.channels[name] for name in channels}}
    yield from (_note(*each) for each in scan.image.notes)
    for role, volume in others.items():
        for code, text in volume.notes if volume else ():
            if (code, text) not in scan.image.notes:
                yield _note(code, f"{role}: {text}")


def notes_on_mask(
    threshold: Threshold, found: Segmentation, *, body_voxels: int
) -> list[dict[str, str]]:
    """Return those notes that another threshold changes; their codes are `ON_MASK`.

    body_voxels : how many the body has, where `found.body` lacks those that are 0 in the map.
    """
    return [*_empty(threshold, found), *_much(threshold, found.mask, body_voxels)]


def _empty(threshold: Threshold, found: Segmentation) -> Iterator[dict[str, str]]:
    if found.mask.voxels.any():
        return
    value = threshold.value
    above = int((found.map.voxels[found.body.voxels] > value).sum())
    what = (
        f"The mask is empty: {above} voxels lie above the threshold {value:.4g}, in places under "
        f"{in_mm3(threshold.min_lesion_mm3)}, which are dropped."
        if above
        else f"The mask is empty: nothing lies above the threshold {value:.4g}."
    )
    yield _note("N_EMPTY", f"{what} That does not say that the scan is normal: look at the map.")


def _much(threshold: Threshold, mask: Volume, body_voxels: int) -> Iterator[dict[str, str]]:
    share = float(mask.voxels.sum() / body_voxels)
    if share > _MUCH:
        aimed = (
            f"where the threshold was set to flag {percent(threshold.alpha)} of a healthy one"
            if threshold.alpha and threshold.rule in _OF_THE_BODY
            else "and hardly any lesion is as large"
        )
        yield _note(
            "N_MUCH",
            f"{100 * share:.0f} % of the body is flagged, {aimed}. Is it the modality, and "
            "prepared in the way, that the model was trained on? Then calibrate on normal scans "
            "of this kind.",
        )


def _no_p(detector: Detector, found: Segmentation) -> Iterator[dict[str, str]]:
    if detector.p_value(found.score) is not None:
        return
    yield _note(
        NO_P,
        "No p-value: the model's calibration holds no scores of normal scans to compare with. Run "
        "wholesight calibrate again."
        if detector.is_comparable
        else f"No p-value: {detector.recipe.name} scales the map of every slice by itself, so that "
        "scans cannot be compared. A recipe whose map is not scaled slice by slice gives one.",
    )


def _seen(detector: Detector, case: Case, image: Volume) -> Iterator[dict[str, str]]:
    """Say of a scan that is no new one to the model that its figures are not those of a new one."""
    served = detector.served(case.subject, voxels_sha256(image))
    if served:
        yield _note(
            SEEN,
            f"This scan, or another one of subject {case.subject}, served the {served} of this "
            "model: mask and p-value are not as they would be for a new subject, and nothing that "
            "is promised holds for it.",
        )


def _unlike(found: Likeness) -> Iterator[dict[str, str]]:
    """Say of a scan that is none of the kind the model knows what is odd about it."""
    if found.verdict == "fail":
        yield _note(
            "N_UNLIKE",
            f"qc: fail. The scan is unlike those of the training (distance {found.distance:.1f}, p "
            f"{found.p_value:.2g}), most by {found.oddest}, {_by(found.deviation)}. Do not believe "
            "map and mask: is it the same part of the body, the same modality, prepared in the "
            "same way?",
        )


def _by(deviation: float | None) -> str:
    """Say by how many spreads a figure is off, and to which side.

    >>> _by(-3.21)
    '3.2 spreads below the usual'
    """
    off = deviation or 0.0
    return f"{abs(off):.1f} spreads {'below' if off < 0 else 'above'} the usual"


def _spacing(detector: Detector, found: Segmentation) -> Iterator[dict[str, str]]:
    if times_off(detector.record, found.map, resized=detector.resizes) > NOTED:
        said = sizes(detector.record, found.map)
        yield _note(
            "N_SPACING",
            f"{said[0].upper()}{said[1:]}: a slice shows more or less of a structure than the "
            "network knows, and the threshold was not set for this. Resample the scan, or train "
            "and calibrate on scans like it.",
        )


def _body(record: dict[str, Any], found: Segmentation) -> Iterator[dict[str, str]]:
    known = record.get("body_ml")
    if not known or found.body.is_noted("N_NO_SPACING"):
        return
    here = float(found.body.voxels.sum()) * found.body.voxel_mm3 / 1000
    if not known["low"] / _APART <= here <= known["high"] * _APART:
        yield _note(
            "N_BODY",
            f"The body has {here:.0f} ml, those of the training {known['low']:.0f} to "
            f"{known['high']:.0f} ml: another part of the body, or the skull is there in one and "
            "not in the other. Look at the scan, or give its body mask.",
        )


def _note(code: str, text: str) -> dict[str, str]:
    return {"code": code, "text": text}
