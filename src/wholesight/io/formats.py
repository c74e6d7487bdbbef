"""The kinds of files that scans lie in, and what is written for a scan of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.io import image2d, nifti
from wholesight.volume import Volume


class Format(NamedTuple):
    """One kind of file. To add one, write its file and a line in FORMATS.

    suffixes : how its files end, in lower case. read : (path, volume=k or None) -> Volume.
    outputs : {role: ending} of what is written for a scan of this kind. write : (volume, path,
    source); source is the scan it was made from, or the map of one. channels : what files of this
    kind may hold beside the image itself; read takes the name of one as channel=.
    """

    suffixes: tuple[str, ...]
    read: Callable[..., Volume]
    outputs: Mapping[str, str]
    write: Callable[[Volume, Path, Path], None]
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
    "picture": Format(
        image2d.SUFFIXES,
        image2d.read,
        {"anomaly": ".tif", "mask": ".png"},
        _write_picture,
        image2d.CHANNELS,
    ),
}
SUFFIXES: Final = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)
ROLES: Final = ("anomaly", "mask")


def format_of(path: Path) -> Format:
    """Return the kind of file that a name stands for."""
    name = path.name.lower()
    fitting = (each for each in FORMATS.values() if name.endswith(each.suffixes))
    return next(fitting, FORMATS["nifti"])


def is_image(path: Path) -> bool:
    """Whether a file is called like one that can be read, and not hidden."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture: one slice without a place in the world."""
    return path.name.lower().endswith(FORMATS["picture"].suffixes)


def stem(path: Path) -> str:
    """Return the file's name without the ending of its format.

    >>> stem(Path("a/case7_flair.nii.gz")), stem(Path("b/Case8.NII"))
    ('case7_flair', 'Case8')
    """
    ends = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[: len(path.name) - max(map(len, ends), default=0)]


def output_names(stem: str, source: Path) -> dict[str, str]:
    """Return {role: file name} of what is written for a scan that lies in `source`."""
    return {role: f"{stem}_{role}{end}" for role, end in format_of(source).outputs.items()}
