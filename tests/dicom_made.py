"""DICOM series made with pydicom, slice by slice, for tests."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset

from wholesight.errors import InputError
from wholesight.io import dicom

ROOT = "1.2.826.0.1.3680043.8.498."
STUDY = ROOT + "1"
AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
# What must never be seen outside a DICOM object.
NAME, PATIENT = "Ignotus^Persona", "MRN-4711"


def some_voxels(shape: tuple[int, int, int] = (10, 16, 16)) -> np.ndarray:
    """(k, r, c) whole numbers, none of them 0."""
    return np.random.default_rng(7).integers(1, 4000, shape).astype(np.int16)


def slices(
    voxels: np.ndarray | None = None,
    *,
    series: int = 1,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-20.5, -30.25, 12.0),
    step: Sequence[float] | None = None,
    spacing: tuple[float, float] = (1.25, 0.75),
    **fields: Any,
) -> list[Dataset]:
    """Return one MR instance a slice, in order; step : from slice to slice, LPS mm."""
    stored = some_voxels() if voxels is None else voxels
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = 3.0 * np.cross(row, column) if step is None else np.array(step)
    made = []
    for k, frame in enumerate(stored):
        each = _patient_and_study()
        each.SeriesInstanceUID = f"{ROOT}2.{series}"
        each.SOPInstanceUID = f"{ROOT}3.{series}.{k + 1}"
        each.SeriesNumber, each.InstanceNumber = series, k + 1
        each.ImageOrientationPatient = [_ds(cosine) for cosine in orientation]
        each.ImagePositionPatient = [_ds(mm) for mm in np.array(origin) + k * step]
        each.PixelSpacing = list(spacing)
        each.SliceThickness = 17  # of no use, on purpose
        put_pixels(each, frame)
        for name, value in fields.items():
            setattr(each, name, value)
        each.file_meta.MediaStorageSOPClassUID = each.SOPClassUID
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
        made.append(each)
    return made


def _ds(value: float) -> str:
    return f"{value:.10g}"[:16]


def _patient_and_study() -> Dataset:
    each = Dataset()
    each.file_meta = FileMetaDataset()
    each.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    each.SOPClassUID = uid.MRImageStorage
    each.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    each.PatientName, each.PatientID = NAME, PATIENT
    each.PatientBirthDate, each.PatientSex = "19340512", "F"
    each.StudyInstanceUID, each.StudyID, each.AccessionNumber = STUDY, "1", "77"
    each.StudyDate, each.StudyTime = "20200102", "101112"
    each.SeriesDate, each.SeriesTime = "20200102", "101500"
    each.ContentDate, each.ContentTime = "20200102", "101600"
    each.ReferringPhysicianName = ""
    each.Modality, each.Manufacturer = "MR", "Maker"
    each.ScanningSequence, each.SequenceVariant, each.ScanOptions = "SE", "NONE", ""
    each.MRAcquisitionType, each.Laterality = "2D", ""
    each.EchoTime, each.RepetitionTime, each.EchoTrainLength = 90, 3000, 1
    each.FrameOfReferenceUID = ROOT + "9"
    each.PositionReferenceIndicator = ""
    each.PatientPosition = "HFS"
    return each


def put_pixels(each: Dataset, frame: np.ndarray) -> None:
    """Store (r, c) or (n, r, c) whole numbers of two bytes."""
    each.Rows, each.Columns = frame.shape[-2:]
    each.SamplesPerPixel, each.PhotometricInterpretation = 1, "MONOCHROME2"
    each.BitsAllocated = each.BitsStored = 16
    each.HighBit = 15
    each.PixelRepresentation = int(frame.dtype.kind == "i")
    each.PixelData = frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def enhanced(source: Sequence[Dataset], order: Sequence[int] | None = None) -> Dataset:
    """Return one Enhanced MR instance of the slices, its frames in this order."""
    order = range(len(source)) if order is None else order
    chosen = [source[k] for k in order]
    whole = _patient_and_study()
    whole.SOPClassUID = uid.EnhancedMRImageStorage
    whole.SeriesInstanceUID, whole.SeriesNumber = source[0].SeriesInstanceUID + ".5", 5
    whole.SOPInstanceUID, whole.InstanceNumber = ROOT + "4.1", 1
    put_pixels(whole, np.stack([each.pixel_array for each in chosen]))
    whole.NumberOfFrames = len(chosen)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_with(PixelSpacing=source[0].PixelSpacing, SliceThickness=17)]
    shared.PlaneOrientationSequence = [
        _with(ImageOrientationPatient=source[0].ImageOrientationPatient)
    ]
    whole.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for at, each in enumerate(chosen):
        frame = Dataset()
        frame.PlanePositionSequence = [_with(ImagePositionPatient=each.ImagePositionPatient)]
        scale = _with(RescaleSlope=at + 1, RescaleIntercept=-at, RescaleType="US")
        frame.PixelValueTransformationSequence = [scale]
        frames.append(frame)
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    return whole


def _with(**fields: Any) -> Dataset:
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def save(instances: Iterable[Dataset], folder: Path, *, suffix: str = ".dcm") -> Path:
    """Write instances as files of a folder, named against their order; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    there = len(list(folder.iterdir()))
    for number, each in enumerate(instances):
        # The last slice gets the first name: names say nothing about places.
        each.save_as(folder / f"IM{900 - there - number:04d}{suffix}", enforce_file_format=True)
    return folder


def refused(path: Path, code: str, **options: Any) -> str:
    """Expect the refusal, and return its message, in which nobody is named."""
    with pytest.raises(InputError) as caught:
        dicom.read(path, **options)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert message.startswith(f"{path}: ")
    assert len(message) > len(str(path)) + 20
    for secret in (NAME, PATIENT, ROOT, "IM0"):
        assert secret not in message.removeprefix(str(path))
    return message


def work_here(folder: Path, path: Path) -> dict[str, Any]:
    """Do in this process what `dicom._run` has another do, which saves the time to start it."""
    from wholesight.io import dicom_child

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the process, where nobody hears them
        told = dicom_child.work(json.loads((folder / "task.json").read_bytes()), folder)
    return json.loads(json.dumps(told))
