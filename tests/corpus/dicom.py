"""DICOM series that are incomplete, mixed, damaged, or no volume."""

from __future__ import annotations

from pathlib import Path

from pydicom import uid
from pydicom.encaps import encapsulate

import dicom_made as made
from corpus.bad import Corpus

DICOM = Corpus()


def saved(folder: Path, slices: list) -> Path:
    return made.save(slices, folder / "series")


@DICOM("OK")
def whole_series(folder: Path) -> Path:
    return saved(folder, made.slices())


@DICOM("OK")
def tilted_gantry(folder: Path) -> Path:
    return saved(folder, made.slices(step=(0, 0.6, 3.0)))


@DICOM("E_GAP")
def missing_slice(folder: Path) -> Path:
    slices = made.slices()
    del slices[4]
    return saved(folder, slices)


@DICOM("N_DUPLICATE_SLICE")
def exact_duplicate(folder: Path) -> Path:
    again = made.slices()[3]
    again.SOPInstanceUID += ".1"
    return saved(folder, [*made.slices(), again])


@DICOM("E_SAME_PLACE")
def other_slice_at_the_same_place(folder: Path) -> Path:
    again = made.slices()[3]
    again.RescaleSlope, again.RescaleIntercept = 2, 0
    return saved(folder, [*made.slices(), again])


@DICOM("E_SPACING")
def uneven_spacing(folder: Path) -> Path:
    slices = made.slices()
    for each in slices[5:]:
        x, y, z = each.ImagePositionPatient
        each.ImagePositionPatient = [x, y, float(z) + 1]
    return saved(folder, slices)


@DICOM("N_SERIES")
def localiser_mixed_in(folder: Path) -> Path:
    localiser = made.slices(series=2, orientation=made.SAGITTAL)[:1]
    return saved(folder, [*made.slices(), *localiser])


@DICOM("E_SERIES")
def two_series_in_one_folder(folder: Path) -> Path:
    return saved(folder, [*made.slices(), *made.slices(series=2)])


@DICOM("E_MIXED")
def mixed_matrix_sizes(folder: Path) -> Path:
    slices = made.slices()
    slices[4] = made.slices(made.some_voxels((10, 8, 16)))[4]
    return saved(folder, slices)


@DICOM("E_TRUNCATED")
def truncated_slice(folder: Path) -> Path:
    series = saved(folder, made.slices())
    victim = sorted(series.iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:-100])
    return series


@DICOM("E_TRUNCATED")
def empty_slice(folder: Path) -> Path:
    series = saved(folder, made.slices())
    sorted(series.iterdir())[3].write_bytes(b"")
    return series


@DICOM("E_ONE_SLICE")
def single_slice(folder: Path) -> Path:
    return saved(folder, made.slices()[:1])


@DICOM("E_SOP_CLASS")
def screen_save(folder: Path) -> Path:
    return saved(folder, made.slices(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]))


@DICOM("E_SOP_CLASS")
def secondary_capture(folder: Path) -> Path:
    return saved(folder, made.slices(SOPClassUID=uid.SecondaryCaptureImageStorage))


@DICOM("E_AFFINE")
def slices_without_a_place(folder: Path) -> Path:
    slices = made.slices()
    for each in slices:
        del each.ImagePositionPatient
    return saved(folder, slices)


@DICOM("E_SYNTAX")
def unreadable_compression(folder: Path) -> Path:
    slices = made.slices()
    for each in slices:
        each.PixelData = encapsulate([b"\xff\x4f" + bytes(30)])
        each["PixelData"].is_undefined_length = True
        each.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    return saved(folder, slices)


@DICOM("E_DTYPE")
def colour_slices(folder: Path) -> Path:
    return saved(folder, made.slices(PhotometricInterpretation="RGB", SamplesPerPixel=3))


@DICOM("E_FORMAT")
def text_called_dcm(folder: Path) -> Path:
    series = saved(folder, made.slices())
    (series / "notes.dcm").write_text("not a slice " * 40)
    return series
