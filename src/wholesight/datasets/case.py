"""A case: one image on disk with what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from wholesight.errors import InputError
from wholesight.io.formats import format_of
from wholesight.io.reading import read_channel, read_image, read_mask
from wholesight.prep.grid import difference
from wholesight.prep.orient import axial_axis
from wholesight.volume import Scan, Volume


@dataclass(frozen=True)
class Case:
    """One image and its masks; nothing is read before `read`.

    Attributes
    ----------
    id : unique in its data set; names the outputs.
    subject : whose image it is. Splits are made of subjects.
    image : the scan.
    mask : what is abnormal in it (the truth), or None when no file says so.
    normal : whether nothing in it is known to be abnormal, so that it needs no mask.
    inside : its body mask, or None when it is to be found from the image.
    split : train, calibration, validation, test, or None.
    site : where it was acquired, or None.
    volume : which one of a series of volumes in one file, counted from 0; None where it holds one.
    series : which one of several DICOM series in one folder, by its UID or mark, or None.
    modalities : (name, file) of every image of the case, where its data set names them; a recipe's
        channels are among them.
    slices : the first and the last axial slice, counted from 0 along the file's axial axis, of
        those that are read; None reads all.
    """

    id: str
    subject: str
    image: Path
    mask: Path | None = None
    inside: Path | None = None
    split: str | None = None
    site: str | None = None
    volume: int | None = None
    series: str | None = None
    modalities: tuple[tuple[str, Path], ...] = ()
    slices: tuple[int, int] | None = None
    normal: bool = False

    @property
    def has_truth(self) -> bool:
        """Whether it is known what in it is abnormal, be it nothing."""
        return self.normal or self.mask is not None

    def read(self) -> Scan:
        """Read the image and its masks.

        Raises InputError when a file cannot be used, with code E_GRID when a mask does not lie on
        the image's grid, and E_SLICES when the image has fewer axial slices than are to be read.
        """
        scan, faults = self.attempt()
        if scan is None:
            raise faults[0]
        return scan

    def attempt(self) -> tuple[Scan | None, list[InputError]]:
        """Read every file of the case and list all that is wrong; no scan when anything is."""
        faults: list[InputError] = []
        image = _attempt(
            partial(read_image, volume=self.volume, series=self.series), self.image, faults
        )
        mask = _attempt(read_mask, self.mask, faults)
        inside = _attempt(read_mask, self.inside, faults)
        for role, part, path in (("mask", mask, self.mask), ("body mask", inside, self.inside)):
            if image and part and not part.same_grid(image):
                faults.append(_other_grid(role, part, path, image))
        if inside and not inside.voxels.any():
            faults.append(
                InputError(
                    f"{self.inside}: this body mask marks no voxel. "
                    "Leave it out, and the body is found from the image.",
                    code="E_EMPTY",
                )
            )
        if image and self.slices and self.slices[1] >= image.shape[axial_axis(image.affine)]:
            faults.append(_too_few(image, self.image, self.slices))
        if image is None or faults:
            return None, faults
        if self.normal and mask is None:
            mask = image.like(np.zeros(image.shape, bool))
        return Scan(
            image=part_of(image, self.slices),
            inside=inside and part_of(inside, self.slices),
            abnormal=mask and part_of(mask, self.slices),
            channels=_Channels(self),
        ), []


class _Channels(Mapping[str, Volume]):
    """What a case shows beside the image, in its file or in others; read once it is asked for."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.files = dict(case.modalities)
        self.within = format_of(case.image).channels
        self.known: dict[str, Volume] = {}

    def __getitem__(self, name: str) -> Volume:
        if name not in self.known:
            self.known[name] = self._read(name)
        return self.known[name]

    def _read(self, name: str) -> Volume:
        case = self.case
        if self.files.get(name) == case.image:
            found = read_image(case.image, volume=case.volume, series=case.series)
        elif name in self.files:
            found = read_image(self.files[name])
        elif name in self.within:
            found = read_channel(self.case.image, name, volume=self.case.volume)
        else:
            raise KeyError(name)
        return part_of(found, self.case.slices)

    def __iter__(self) -> Iterator[str]:
        return iter((*self.files, *self.within))

    def __len__(self) -> int:
        return len(self.files) + len(self.within)


def part_of(volume: Volume, slices: tuple[int, int] | None) -> Volume:
    """Return the axial slices from first to last, all without any; voxels keep their place."""
    if slices is None:
        return volume
    axis, (first, last) = axial_axis(volume.affine), slices
    affine = volume.affine.copy()
    affine[:3, 3] += first * affine[:3, axis]

    def cut(voxels: np.ndarray) -> np.ndarray:
        return np.take(voxels, range(first, last + 1), axis)

    # The header speaks of the whole image.
    return Volume(
        cut(volume.voxels),
        affine,
        volume.name,
        notes=volume.notes,
        holes=None if volume.holes is None else cut(volume.holes),
    )


def _attempt(
    reader: Callable[[Path], Volume], path: Path | None, faults: list[InputError]
) -> Volume | None:
    if path is None:
        return None
    try:
        return reader(path)
    except InputError as fault:
        faults.append(fault)
        return None


def _other_grid(role: str, part: Volume, path: Path | None, image: Volume) -> InputError:
    return InputError(
        f"{path}: {role} {difference(part, image)}. "
        "Resample the mask onto the image's grid first (nearest neighbour).",
        code="E_GRID",
    )


def _too_few(image: Volume, path: Path, slices: tuple[int, int]) -> InputError:
    there = image.shape[axial_axis(image.affine)]
    return InputError(
        f"{path}: has {there} axial slices, and {slices[0]} to {slices[1]} (counted from 0) are to "
        "be read. Use the image on its original grid, or name other slices.",
        code="E_SLICES",
    )
