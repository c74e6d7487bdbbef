"""One DICOM file, parsed and judged by itself: its slices, or why it has none.

Runs in the child process alone (`wholesight.io.dicom_child`), since what is parsed here may be
damaged or made to do harm. No text of a file reaches a message: it could be a name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydicom import Dataset, dcmread, uid
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder

from wholesight.errors import InputError
from wholesight.io.dicom import mark
from wholesight.io.dicom_stack import Plane
from wholesight.io.verdict import Verdict

# One slice a file.
_SINGLE: Final = {
    uid.CTImageStorage,
    uid.MRImageStorage,
    uid.PositronEmissionTomographyImageStorage,
}
# Many slices a file, each with its place.
_MULTIPLE: Final = {
    uid.EnhancedCTImageStorage,
    uid.EnhancedMRImageStorage,
    uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    uid.ParametricMapStorage,
    uid.SegmentationStorage,
}
# Words of ImageType that stand for a picture of something rather than a slice of it.
_PICTURES: Final = {
    "MOSAIC": "holds many slices as one picture (mosaic)",
    "SCREEN SAVE": "is a picture of a screen",
    "LOCALIZER": "is a localiser",
}
_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# Bytes that a deflated file may come to; a slice has one, a whole enhanced series some hundred.
DEFLATED_BYTES: Final = 512 * 1024**2
_DEFER_BYTES: Final = 4096  # longer values stay on the disk when only the header is wanted
_CHUNK: Final = 1 << 20
_HEAD_BYTES: Final = 144  # preamble, DICM, and how long the group is that follows


class Slice(NamedTuple):
    """One slice. file : which file, by its place in the list. frame : which one in it, from 0."""

    file: int
    frame: int
    plane: Plane


class Instance(NamedTuple):
    """What a file holds. number : of its series, for a message. unfit : why it has no slices."""

    series: str
    number: str
    slices: tuple[Slice, ...]
    unfit: Verdict | None


def parse(files: Sequence[Path], file: int) -> Instance:
    """Read the header of one of the files. Raises InputError, without a path, for a damaged one."""
    with guarded(files, file):
        return _parse(files[file], file)


@contextmanager
def guarded(files: Sequence[Path], file: int) -> Iterator[None]:
    """Refuse a file of which pydicom or a codec makes nothing, and say which of them it is.

    By its number, as its name may be that of a person.
    """
    where = f"file {file + 1} of {len(files)} by name: " if len(files) > 1 else ""
    try:
        yield
    except InputError as fault:
        raise InputError(f"{where}{fault}", code=fault.code) from fault
    except MemoryError:
        raise
    except OSError as fault:
        text = f"{where}cannot be read ({fault.strerror}). Check its permissions."
        raise InputError(text, code="E_READ") from fault
    except RecursionError as fault:
        text = f"{where}its parts are nested deeper than any scanner nests them."
        raise InputError(f"{text} Is it what it claims?", code="E_FORMAT") from fault
    except Exception as fault:
        text = f"{where}damaged, so that it cannot be read ({type(fault).__name__})."
        raise InputError(f"{text} Copy or export it again.", code="E_FORMAT") from fault


def _parse(path: Path, file: int) -> Instance:
    header = load(path, pixels=False)
    # Of the two places where it stands the first: of a file that is cut off the other may be, too.
    kind = header.file_meta.MediaStorageSOPClassUID
    series = str(header.get("SeriesInstanceUID") or "")
    number = str(header.get("SeriesNumber") or "?")
    # Before anything else is asked of an image: of one that is cut off all of the header may be
    # missing, and taken for another kind of object it would be left out without a word.
    if kind in _SINGLE | _MULTIPLE:
        _require_pixels(header, path)
    unfit = next(_no_slices(header, kind), None)
    if unfit is not None:
        return Instance(series, number, (), unfit)
    if not (series and header.get("SOPInstanceUID") and header.get("StudyInstanceUID")):
        raise InputError("has no UID of its study, series or instance.", code="E_FORMAT")
    frames = frames_of(header) if kind in _MULTIPLE else [header]
    planes = [_plane(frame, header) for frame in frames]
    if not all(plane is not None and plane.is_sound() for plane in planes):
        unfit = Verdict(
            "E_AFFINE",
            "its slices have no place in space (position, orientation or pixel spacing).",
            "Export the series again, as images of the scanner.",
        )
        return Instance(series, number, (), unfit)
    slices = (Slice(file, frame, plane) for frame, plane in enumerate(planes) if plane)
    return Instance(series, number, tuple(slices), None)


def load(path: Path, *, pixels: bool) -> Dataset:
    """Read a file; without pixels long values stay on the disk. Raises InputError when too large.

    No warning of pydicom's is an error: real files are full of small faults.
    """
    meta = read_file_meta_info(path)
    start = _HEAD_BYTES + int(meta.FileMetaInformationGroupLength)
    if path.stat().st_size <= start:
        raise cut_off()
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        _refuse_bomb(path, start)
        return dcmread(path)
    return dcmread(path) if pixels else dcmread(path, defer_size=_DEFER_BYTES)


def _refuse_bomb(path: Path, start: int) -> None:
    """Decompress a deflated file bit by bit, keeping nothing, and refuse one that gets large."""
    stream, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(start)
        waiting = file.read(_CHUNK)
        while waiting and not stream.eof:
            size += len(stream.decompress(waiting, _CHUNK))
            if size > DEFLATED_BYTES:
                raise InputError(
                    f"decompresses to more than {DEFLATED_BYTES >> 20} MB. Is it what it claims?",
                    code="E_TOO_LARGE",
                )
            waiting = stream.unconsumed_tail or file.read(_CHUNK)
    if not stream.eof:
        raise cut_off()


def cut_off() -> InputError:
    """Say that a file ends too early."""
    return InputError("is cut off: pixels are missing. Copy it again.", code="E_TRUNCATED")


# ---------------------------------------------------------------- what is no slice of a volume


def _no_slices(header: Dataset, kind: uid.UID) -> Iterator[Verdict]:
    """Yield why an object is none whose slices are read."""
    if kind not in _SINGLE | _MULTIPLE:
        # A private class has no name but its UID.
        name = kind.name if kind.name != kind else "an unknown kind of object"
        yield Verdict(
            "E_SOP_CLASS",
            f"is {name}, which is no slice of a volume.",
            "Images of MR, CT and PET are read, classic and enhanced.",
        )
        return
    words = {str(word).upper() for word in header.get("ImageType") or ()}
    for word, what in _PICTURES.items():
        if word in words:
            yield Verdict("E_SOP_CLASS", f"{what}.", "Export the series that it was made from.")
    if kind == uid.SegmentationStorage and not _one_binary_segment(header):
        yield Verdict(
            "E_SOP_CLASS",
            "is a segmentation of several segments, or not a binary one.",
            "One binary segment a file is read.",
        )
    photometric = header.get("PhotometricInterpretation")
    if header.get("SamplesPerPixel") != 1 or photometric != "MONOCHROME2":
        yield Verdict(
            "E_DTYPE",
            "its pixels are colours, or stored with black and white exchanged.",
            "Export it with one value a pixel (MONOCHROME2).",
        )
    yield from _unreadable_syntax(header.file_meta.TransferSyntaxUID)


def _one_binary_segment(header: Dataset) -> bool:
    segments = header.get("SegmentSequence") or ()
    return header.get("SegmentationType") == "BINARY" and len(segments) == 1


def _unreadable_syntax(syntax: uid.UID) -> Iterator[Verdict]:
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        yield Verdict(
            "E_SYNTAX",
            f"its pixels are compressed as {syntax.name} ({syntax}), which no installed codec "
            "reads.",
            "Install those of the extra, pip install 'wholesight[dicom]' (and for HTJ2K "
            "pylibjpeg-openjpeg), or decompress the series first, as by gdcmconv --raw.",
        )


def _require_pixels(header: Dataset, path: Path) -> None:
    """Refuse an image without pixels, or with fewer than its own length says."""
    name = next((name for name in _PIXELS if name in header), None)
    if name is None:
        raise cut_off()
    if header.file_meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian:
        return
    element: Any = header.get_item(name, keep_deferred=True)
    # Of compressed pixels the length is not known beforehand; without their end they are not there.
    known = element.is_raw and element.length != 0xFFFFFFFF
    if known and element.value_tell + element.length > path.stat().st_size:
        raise cut_off()


# ---------------------------------------------------------------- where slices lie


def frames_of(header: Dataset) -> list[Dataset]:
    """Return for every frame what holds for it, by itself or for all, in one flat data set."""
    shared = _flat((header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(own) != int(header.get("NumberOfFrames") or 0):
        raise InputError("has another number of frames than it describes.", code="E_FORMAT")
    frames = []
    for each in own:
        frame = Dataset()
        frame.update(shared)
        frame.update(_flat(each))
        frames.append(frame)
    return frames


_GROUPS: Final = ("PixelMeasures", "PlaneOrientation", "PlanePosition", "PixelValueTransformation")


def _flat(groups: Dataset) -> Dataset:
    flat = Dataset()
    for name in _GROUPS:
        for item in groups.get(f"{name}Sequence") or ():
            flat.update(item)
    return flat


def _plane(frame: Dataset, header: Dataset) -> Plane | None:
    values = [frame.get(f"Image{what}Patient") for what in ("Position", "Orientation")]
    values.append(frame.get("PixelSpacing"))
    if any(value is None for value in values):
        return None
    position, orientation, spacing = (tuple(map(float, value)) for value in values)
    size = int(header.Rows), int(header.Columns)
    reference = str(header.get("FrameOfReferenceUID") or "")
    return Plane(position, orientation, spacing, size, reference and mark(reference))
