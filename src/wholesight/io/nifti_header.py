"""What a NIfTI header says, and whether it can be: small checks, and a table of what they decide.

nibabel parses; the checks are those that it does not make, or makes without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from wholesight.io.verdict import Verdict

IMAGE_CLASSES: Final = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
LONGEST: Final = max(IMAGE_CLASSES)
_MAGIC: Final = {348: (344, b"n+1"), 540: (4, b"n+2")}

_FLOAT32_BYTES: Final = 4
_CONVERT: Final = "Convert the scan again from its source."

# nibabel tells of the repairs it makes to a header's spacing; they are verdicts here.
_SILENT: Final = logging.Logger("wholesight.nibabel")
_SILENT.addHandler(logging.NullHandler())


def parse(start: bytes | bytearray) -> Nifti1Header | Verdict:
    """Read a header from a file's first bytes, or say why there is none."""
    size = {int.from_bytes(start[:4], order): order for order in ("little", "big")}
    known = next((n for n in size if n in IMAGE_CLASSES), None)
    if known is not None and len(start) < known:
        return Verdict(
            "E_TRUNCATED",
            "the file is cut off, it ends inside its header.",
            "Copy or convert it again.",
        )
    at, magic = _MAGIC.get(known or 0, (0, b"?"))
    if known is None or start[at : at + 3] != magic:
        hint = (
            "It begins like a web page: was a login or error page downloaded in its place?"
            if start[:64].lstrip()[:1] == b"<"
            else "A pair of .hdr and .img must be joined first."
        )
        return Verdict("E_FORMAT", "not a NIfTI file (.nii or .nii.gz).", hint)
    order = "<" if size[known] == "little" else ">"
    return IMAGE_CLASSES[known].header_class(bytes(start[:known]), order, check=False)


def axes(header: Nifti1Header) -> list[int]:
    """Return the length of every axis that the header declares."""
    dims = [int(n) for n in header["dim"]]
    return dims[1 : dims[0] + 1]


def volumes(header: Nifti1Header) -> int:
    """Return how many volumes lie one after another in the file."""
    return int(np.prod(axes(header)[3:], dtype=object))


def grid(header: Nifti1Header) -> tuple[int, int, int]:
    """Return the number of voxels along i, j, k of one volume."""
    i, j, k, *_ = [*axes(header), 1, 1]
    return i, j, k


def bytes_declared(header: Nifti1Header) -> int:
    """Return how many bytes the whole file should have."""
    voxels = int(np.prod(axes(header), dtype=object))
    return voxels * header.get_data_dtype().itemsize + int(header["vox_offset"])


# ---------------------------------------------------------------- before anything is allocated


def impossible_axes(header: Nifti1Header) -> Iterator[Verdict]:
    """Axes must be 1 to 7 in number and each at least 1 long."""
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        yield Verdict(
            "E_DIMS", f"impossible dimensions {dims[1:]} in its header.", "Convert the scan again."
        )


def no_number_a_voxel(header: Nifti1Header) -> Iterator[Verdict]:
    """A voxel must be one real number."""
    try:
        kind = header.get_data_dtype().kind
        label = header.get_value_label("datatype")
    except (HeaderDataError, KeyError):
        kind, label = "V", f"<unknown code {int(header['datatype'])}>"
    if kind not in "iuf":
        yield Verdict(
            "E_DTYPE",
            f"voxels of type {label} (colour, complex or unknown) are no scan.",
            "Convert it to one number a voxel.",
        )


def too_large(header: Nifti1Header, limit_bytes: int) -> Iterator[Verdict]:
    """What is stored and one volume as float32 must fit into the limit."""
    stored = int(np.prod(axes(header), dtype=object)) * header.get_data_dtype().itemsize
    needed = stored + int(np.prod(grid(header), dtype=object)) * _FLOAT32_BYTES
    if needed > limit_bytes:
        yield beyond(f"needs {needed / 1e9:.1f} GB for its voxels ({axes(header)})", limit_bytes)


def beyond(what: str, limit_bytes: int) -> Verdict:
    """Say that something is over the limit."""
    return Verdict(
        "E_TOO_LARGE",
        f"{what}, over the limit of {limit_bytes / 1e9:.1f} GB.",
        "Crop or resample the scan first.",
    )


def voxels_start_nowhere(header: Nifti1Header, limit_bytes: int) -> Iterator[Verdict]:
    """Voxels start after the header: at an offset of 0 nibabel reads the header as voxels."""
    offset = float(header["vox_offset"])
    # The 4 bytes after the header say whether there are extensions.
    if not int(header["sizeof_hdr"]) + 4 <= offset <= limit_bytes:
        yield Verdict(
            "E_HEADER",
            f"its header says that the voxels start at byte {offset:g}, which cannot be.",
            "Convert the scan again.",
        )


# ---------------------------------------------------------------- when the whole file is there


def which_volume(header: Nifti1Header, volume: int | None) -> Iterator[Verdict]:
    """Of several volumes one must be chosen, counted from 0."""
    there = volumes(header)
    if volume is not None and not 0 <= volume < there:
        yield Verdict(
            "E_DIMS",
            f"has no volume {volume}, only {there} (counted from 0).",
            f"Choose one by --volume, 0 to {there - 1} (in cases.tsv: the column volume).",
        )
    if volume is not None or there == 1:
        return
    if sum(n > 1 for n in axes(header)[3:]) > 1:
        yield Verdict(
            "E_DIMS",
            f"has {len(axes(header))} axes ({axes(header)}), one 3-D volume is needed.",
            "Extract the one you want first.",
        )
    else:
        yield Verdict(
            "E_DIMS",
            f"holds {there} volumes ({axes(header)}), one 3-D volume is needed.",
            f"Choose one by --volume, 0 to {there - 1} (in cases.tsv: the column volume).",
        )


def scaled_by_no_number(header: Nifti1Header) -> Iterator[Verdict]:
    """A scale of 0 is none (NIfTI); one that is not finite is taken as none, too, with a note."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope):
        yield Verdict(
            "N_SCALE",
            f"its header scales by {slope}, so that values are taken as they are stored.",
            "Check that they are what you expect.",
        )
    elif slope != 0 and not np.isfinite(inter):
        yield Verdict(
            "E_SCALE",
            f"its header scales by {slope:g} but adds {inter}.",
            "Convert the scan again.",
        )


def not_in_mm(header: Nifti1Header) -> Iterator[Verdict]:
    """Lengths are taken as millimetres whatever the header says; nothing said means mm."""
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = "an unknown unit"
    if unit not in ("mm", "unknown"):
        yield Verdict(
            "N_UNITS",
            f"its header gives lengths in {unit}, which are taken as mm, as most programs do.",
            "If they are not in mm, neither are volumes in ml.",
        )


# ---------------------------------------------------------------- where the voxels lie

Form = Literal["good", "bad", "unset"]
Taken = Literal["sform", "qform", "spacing", "neither"]


class Placing(NamedTuple):
    """One row of PLACINGS: what holds of both forms, which is taken, and what to say of it.

    agree : whether both are good and place the voxels alike; None where they cannot be compared.
    """

    sform: Form
    qform: Form
    agree: bool | None
    taken: Taken
    code: str | None


# Which of the two answers to "where are the voxels" is taken. The sform goes before, as everywhere;
# what cannot be used is not taken, however its code is set. (The idea of such a table is
# niworkflows', whose ValidateImage rewrites the header; here it is left as it is.)
PLACINGS: Final = (
    Placing("good", "good", True, "sform", None),
    Placing("good", "good", False, "sform", "N_TWO_PLACES"),
    Placing("good", "bad", None, "sform", "N_QFORM"),
    Placing("good", "unset", None, "sform", None),
    Placing("bad", "good", None, "qform", "N_SFORM"),
    Placing("bad", "bad", None, "neither", "E_AFFINE"),
    Placing("bad", "unset", None, "neither", "E_AFFINE"),
    Placing("unset", "good", None, "qform", None),
    Placing("unset", "bad", None, "neither", "E_AFFINE"),
    Placing("unset", "unset", None, "spacing", "N_NO_ORIENTATION"),
)

_SAID: Final = {
    "N_TWO_PLACES": (
        "its qform and its sform place the voxels differently, by up to {apart:.3g} mm. The sform "
        "is taken.",
        "If masks lie beside what they mark, it is the wrong one.",
    ),
    "N_QFORM": (
        "its qform makes no sense. The sform is taken.",
        "Other programs may take the qform.",
    ),
    "N_SFORM": (
        "its sform makes no sense. The qform is taken.",
        "Other programs may refuse the file.",
    ),
    "N_NO_ORIENTATION": (
        "its header does not say how the voxels lie (qform and sform are not set), so left and "
        "right are unknown.",
        "Convert the scan again from its source if it matters.",
    ),
    "E_AFFINE": (
        "its header places the voxels nowhere (affine not finite or not invertible).",
        _CONVERT,
    ),
}


class Place(NamedTuple):
    """Where the voxels lie. affine : (4, 4) voxel index -> world in mm; None where nowhere."""

    affine: np.ndarray | None
    verdicts: list[Verdict]


def place(header: Nifti1Header) -> Place:
    """Decide by PLACINGS where the voxels lie."""
    mended = header.copy()
    mended.check_fix(logger=_SILENT, error_level=100)
    forms: dict[Taken, np.ndarray] = {
        "sform": np.asarray(mended.get_sform(), np.float64),
        "qform": _qform(mended),
        "spacing": np.asarray(mended.get_base_affine(), np.float64),
    }
    state: dict[str, Form] = {
        name: _form(int(header[f"{name}_code"]), forms[name]) for name in ("sform", "qform")
    }
    apart = _apart(forms["sform"], forms["qform"], grid(header))
    both = state["sform"] == state["qform"] == "good"
    agree = bool(apart < _TOLERATED * _spacing(forms["sform"]).min()) if both else None
    row = next(row for row in PLACINGS if row[:3] == (state["sform"], state["qform"], agree))
    if row.taken == "spacing" and not _invertible(forms["spacing"]):
        row = row._replace(taken="neither", code="E_AFFINE")
    verdicts = []
    if row.code:
        text, remedy = _SAID[row.code]
        verdicts.append(Verdict(row.code, text.format(apart=apart), remedy))
    if row.taken in ("qform", "spacing"):
        verdicts += _mended_spacing(header, mended)
    return Place(forms.get(row.taken), verdicts)


# Two forms agree when no corner lies further apart than this share of the smallest spacing.
_TOLERATED: Final = 0.1


def _qform(header: Nifti1Header) -> np.ndarray:
    try:
        return np.asarray(header.get_qform(), np.float64)
    except ValueError:  # a quaternion longer than 1
        return np.full((4, 4), np.nan)


def _form(code: int, affine: np.ndarray) -> Form:
    if code <= 0:
        return "unset"
    return "good" if _invertible(affine) else "bad"


def _apart(one: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Return the largest distance in mm between corresponding corners."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())


def _spacing(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _invertible(affine: np.ndarray) -> bool:
    if not np.isfinite(affine).all():
        return False
    # Against the spacing, so that a micrometre grid is as good as a millimetre one.
    with np.errstate(over="ignore"):
        volume, box = np.linalg.det(affine[:3, :3]), _spacing(affine).prod()
    return bool(np.isfinite(box) and abs(volume) > 1e-6 * box > 0)


def _mended_spacing(header: Nifti1Header, mended: Nifti1Header) -> Iterator[Verdict]:
    before, after = header["pixdim"][1:4], mended["pixdim"][1:4]
    if not np.array_equal(before, after):
        told = " x ".join(f"{float(mm):g}" for mm in before)
        taken = " x ".join(f"{float(mm):g}" for mm in after)
        yield Verdict(
            "N_SPACING_MENDED",
            f"its header has voxels of {told} mm, which is taken as {taken} mm.",
            "Volumes in ml are of that.",
        )
