"""A mask as DICOM Segmentation (BINARY), a map as Parametric Map (float32).

Both lie on the slices of their source and reference them; patient and study are the source's, as
DICOM requires of what is derived from an image. Both say in words, and the map in its coded
qualification too, that they are for research use only. What is written depends on voxels and source
alone: UIDs are hashes of both, dates those of the source. Runs in the child process alone.

Axes: k slices, r rows, c columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import highdicom as hd
import numpy as np
from jaxtyping import Bool, Float32
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM, format_number_as_ds

from wholesight import __version__
from wholesight.io.dicom_instance import guarded, load

_LABEL: Final = "anomaly"
_MAP: Final = "Anomaly map, research use only"
_MASK: Final = "Anomaly mask, research use only"
_SERIES: Final = {_MAP: 9001, _MASK: 9002}
_MAKER: Final = "wholesight"

# What highdicom copies and cannot do without. Anonymised files often lack some of it.
_COPIED: Final = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_DATES: Final = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
_TIMES: Final = ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime")


class Source(NamedTuple):
    """What a volume lies on. images : one a slice in the order of k, or one of many frames.

    frames : for every k which frame of it. between_mm : from slice to slice.
    """

    images: list[Dataset]
    frames: list[int]
    between_mm: float


def write(
    voxels: Bool[np.ndarray, "k r c"] | Float32[np.ndarray, "k r c"],
    slices: Sequence[tuple[Path, int]],
    between_mm: float,
    path: Path,
) -> None:
    """Write a mask (bool) or a map (float32) of these slices, in the order of k."""
    source = _source(slices, between_mm)
    make = _mask if voxels.dtype == bool else _map
    if len(source.images) == 1:  # frames lie in the file in an order of their own
        voxels = voxels[np.argsort(source.frames)]
    made = make(voxels, source)
    _settle(made)
    made.save_as(path)


def _settle(made: Dataset) -> None:
    """Take out the time of writing and what is drawn at random: same input, same bytes."""
    del made.InstanceCreationDate, made.InstanceCreationTime
    for equipment in made.ContributingEquipmentSequence:
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime
    organisation = _uid("dimensions", made.SOPInstanceUID)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation


def _source(slices: Sequence[tuple[Path, int]], between_mm: float) -> Source:
    """Read the headers, and put what is missing in them."""
    files = list(dict.fromkeys(path for path, _ in slices))
    images = []
    for at, path in enumerate(files):
        with guarded(files, at):
            images.append(load(path, pixels=False))
    for image in images:
        for name in _COPIED:
            if not _is_legal(image, name):
                setattr(image, name, "")
        if not image.get("FrameOfReferenceUID"):
            image.FrameOfReferenceUID = _uid("frame", image.SeriesInstanceUID)
        if image.get("SliceThickness") is None:
            image.SliceThickness = format_number_as_ds(between_mm)
    return Source(images, [frame for _, frame in slices], between_mm)


def _is_legal(image: Dataset, name: str) -> bool:
    """Whether a value is there and what its type allows; highdicom refuses others."""
    value = str(image.get(name) or "")
    try:
        if name.endswith("Date"):
            DA(value)
        elif name.endswith("Time"):
            TM(value)
    except ValueError:
        return False
    return name in image and (name != "PatientSex" or value in ("", "F", "M", "O"))


def _mask(voxels: Bool[np.ndarray, "k r c"], source: Source) -> Dataset:
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=_MASK,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.MorphologicallyAbnormalStructure,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_MAKER, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
    )
    return hd.seg.Segmentation(
        pixel_array=voxels.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        omit_empty_frames=False,  # a slice that is left out could not be told from one that is lost
        **_common(_MASK, voxels, source),
    )


def _map(voxels: Float32[np.ndarray, "k r c"], source: Source) -> Dataset:
    low, high = float(voxels.min()), float(voxels.max())
    meaning = hd.pm.RealWorldValueMapping(
        lut_label=_LABEL,
        lut_explanation="Higher is odder, 0 is outside the body; research use only",
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    # A window over all values, so that a viewer shows the whole map; the exact function, as another
    # may not be narrower than 1.
    width = max(high - low, 1e-6)
    window = hd.VOILUTTransformation(
        window_center=_short(low + width / 2),
        window_width=_short(width),
        voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
    )
    made = hd.pm.ParametricMap(
        pixel_array=voxels,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning],
        voi_lut_transformations=[window],
        content_qualification=hd.ContentQualificationValues.RESEARCH,
        **_common(_MAP, voxels, source),
    )
    # Left or right must be told, if only as unknown, unless the part of the body has no sides.
    first = source.images[0]
    part, side = first.get("BodyPartExamined"), first.get("Laterality")
    if part:
        made.BodyPartExamined = part
    if side or not part:
        made.Laterality = side or ""
    return made


def _short(value: float) -> float:
    """Return a value that fits into the 16 characters of a decimal string."""
    return float(f"{value:.6g}")


def _common(role: str, voxels: np.ndarray, source: Source) -> dict[str, Any]:
    first = source.images[0]
    instances = "".join(str(image.SOPInstanceUID) for image in source.images)
    content = hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest()
    date, time = _when(first)
    return {
        "source_images": source.images,
        "series_instance_uid": _uid(role, first.SeriesInstanceUID),
        "series_number": _SERIES[role],
        "series_description": role,
        "sop_instance_uid": _uid(role, instances, content),
        "instance_number": 1,
        "manufacturer": _MAKER,
        "manufacturer_model_name": _MAKER,
        "software_versions": __version__,
        "device_serial_number": "none",
        "content_label": _LABEL.upper(),
        "content_description": role,
        "content_date": date,
        "content_time": time,
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=_spacing(first),
            slice_thickness=_short(source.between_mm),
            spacing_between_slices=_short(source.between_mm),
        ),
    }


def _spacing(image: Dataset) -> Sequence[float]:
    if "PixelSpacing" in image:
        return image.PixelSpacing
    shared = image.get("SharedFunctionalGroupsSequence") or [Dataset()]
    own = image.PerFrameFunctionalGroupsSequence
    groups = next(each for each in (shared[0], own[0]) if "PixelMeasuresSequence" in each)
    return groups.PixelMeasuresSequence[0].PixelSpacing


def _when(image: Dataset) -> tuple[str | None, str | None]:
    """Return a date and a time of the source, None where it has none: then it is now."""
    found = [
        next((str(image[name].value) for name in names if image.get(name)), None)
        for names in (_DATES, _TIMES)
    ]
    date, time = found
    return (date, time or "000000") if date else (None, None)


def _uid(*parts: object) -> str:
    """Return a UID that is a function of the parts."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"
