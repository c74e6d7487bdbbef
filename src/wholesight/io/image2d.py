"""PNG, JPEG, BMP and TIFF pictures, read strictly; maps and masks of them written.

Pillow does the formats. Around it stand the checks it does not make: sizes before anything is
decoded, checksums, no silent change of colour, depth or orientation.

A picture is a volume of one slice: i runs to the right, j down, as the picture is displayed, which
is as it is stored unless its EXIF orientation says otherwise. The affine puts it where an axial
slice lies that is displayed in the same way, a millimetre a pixel: i to the patient's left, j to
the back.

Axes: i j k of the volume; r c rows and columns of the picture.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from wholesight.errors import InputError
from wholesight.io.files import unreadable, write_bytes
from wholesight.io.verdict import Verdict, no_file, settle
from wholesight.volume import Volume

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# What a colour picture holds beside its grey.
CHANNELS = ("red", "green", "blue")

# More is taken for a decompression bomb. Pillow's own figure, which warns where we refuse.
LIMIT_PIXELS = 89_478_485
# Of a file, 8 bytes a pixel: what the largest picture takes without compression.
LIMIT_BYTES = 8 * LIMIT_PIXELS

_PLACE: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
# How the names of each kind end, and how its bytes begin.
_KINDS: Final = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
_STARTS: Final = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
# A JPEG of several pictures goes by another name.
_ALIASES: Final = {"MPO": "JPEG"}
_PNG_END: Final = b"IEND\xaeB`\x82"
# Where not even Pillow's first look has room, a file is cut off whatever its bytes are.
_SHORTEST: Final = 64

# Modes with one value a pixel, which is taken as it is; 1 is black and white, as displayed.
_DEEP: Final = ("I;16", "I;16B", "I;16L", "I", "F")
# Of a TIFF: tags and what they hold.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _UNSIGNED, _BITS = 339, 1, 258
_GREY: Final = ("1", "L", *_DEEP)
# Modes with colours that Pillow brings to red, green and blue without a loss.
_COLOURED: Final = ("RGB", "P", "RGBX")
_WITH_ALPHA: Final = ("LA", "PA", "RGBA", "RGBa")
_ORIENTATION: Final = 0x0112


class _Decoded(NamedTuple):
    """grey : (r, c). colours : (r, c, 3) or None. verdicts : what there is to say."""

    grey: np.ndarray
    colours: np.ndarray | None
    verdicts: list[Verdict]


def read(
    path: Path | str,
    *,
    volume: int | None = None,
    channel: str | None = None,
    limit_pixels: int = LIMIT_PIXELS,
) -> Volume:
    """Read one picture.

    Returns float32 voxels (i, j, 1). volume : which page of several, counted from 0. channel : of
    CHANNELS; without it the picture's grey, of colours their luma (ITU-R BT.601, rounded to whole
    numbers). limit_pixels : what has more is refused before it is decoded. Raises InputError, whose
    code says which check failed.
    """
    path = Path(path)
    content = _content(path)
    decoded = _decode(path, content, volume, limit_pixels)
    pixels = decoded.grey
    if channel is not None:
        if decoded.colours is None:
            raise _no_colours(path, channel)
        pixels = decoded.colours[..., CHANNELS.index(channel)]
    voxels = np.ascontiguousarray(pixels.T[..., None], np.float32)
    notes = settle(path, decoded.verdicts)
    return Volume(voxels, _PLACE.copy(), path.name, notes=notes)


def write(volume: Volume, path: Path | str) -> None:
    """Write a volume of one slice, atomically: booleans as 0 and 255, all else as float32 TIFF.

    The same volume gives the same bytes. Raises OutputError; ValueError where the volume has
    several slices or the kind of file cannot hold its values, which is a bug of the caller.
    """
    path = Path(path)
    pixels = volume.voxels[..., 0].T
    kind = next((kind for kind, ends in _KINDS.items() if path.name.lower().endswith(ends)), None)
    if volume.shape[2] != 1 or kind in (None, "JPEG"):
        raise ValueError(f"{path.name}: {volume.shape} voxels are no picture of this kind")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif kind == "TIFF":
        pixels = pixels.astype(np.float32)
    else:
        raise ValueError(f"{path.name}: cannot hold {pixels.dtype}")
    encoded = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, kind, **options)
    write_bytes(path, encoded.getvalue())


def _content(path: Path) -> bytes:
    try:
        settle(path, [*no_file(path, "A picture"), *_too_long(path)])
        return path.read_bytes()
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _too_long(path: Path) -> Iterator[Verdict]:
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        yield _too_large(f"has {size / 1e9:.1f} GB")


def _decode(path: Path, content: bytes, page: int | None, limit_pixels: int) -> _Decoded:
    """Decode a page. Raises InputError for whatever the decoder stumbles over."""
    settle(path, _ends_early(content))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        # Pillow warns of a size that we refuse.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=list(_KINDS))
            kind = _ALIASES.get(image.format or "", image.format)
            settle(path, [*_beyond(image, limit_pixels), *_which_page(image, page)])
            if kind == "PNG":
                # Of its own accord Pillow takes pixels whose checksum is wrong.
                Image.open(io.BytesIO(content), formats=["PNG"]).verify()
            if page:
                image.seek(page)
                settle(path, _beyond(image, limit_pixels))
            verdicts = [_no_spacing(), *_misnamed(path, kind), *_reduced(image), *_turned(image)]
            image.load()
            _refuse_misread(image, path)
            grey, colours, more = _values(ImageOps.exif_transpose(image), path)
        except InputError:
            raise
        except Exception as fault:  # decoders raise whatever damaged bytes lead them to
            verdict = _fault(fault, content, cut=bool(warned))
            raise InputError(f"{path}: {verdict.told}", code=verdict.code) from fault
    return _Decoded(grey, colours, [*verdicts, *more])


def _ends_early(content: bytes) -> Iterator[Verdict]:
    """Pillow takes a PNG whose last bytes are missing."""
    if content.startswith(_STARTS["PNG"]) and _PNG_END not in content:
        yield _cut_off("PNG")


def _beyond(image: Image.Image, limit_pixels: int) -> Iterator[Verdict]:
    width, height = image.size
    if width * height > limit_pixels:
        yield _too_large(f"declares {width} x {height} pixels", limit_pixels)


def _which_page(image: Image.Image, page: int | None) -> Iterator[Verdict]:
    there = getattr(image, "n_frames", 1)
    choose = f"Choose one by --volume, 0 to {there - 1}."
    if page is None and there > 1:
        yield Verdict("E_DIMS", f"holds {there} pictures (pages or frames), one is needed.", choose)
    if page is not None and not 0 <= page < there:
        yield Verdict("E_DIMS", f"has no picture {page}, only {there} (counted from 0).", choose)


def _misnamed(path: Path, kind: str | None) -> Iterator[Verdict]:
    if kind in _KINDS and not path.name.lower().endswith(_KINDS[kind]):
        yield Verdict(
            "N_NAME",
            f"is a {kind} picture and not called {_KINDS[kind][0]}.",
            "It is read all the same; other programs may refuse it, so rename it.",
        )


def _reduced(image: Image.Image) -> Iterator[Verdict]:
    """Pillow has no mode for colours of 16 bits; those of greys are kept."""
    if image.mode not in _GREY and any(";16" in repr(each) for each in getattr(image, "tile", ())):
        yield Verdict(
            "N_DEPTH",
            "its colours have 16 bits a channel, and are read with 8.",
            "Save the channels that matter as grey pictures of 16 bits to keep all.",
        )


def _turned(image: Image.Image) -> Iterator[Verdict]:
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation in range(2, 9):
        yield Verdict(
            "N_ROTATED",
            f"is to be displayed turned or mirrored (EXIF orientation {orientation}).",
            "It is read, and its map and mask are written, as it is displayed.",
        )


def _no_spacing() -> Verdict:
    return Verdict(
        "N_NO_SPACING",
        "a picture does not say how large its pixels are: each is taken as 1 mm wide, high and "
        "deep.",
        "Read mm3 as pixels, and ml as thousands of them.",
    )


def _values(image: Image.Image, path: Path) -> tuple[np.ndarray, np.ndarray | None, list[Verdict]]:
    """Return grey (r, c), colours (r, c, 3) where there are any, and what became of alpha."""
    verdicts: list[Verdict] = []
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image, verdicts = _on_black(image, path)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in _GREY:
        return np.asarray(image), None, verdicts
    if image.mode not in _COLOURED:
        raise InputError(
            f"{path}: its colours are {image.mode}, which no rule here turns into grey. Save it as "
            "grey or as RGB.",
            code="E_DTYPE",
        )
    image = image.convert("RGB")
    return np.asarray(image.convert("L")), np.asarray(image), verdicts


def _refuse_misread(image: Image.Image, path: Path) -> None:
    """Refuse greys of a TIFF whose values Pillow gives otherwise than they are meant."""
    tags = getattr(image, "tag_v2", {})
    if image.mode not in _DEEP or not tags:
        return
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        what = "its darkest value stands for white"
    elif tags.get(_BITS, (0,))[0] == 32 and tags.get(_SAMPLE_FORMAT, (1,))[0] == _UNSIGNED:
        what = "its values are whole numbers of 32 bits without a sign"
    else:
        return
    raise InputError(
        f"{path}: {what}, which no rule here reads. Save it with 16 bits, black as 0.",
        code="E_DTYPE",
    )


def _on_black(image: Image.Image, path: Path) -> tuple[Image.Image, list[Verdict]]:
    """Drop alpha where it hides nothing; else lay the picture on black."""
    if image.mode in _DEEP:
        raise InputError(
            f"{path}: one of its grey levels is declared transparent, which only pictures of 8 "
            "bits may have here. Save it without transparency.",
            code="E_DTYPE",
        )
    grey = image.mode in ("1", "L", "LA")
    layered = image.convert("RGBA")
    alpha = np.asarray(layered.getchannel("A"))
    if (alpha < 255).any():
        layered = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    flat = layered.convert("RGB")
    hidden = np.count_nonzero(alpha < 255)
    verdicts = [
        Verdict(
            "N_ALPHA",
            f"{hidden} of {alpha.size} pixels are transparent or partly so; the picture was laid "
            "on black.",
            "Check that black is what belongs there, or save it without alpha.",
        )
    ]
    return flat.convert("L") if grey else flat, verdicts if hidden else []


def _fault(fault: Exception, content: bytes, *, cut: bool) -> Verdict:
    """Say what is wrong with bytes that cannot be decoded. cut : something ended too early."""
    told = str(fault)
    kind = next((kind for kind, starts in _STARTS.items() if content.startswith(starts)), None)
    if isinstance(fault, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return _too_large("declares more pixels than any")
    if "too large" in told or isinstance(fault, MemoryError):
        return _too_large("holds text or a colour profile, or declares tiles, larger than any")
    if kind is None:
        return Verdict("E_FORMAT", "is no PNG, JPEG, BMP or TIFF picture.", "Convert it to one.")
    if isinstance(fault, SyntaxError) and "checksum" in told:
        return Verdict("E_CRC", f"the {kind} data are damaged ({told}).", "Copy it again.")
    if cut or "truncated" in told.lower() or len(content) < _SHORTEST:
        return _cut_off(kind)
    return Verdict("E_FORMAT", f"is a damaged {kind} picture ({told}).", "Copy it again.")


def _cut_off(kind: str) -> Verdict:
    return Verdict("E_TRUNCATED", f"begins as a {kind} picture and ends too early.", "Copy again.")


def _too_large(what: str, limit_pixels: int = LIMIT_PIXELS) -> Verdict:
    return Verdict(
        "E_TOO_LARGE",
        f"{what}, over the limit of {limit_pixels / 1e6:.1f} million pixels.",
        "Crop it or make it smaller first.",
    )


def _no_colours(path: Path, channel: str) -> InputError:
    return InputError(
        f"{path}: is a grey picture without a channel '{channel}'. Take colour pictures, or a "
        "recipe without channels.",
        code="E_MISSING_MODALITY",
    )
