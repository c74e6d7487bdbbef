"""Pictures that are damaged, too large or something else: each is refused by its code, soon."""

import contextlib
import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from wholesight.errors import InputError
from wholesight.io import image2d, reading

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
KINDS = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
}
ENDS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif"}


def encoded(kind: str, image=PICTURE, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, kind.split(maxsplit=1)[0], **KINDS.get(kind, {}), **options)
    return out.getvalue()


def refused(path, data, code, *, reader=reading.read, **options) -> str:
    """Write the bytes, expect the refusal, and return its message."""
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        reader(path, **options)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert message.startswith(f"{path}: ")
    assert len(message) > len(str(path)) + 20
    return message


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of 8-bit greys with any size and chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    """The head of a BMP of 24 bits a pixel, without pixels."""
    head = struct.pack("<IIIHHIIIIII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + head + bytes(64)


def tiff(width: int, height: int) -> bytes:
    """The head of a TIFF of 8-bit greys that lie after it, and are not there."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1)]
    tags += [(273, 200), (277, 1), (278, height), (279, width * height % 2**32)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


# ---------------------------------------------------------------- cut off, damaged


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, -1, -13, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_off(tmp_path, kind, keep):
    whole = encoded(kind)
    end = int(len(whole) * keep) if isinstance(keep, float) else keep
    message = refused(tmp_path / f"x{ENDS[kind.split()[0]]}", whole[:end], "E_TRUNCATED")
    assert kind.split()[0] in message


@pytest.mark.parametrize("end", ENDS.values())
def test_empty(tmp_path, end):
    assert "0 bytes" in refused(tmp_path / f"x{end}", b"", "E_TRUNCATED")


def test_no_flipped_bit_of_a_png_changes_a_pixel(tmp_path):
    """Pillow does not look at the checksum of pixels, which lie here without compression."""
    small = np.random.default_rng(1).integers(0, 256, (6, 5), dtype=np.uint8)
    whole = encoded("PNG", small, compress_level=0)
    read = []
    for at in range(8, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "x.png").write_bytes(damaged)
        with contextlib.suppress(InputError):
            read.append(image2d.read(tmp_path / "x.png"))
    for found in read:
        np.testing.assert_array_equal(found.voxels[..., 0].T, small)
    assert len(read) < 10


def test_a_wrong_checksum_has_its_code(tmp_path):
    whole = bytearray(encoded("PNG"))
    whole[whole.index(b"IDAT") + 100] ^= 1
    refused(tmp_path / "x.png", bytes(whole), "E_CRC")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_damaged_ends_in_pixels_or_a_refusal(tmp_path, kind):
    rng = np.random.default_rng([len(kind), *kind.encode()])
    whole = np.frombuffer(encoded(kind, PICTURE[:16, :12]), np.uint8)
    refusals = 0
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        path = tmp_path / f"x{ENDS[kind.split()[0]]}"
        path.write_bytes(damaged.tobytes())
        try:
            image2d.read(path)
        except InputError:
            refusals += 1
    assert refusals or kind in ("BMP", "TIFF")  # which have no checksum, and little that can lie


# ---------------------------------------------------------------- bombs


@pytest.mark.parametrize(
    "data",
    [
        png(30_000, 30_000, chunk(b"IDAT", zlib.compress(bytes(1_000_000)))),
        png(9_460, 9_460, chunk(b"IDAT", zlib.compress(bytes(1_000_000)))),
        png(2**31 - 1, 2**31 - 1),
        bmp(100_000, 100_000),
        tiff(100_000, 100_000),
        tiff(9_460, 9_460),
    ],
    ids=["png", "png just beyond", "png beyond all", "bmp", "tiff", "tiff just beyond"],
)
def test_a_bomb_is_not_decoded(tmp_path, data):
    path = tmp_path / {b"\x89": "x.png", b"B": "x.bmp", b"I": "x.tif"}[data[:1]]
    tracemalloc.start()
    begun = time.monotonic()
    try:
        assert "million pixels" in refused(path, data, "E_TOO_LARGE")
        assert tracemalloc.get_traced_memory()[1] < 5e6
        assert time.monotonic() - begun < 2
    finally:
        tracemalloc.stop()


def test_text_that_grows_a_thousandfold_is_refused(tmp_path):
    text = b"Comment\0\0" + zlib.compress(bytes(50_000_000))
    pixels = chunk(b"IDAT", zlib.compress(bytes(5 * 4)))
    tracemalloc.start()
    try:
        refused(tmp_path / "x.png", png(4, 4, chunk(b"zTXt", text), pixels), "E_TOO_LARGE")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_later_page_may_be_the_bomb(tmp_path):
    pages = [Image.new("L", (8, 8), 7), Image.new("L", (300, 300), 7)]
    data = encoded("TIFF", pages[0], save_all=True, append_images=pages[1:])
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    assert image2d.read(path, volume=0, limit_pixels=1000).shape == (8, 8, 1)
    with pytest.raises(InputError, match="300 x 300") as caught:
        image2d.read(path, volume=1, limit_pixels=1000)
    assert caught.value.code == "E_TOO_LARGE"


def test_pages_that_go_round_in_a_circle_end(tmp_path):
    endless = bytearray(tiff(4, 4))
    endless[-4:] = (8).to_bytes(4, "little")  # the page after the first is the first
    (tmp_path / "x.tif").write_bytes(bytes(endless) + bytes(200))
    begun = time.monotonic()
    with contextlib.suppress(InputError):
        image2d.read(tmp_path / "x.tif")
    assert time.monotonic() - begun < 2


def test_the_limit_is_exact(tmp_path):
    path = tmp_path / "x.png"
    Image.new("L", (20, 30), 7).save(path)
    assert image2d.read(path, limit_pixels=600).shape == (20, 30, 1)
    with pytest.raises(InputError, match="20 x 30"):
        image2d.read(path, limit_pixels=599)


def test_reading_leaves_pillow_as_it_is(tmp_path):
    from PIL import ImageFile

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    refused(tmp_path / "x.png", png(30_000, 30_000), "E_TOO_LARGE")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert before[1] is False


# ---------------------------------------------------------------- something else


@pytest.mark.parametrize(
    "data",
    [b"<html><body>Not found</body></html>" * 9, b"\x1f\x8b" + bytes(500), b"GIF89a" + bytes(99)],
)
@pytest.mark.parametrize("end", ENDS.values())
def test_no_picture(tmp_path, data, end):
    refused(tmp_path / f"x{end}", data, "E_FORMAT")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM"])
def test_other_kinds_are_not_read(tmp_path, kind):
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, kind)
    assert "Convert" in refused(tmp_path / "x.png", out.getvalue(), "E_FORMAT")


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF")])
def test_colours_that_no_rule_turns_into_grey(tmp_path, mode, kind):
    image = Image.new(mode, (8, 8), (10, 20, 30, 40)[: len(mode)])
    assert mode in refused(tmp_path / f"x{ENDS[kind]}", encoded(kind, image), "E_DTYPE")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_several_pictures_need_a_choice(tmp_path, kind):
    pages = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    data = encoded(kind, pages[0], save_all=True, append_images=pages[1:])
    path = tmp_path / f"x{ENDS[kind]}"
    assert "--volume, 0 to 1" in refused(path, data, "E_DIMS")
    assert "no picture 2" in refused(path, data, "E_DIMS", volume=2)
    assert "no picture -1" in refused(path, data, "E_DIMS", volume=-1)


def test_a_single_picture_has_no_second(tmp_path):
    assert "only 1" in refused(tmp_path / "x.png", encoded("PNG"), "E_DIMS", volume=1)


def test_a_channel_of_a_grey_picture(tmp_path):
    data = encoded("PNG", PICTURE[..., 0])
    message = refused(
        tmp_path / "x.png", data, "E_MISSING_MODALITY", reader=image2d.read, channel="red"
    )
    assert "red" in message


def test_a_deep_picture_with_a_transparent_level(tmp_path):
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8)
    transparent = chunk(b"tRNS", struct.pack(">H", 5))
    whole = encoded("PNG", deep)
    at = whole.index(b"IDAT") - 4
    refused(tmp_path / "x.png", whole[:at] + transparent + whole[at:], "E_DTYPE")


def test_a_link_to_nothing_and_a_folder(tmp_path):
    (tmp_path / "gone.png").symlink_to(".git/annex/objects/gone")
    (tmp_path / "folder.png").mkdir()
    for name, code in (("gone.png", "E_NOT_FOUND"), ("folder.png", "E_NOT_FILE")):
        with pytest.raises(InputError) as caught:
            image2d.read(tmp_path / name)
        assert caught.value.code == code
    with pytest.raises(InputError, match="datalad get"):
        image2d.read(tmp_path / "gone.png")


# ---------------------------------------------------------------- values


def test_float_values_that_are_no_numbers(tmp_path):
    values = np.ones((20, 10), np.float32)
    values[3, 4] = np.nan
    values[0, 0] = 2
    (tmp_path / "x.tif").write_bytes(encoded("TIFF", values))
    found = reading.read_image(tmp_path / "x.tif")
    assert [note.code for note in found.notes] == ["N_NO_SPACING", "N_FILLED"]
    assert found.holes is not None
    assert found.holes[4, 3, 0]
    values[:5] = np.inf
    refused(tmp_path / "x.tif", encoded("TIFF", values), "E_NONFINITE", reader=reading.read_image)


def test_a_picture_of_one_value(tmp_path):
    for value in (0, 200):
        flat = encoded("PNG", np.full((9, 9), value, np.uint8))
        refused(tmp_path / "x.png", flat, "E_EMPTY", reader=reading.read_image)


def test_a_mask_of_fractions(tmp_path):
    values = np.full((5, 5), 0.5, np.float32)
    refused(tmp_path / "x.tif", encoded("TIFF", values), "E_LABELS", reader=reading.read_mask)


@pytest.mark.parametrize("photometric", [0, 1])
def test_deep_greys_whose_darkest_is_white_are_refused(tmp_path, photometric):
    path = tmp_path / "x.tif"
    deep = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 200)
    deep.save(path)
    black_is_zero = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    content = path.read_bytes()
    assert content.count(black_is_zero) == 1
    path.write_bytes(
        content.replace(black_is_zero, struct.pack("<HHIHH", 262, 3, 1, photometric, 0))
    )
    if photometric:
        assert image2d.read(path).voxels.max() > 255
        return
    with pytest.raises(InputError, match="stands for white") as caught:
        image2d.read(path)
    assert caught.value.code == "E_DTYPE"


def test_a_jpeg_is_no_mask(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[17:47, 17:47] = 255
    Image.fromarray(mask).save(tmp_path / "x.jpg", quality=75)
    Image.fromarray(mask).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="JPEG blurs") as caught:
        reading.read_mask(tmp_path / "x.jpg")
    assert caught.value.code == "E_LABELS"
    assert reading.read_mask(tmp_path / "x.png").voxels.sum() == 900
