"""The kinds of files that scans lie in, and what is written for a scan of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.io import dicom, image2d, nifti
from wholesight.volume import Volume


class Format(NamedTuple):
    """One kind of file. To add one, write its file and a line in FORMATS.

    suffixes : how its files end, in lower case. read : (path, volume=k or None) -> Volume.
    outputs : {role: ending} of what is written for a scan of this kind. write : (volume, path,
    source); source is the scan it was made from, or the map of one. has_series : whether several
    series may lie in one place, of which read takes series=. channels : what files of this kind may
    hold beside the image itself; read takes the name of one as channel=.
    """

    suffixes: tuple[str, ...]
    read: Callable[..., Volume]
    outputs: Mapping[str, str]
    write: Callable[[Volume, Path, Path], None]
    has_series: bool = False
    channels: tuple[str, ...] = ()


def _write_nifti(volume: Volume, path: Path, source: Path) -> None:
    del source  # the volume holds its header
    nifti.write(volume, path)


def _write_picture(volume: Volume, path: Path, source: Path) -> None:
    del source  # a picture has no place in the world that it would be the source of
    image2d.write(volume, path)


# The first is what a file is taken for whose name says nothing.
FORMATS: Final[dict[str, Format]] = {
    "nifti": Format(
        nifti.SUFFIXES, nifti.read, {"anomaly": ".nii.gz", "mask": ".nii.gz"}, _write_nifti
    ),
    "dicom": Format(
        dicom.SUFFIXES,
        dicom.read,
        {"anomaly": ".dcm", "mask": ".dcm"},
        dicom.write,
        has_series=True,
    ),
    "picture": Format(
        image2d.SUFFIXES,
        image2d.read,
        {"anomaly": ".tif", "mask": ".png"},
        _write_picture,
        channels=image2d.CHANNELS,
    ),
}
SUFFIXES: Final = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)
ROLES: Final = ("anomaly", "mask")


def format_of(path: Path) -> Format:
    """Return the kind of file that a name stands for; of a name that says nothing, its content.

    A folder with DICOM files is one scan.
    """
    name = path.name.lower()
    fitting = (each for each in FORMATS.values() if name.endswith(each.suffixes))
    found = None if path.is_dir() else next(fitting, None)
    return found or FORMATS["dicom" if dicom.is_dicom(path) else "nifti"]


def is_image(path: Path) -> bool:
    """Whether a file is called like one that can be read, or a folder is a scan; not hidden."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return dicom.is_dicom(path)
    return path.name.lower().endswith(SUFFIXES)


def images_among(paths: Iterable[Path]) -> list[Path]:
    """Return those that are images, sorted; pictures beside volumes are previews of them."""
    images = sorted(path for path in paths if is_image(path))
    return [path for path in images if not is_picture(path)] or images


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture: one slice without a place in the world."""
    return path.name.lower().endswith(FORMATS["picture"].suffixes)


def stem(path: Path) -> str:
    """Return the file's name without the ending of its format; of a folder its name.

    >>> stem(Path("a/case7_flair.nii.gz")), stem(Path("b/Case8.NII"))
    ('case7_flair', 'Case8')
    """
    if path.is_dir():
        return Path(os.path.normpath(path.absolute())).name
    ends = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[: len(path.name) - max(map(len, ends), default=0)]


def output_names(stem: str, source: Path) -> dict[str, str]:
    """Return {role: file name} of what is written for a scan that lies in `source`."""
    return {role: f"{stem}_{role}{end}" for role, end in format_of(source).outputs.items()}
