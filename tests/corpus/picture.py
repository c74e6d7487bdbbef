"""Pictures that are damaged, too large, turned, or no plain picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from corpus.bad import Corpus

PICTURE = Corpus()
GREY = np.random.default_rng(0).integers(20, 230, (40, 30), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def put(folder: Path, content: bytes, name: str = "picture.png") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def grey() -> Image.Image:
    return Image.fromarray(GREY)


@PICTURE("N_NO_SPACING")
def plain_png(folder: Path) -> Path:
    return put(folder, encoded(grey(), "PNG"))


@PICTURE("N_NO_SPACING")
def sixteen_bits(folder: Path) -> Path:
    return put(folder, encoded(Image.fromarray(GREY.astype(np.uint16) * 200), "PNG"))


@PICTURE("N_NO_SPACING")
def palette(folder: Path) -> Path:
    return put(folder, encoded(grey().convert("P"), "PNG"))


@PICTURE("E_TRUNCATED")
def png_cut_in_half(folder: Path) -> Path:
    whole = encoded(grey(), "PNG")
    return put(folder, whole[: len(whole) // 2])


@PICTURE("E_TRUNCATED")
def jpeg_cut_in_half(folder: Path) -> Path:
    whole = encoded(grey(), "JPEG")
    return put(folder, whole[: len(whole) // 2], "picture.jpg")


@PICTURE("E_TRUNCATED")
def empty_picture(folder: Path) -> Path:
    return put(folder, b"")


@PICTURE("E_CRC")
def png_with_a_wrong_checksum(folder: Path) -> Path:
    whole = bytearray(encoded(grey(), "PNG"))
    whole[whole.index(b"IDAT") + 50] ^= 1
    return put(folder, bytes(whole))


@PICTURE("E_TOO_LARGE")
def png_bomb(folder: Path) -> Path:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    return put(folder, b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))


@PICTURE("E_FORMAT")
def web_page_called_png(folder: Path) -> Path:
    return put(folder, b"<!DOCTYPE html><html>Not found</html>" * 20)


@PICTURE("E_DTYPE")
def printing_colours(folder: Path) -> Path:
    return put(folder, encoded(grey().convert("CMYK"), "JPEG"), "picture.jpg")


@PICTURE("E_DIMS")
def several_pages(folder: Path) -> Path:
    content = encoded(grey(), "TIFF", save_all=True, append_images=[grey()])
    return put(folder, content, "picture.tif")


@PICTURE("E_EMPTY")
def nothing_but_black(folder: Path) -> Path:
    return put(folder, encoded(Image.new("L", (30, 40), 0), "PNG"))


@PICTURE("N_NO_SPACING N_ROTATED")
def turned_by_its_camera(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return put(folder, encoded(grey(), "JPEG", exif=exif), "picture.jpg")


@PICTURE("N_NO_SPACING N_ALPHA")
def half_transparent(folder: Path) -> Path:
    image = grey().convert("RGBA")
    image.putalpha(Image.fromarray(GREY))
    return put(folder, encoded(image, "PNG"))
