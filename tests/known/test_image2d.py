"""Pictures: every kind is read as it is displayed, and what is written comes back."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from wholesight.benchmark.judge.thumbnail import thumbnail
from wholesight.io import formats, image2d, reading
from wholesight.io.formats import format_of, output_names, stem
from wholesight.prep.body import Whole
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import Percentile
from wholesight.prep.slices import Slicing
from wholesight.volume import Scan, Volume

ROWS, COLUMNS = 6, 9


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (ROWS, COLUMNS), dtype=np.uint8)


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    return np.random.default_rng(1).integers(1, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)


def saved(path, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def pixels(volume: Volume) -> np.ndarray:
    """Rows and columns as a picture has them."""
    assert volume.shape[2] == 1
    assert volume.voxels.dtype == np.float32
    return volume.voxels[..., 0].T


def codes(volume: Volume) -> list[str]:
    """The codes of the notes, but for the one that every picture has."""
    found = [note.code for note in volume.notes]
    assert found[0] == "N_NO_SPACING"
    return found[1:]


def luma(colours: np.ndarray) -> np.ndarray:
    """ITU-R BT.601."""
    return colours @ [0.299, 0.587, 0.114]


def png_bytes(samples: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits a sample. kind : 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_grey_of_8_bits(tmp_path, grey, suffix):
    found = image2d.read(saved(tmp_path / f"x{suffix}", grey))
    np.testing.assert_array_equal(pixels(found), grey)
    assert codes(found) == []
    assert found.spacing_mm == (1, 1, 1)
    assert found.name == f"x{suffix}"


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_is_what_pillow_decodes(tmp_path, grey, suffix):
    path = saved(tmp_path / f"x{suffix}", grey, quality=95)
    np.testing.assert_array_equal(pixels(image2d.read(path)), np.asarray(Image.open(path)))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_deep_tiff(tmp_path, grey, dtype, compression):
    deep = (grey * 250.5).astype(dtype)
    path = saved(tmp_path / "x.tif", deep, compression=compression)
    np.testing.assert_array_equal(pixels(image2d.read(path)), deep.astype(np.float32))


def test_tiff_of_16_bits_in_the_other_byte_order(tmp_path, grey):
    deep = grey * np.uint16(251)
    image = Image.frombytes("I;16B", (COLUMNS, ROWS), deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(image2d.read(saved(tmp_path / "x.tif", image))), deep)


def test_png_of_16_bits(tmp_path, grey):
    deep = grey * np.uint16(251)
    (tmp_path / "x.png").write_bytes(png_bytes(deep, 0))
    found = image2d.read(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(found), deep)
    assert codes(found) == []


@pytest.mark.parametrize(("kind", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_lose_depth_and_it_is_said(tmp_path, kind, samples):
    deep = np.full((ROWS, COLUMNS, samples), 65535, np.uint16)
    deep[..., 0] = 0x1234
    (tmp_path / "x.png").write_bytes(png_bytes(deep, kind))
    found = image2d.read(tmp_path / "x.png")
    assert codes(found) == ["N_DEPTH"]
    expected = 0x12 if samples == 2 else luma(np.array([0x12, 255, 255]))
    np.testing.assert_allclose(pixels(found), expected, atol=0.51)


def test_colours_of_16_bits_in_a_tiff_lose_depth_and_it_is_said(tmp_path):
    deep = np.full((ROWS, COLUMNS, 3), 0x12FF, "<u2")
    tags = [(256, COLUMNS), (257, ROWS), (258, 134), (259, 1), (262, 2)]
    tags += [(273, 140), (277, 3), (278, ROWS), (279, deep.nbytes)]
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 3 if tag == 258 else 1, value) for tag, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    bits = struct.pack("<HHH", 16, 16, 16)  # at byte 134, where the tag 258 says
    content = head.ljust(134, b"\0") + bits + deep.tobytes()
    (tmp_path / "x.tif").write_bytes(content)
    found = image2d.read(tmp_path / "x.tif")
    np.testing.assert_array_equal(pixels(found), 0x12)
    assert codes(found) == ["N_DEPTH"]


def test_black_and_white(tmp_path, grey):
    white = grey > 128
    for suffix in (".png", ".tif", ".bmp"):
        found = image2d.read(saved(tmp_path / f"x{suffix}", Image.fromarray(white)))
        np.testing.assert_array_equal(pixels(found), 255 * white)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_colours_become_their_luma(tmp_path, colours, suffix):
    found = image2d.read(saved(tmp_path / f"x{suffix}", colours))
    np.testing.assert_allclose(pixels(found), luma(colours), atol=0.51)
    np.testing.assert_array_equal(pixels(found), np.rint(pixels(found)))
    assert codes(found) == []


@pytest.mark.parametrize("channel", image2d.CHANNELS)
def test_a_channel_by_its_name(tmp_path, colours, channel):
    path = saved(tmp_path / "x.png", colours)
    plane = colours[..., ["red", "green", "blue"].index(channel)]
    np.testing.assert_array_equal(pixels(image2d.read(path, channel=channel)), plane)


def test_a_palette_stands_for_its_colours(tmp_path):
    indices = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS) % 3
    image = Image.fromarray(indices).convert("P")
    table = np.array([[200, 10, 0], [0, 255, 0], [7, 7, 90]], np.uint8)
    image.putpalette(table.ravel().tolist())
    for suffix in (".png", ".bmp", ".tif"):
        path = saved(tmp_path / f"x{suffix}", image)
        np.testing.assert_allclose(pixels(image2d.read(path)), luma(table[indices]), atol=0.51)
        red = pixels(image2d.read(path, channel="red"))
        np.testing.assert_array_equal(red, table[indices][..., 0])


# ---------------------------------------------------------------- alpha


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_that_hides_nothing_is_dropped(tmp_path, grey, mode, suffix):
    image = Image.fromarray(grey).convert(mode)
    found = image2d.read(saved(tmp_path / f"x{suffix}", image))
    np.testing.assert_array_equal(pixels(found), grey)
    assert codes(found) == []


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pixels_lie_on_black(tmp_path, grey, mode):
    image = Image.fromarray(grey).convert(mode)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:2] = 0
    alpha[2] = 51  # a fifth
    image.putalpha(Image.fromarray(alpha))
    found = image2d.read(saved(tmp_path / "x.png", image))
    np.testing.assert_allclose(pixels(found), grey * (alpha / 255), atol=1)
    assert not pixels(found)[:2].any()
    assert codes(found) == ["N_ALPHA"]
    assert f"{3 * COLUMNS} of {grey.size}" in found.notes[-1].text


def test_a_transparent_level_or_palette_entry_lies_on_black(tmp_path, grey):
    level = int(grey[0, 0])
    found = image2d.read(saved(tmp_path / "l.png", grey, transparency=level))
    np.testing.assert_array_equal(pixels(found), np.where(grey == level, 0, grey))
    assert codes(found) == ["N_ALPHA"]
    image = Image.fromarray(grey % 2).convert("P")
    image.putpalette([50, 50, 50, 90, 90, 90])
    found = image2d.read(saved(tmp_path / "p.png", image, transparency=1))
    np.testing.assert_array_equal(pixels(found), np.where(grey % 2, 0, 50))
    assert codes(found) == ["N_ALPHA"]


# ---------------------------------------------------------------- orientation


# Where the first row and the first column of what is stored are displayed (EXIF 2.3, tag 274).
DISPLAYED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: stored.T[:, ::-1],
    7: lambda stored: stored.T[::-1, ::-1],
    8: lambda stored: stored.T[::-1],
}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("orientation", DISPLAYED)
def test_a_picture_is_read_as_it_is_displayed(tmp_path, grey, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"x{suffix}", grey, exif=exif)
    stored = grey
    if suffix == ".jpg":
        with Image.open(path) as image:
            stored = np.asarray(image)
    found = image2d.read(path)
    np.testing.assert_array_equal(pixels(found), DISPLAYED[orientation](stored))
    assert codes(found) == (["N_ROTATED"] if orientation > 1 else [])


def test_deep_and_colour_pictures_are_turned_alike(tmp_path, grey, colours):
    exif = Image.Exif()
    exif[0x0112] = 6  # its first column is to be on top, from right to left
    deep = grey * np.uint16(251)
    for name, stored in (("deep.tif", deep), ("deep.png", deep), ("red.png", colours[..., 0])):
        found = image2d.read(saved(tmp_path / name, stored, exif=exif))
        np.testing.assert_array_equal(pixels(found), stored.T[:, ::-1])
    path = saved(tmp_path / "colours.png", colours, exif=exif)
    blue = image2d.read(path, channel="blue")
    np.testing.assert_array_equal(pixels(blue), colours[..., 2].T[:, ::-1])


def test_i_runs_to_the_right_j_down_and_prep_gives_it_back(tmp_path, grey):
    """An axial slice has the patient's right on the left and the front on top: so has a picture."""
    found = image2d.read(saved(tmp_path / "x.png", grey))
    assert found.shape == (COLUMNS, ROWS, 1)
    np.testing.assert_array_equal(found.affine, np.diag([-1, -1, 1, 1]))
    prep = Prep(body=Whole(), intensity=Percentile(), slices=Slicing(size=None))
    prepared = prep.forward(Scan(found))
    assert prepared.pixels.shape == (1, 1, ROWS, COLUMNS)
    low, high = np.percentile(grey, [0.5, 99.5])
    scaled = np.clip((grey - low) / (high - low), 0, 1)
    # RAS+: the slice's rows run to the front, its columns to the right.
    np.testing.assert_allclose(prepared.pixels[0, 0], scaled[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(
        pixels(found.like(prepared.restore(prepared.pixels))), scaled, atol=1e-6
    )


def test_a_report_shows_it_upright(tmp_path, grey):
    found = image2d.read(saved(tmp_path / "x.png", grey))
    body, bright = np.ones(found.shape, bool), found.voxels > 200
    shown = thumbnail(
        image=found.voxels,
        inside=body,
        truth=bright,
        map=None,
        mask=None,
        axis=2,
        affine=found.affine,
    )
    np.testing.assert_array_equal(shown.truth, grey > 200)


# ---------------------------------------------------------------- several pictures in a file


def test_a_page_of_a_tiff(tmp_path, grey):
    pages = [Image.fromarray(page) for page in (grey, grey // 2, grey // 3)]
    path = saved(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:])
    for number, page in enumerate(pages):
        found = image2d.read(path, volume=number)
        np.testing.assert_array_equal(pixels(found), np.asarray(page))


def test_a_frame_of_an_animated_png(tmp_path, grey):
    frames = [Image.fromarray(frame) for frame in (grey, 255 - grey)]
    path = saved(tmp_path / "x.png", frames[0], save_all=True, append_images=frames[1:])
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(pixels(image2d.read(path, volume=number)), np.asarray(frame))


# ---------------------------------------------------------------- names


def test_pictures_are_known_by_their_names(tmp_path):
    for name in ("a.PNG", "a.jpg", "a.Jpeg", "a.bmp", "a.tif", "a.tiff"):
        assert format_of(tmp_path / name) is formats.FORMATS["picture"]
        assert stem(tmp_path / name) == "a"
    named = {"anomaly": "a_anomaly.tif", "mask": "a_mask.png"}
    assert output_names("a", tmp_path / "a.jpg") == named


def test_a_picture_of_another_kind_than_its_name_says(tmp_path, grey):
    encoded = io.BytesIO()
    Image.fromarray(grey).save(encoded, "PNG")
    (tmp_path / "x.jpg").write_bytes(encoded.getvalue())
    found = image2d.read(tmp_path / "x.jpg")
    np.testing.assert_array_equal(pixels(found), grey)
    assert codes(found) == ["N_NAME"]


# ---------------------------------------------------------------- what is written


def test_a_map_comes_back_to_the_last_bit(tmp_path, grey):
    source = image2d.read(saved(tmp_path / "x.png", grey))
    values = np.random.default_rng(2).normal(size=source.shape).astype(np.float32) * 1e-3
    path = tmp_path / "x_anomaly.tif"
    format_of(path).write(source.like(values), path, tmp_path / "x.png")
    again = reading.read(path)
    np.testing.assert_array_equal(again.voxels, values)
    assert again.same_grid(source)


def test_a_mask_is_0_and_255_and_is_read_as_marks(tmp_path, grey):
    source = image2d.read(saved(tmp_path / "x.png", grey))
    mask = source.voxels > 200
    path = tmp_path / "x_mask.png"
    image2d.write(source.like(mask), path)
    with Image.open(path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), 255 * mask[..., 0].T)
    again = reading.read_mask(path)
    np.testing.assert_array_equal(again.voxels, mask)
    assert again.same_grid(source)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_the_same_volume_gives_the_same_bytes(tmp_path, grey, name):
    volume = Volume(grey.T[..., None] > 9)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        image2d.write(volume, tmp_path / folder / name)
    written = [(tmp_path / folder / name).read_bytes() for folder in ("one", "other")]
    assert written[0] == written[1]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [name]


def test_what_a_kind_cannot_hold_is_a_bug_of_the_caller(tmp_path):
    flat, deep = Volume(np.ones((3, 3, 1), np.float32)), Volume(np.ones((3, 3, 2), bool))
    for volume, name in ((flat, "x.png"), (deep, "x.png"), (flat, "x.jpg"), (flat, "x.nii")):
        with pytest.raises(ValueError, match="x"):
            image2d.write(volume, tmp_path / name)
