"""DICOM files that are damaged, or made to do harm: each refused by its code."""

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import compress

from wholesight.errors import InputError
from wholesight.io import dicom, dicom_instance

here = pytest.mark.usefixtures("dicom_here")


# ---------------------------------------------------------------- damage


def cut(path, to):
    path.write_bytes(path.read_bytes()[:to])


@here
def test_no_cut_of_a_file_changes_a_voxel(tmp_path, dicom_made):
    """Wherever a slice ends too early, the scan is refused, or nothing that counts was lost."""
    made = dicom_made.slices(dicom_made.some_voxels((3, 5, 6)))
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[1]
    whole = victim.read_bytes()
    for end in [*range(0, len(whole), 7), len(whole) - 2, len(whole) - 1]:
        victim.write_bytes(whole[:end])
        with pytest.raises(InputError) as caught:
            dicom.read(folder)
        assert caught.value.code in ("E_TRUNCATED", "E_FORMAT"), end
        if end:
            assert "file 2 of 3 by name" in str(caught.value)
    victim.write_bytes(whole)
    assert dicom.read(folder).shape == (6, 5, 3)


@here
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_header_is_a_refusal_or_leaves_the_scan_as_it_was(tmp_path, dicom_made):
    """Bytes are drawn before the pixels of one of four slices; DICOM has no checksum for those."""
    made = dicom_made.slices(dicom_made.some_voxels((4, 6, 6)))
    folder = dicom_made.save(made, tmp_path / "x")
    whole, victim = dicom.read(folder), sorted(folder.iterdir())[1]
    content, draw = victim.read_bytes(), np.random.default_rng(5)
    read, refusals = 0, []
    for _ in range(200):
        damaged = bytearray(content)
        for at in draw.integers(128, len(content) - 72, size=draw.integers(1, 4)):
            damaged[at] = draw.choice([0, 255, *b"0123456789", draw.integers(256)])
        victim.write_bytes(damaged)
        try:
            found = dicom.read(folder)
        except InputError as fault:
            refusals.append(str(fault))
        else:
            np.testing.assert_array_equal(found.voxels, whole.voxels)
            np.testing.assert_allclose(found.affine, whole.affine, atol=0.1)
            read += 1
    assert min(read, len(refusals)) > 40
    assert "Ignotus" not in "".join(refusals)


@here
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless], ids=lambda u: u.keyword)
def test_cut_off_compressed(tmp_path, dicom_made, syntax):
    made = dicom_made.slices()
    for each in made:
        compress(each, syntax, generate_instance_uid=False)
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[4]
    size = victim.stat().st_size
    for end in (size - 1, size - 9, size - 60):
        cut(victim, end)
        assert "file 5 of 10" in dicom_made.refused(folder, "E_TRUNCATED")


@here
def test_damaged_compressed_pixels_have_a_code(tmp_path, dicom_made):
    made = dicom_made.slices()
    for each in made:
        compress(each, uid.JPEGLSLossless, generate_instance_uid=False)
    made[4].PixelData = encapsulate([b"\xff\xd8" + bytes(60)])
    made[4]["PixelData"].is_undefined_length = True
    assert "file 6 of 10" in dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_FORMAT")


@here
def test_an_image_without_pixels_is_cut_off(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[0].PixelData
    dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_TRUNCATED")


@here
def test_files_that_are_called_dicom_and_are_none(tmp_path, dicom_made):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    (folder / "IM9999.dcm").write_bytes(b"<html>" * 40)
    assert "file 11 of 11 by name is no DICOM file" in refused_by_name(folder, "E_FORMAT")
    (folder / "IM9999.dcm").write_bytes(b"")
    assert "is empty" in refused_by_name(folder, "E_TRUNCATED")
    (tmp_path / "empty").mkdir()
    dicom_made.refused(tmp_path / "empty", "E_FORMAT")
    dicom_made.refused(tmp_path / "gone.dcm", "E_NOT_FOUND")


def refused_by_name(path, code):
    with pytest.raises(InputError) as caught:
        dicom.read(path)
    assert caught.value.code == code
    return str(caught.value)


@here
def test_files_without_uids_are_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    del made[2].SeriesInstanceUID
    dicom_made.refused(dicom_made.save(made, tmp_path / "x"), "E_FORMAT")


# ---------------------------------------------------------------- harm


def test_deep_nesting_is_refused(tmp_path, dicom_made):
    made = dicom_made.slices()
    folder = dicom_made.save(made, tmp_path / "x")
    victim = sorted(folder.iterdir())[0]
    # A sequence with an item, both of undefined length, again and again: parsed at once.
    start = bytes.fromhex("0800 1011 5351 0000 ffffffff feff 00e0 ffffffff")
    whole = victim.read_bytes()
    at = whole.index(bytes.fromhex("0800200044410800"))  # StudyDate, the next element
    victim.write_bytes(whole[:at] + start * 50_000 + whole[at:])
    assert "nested" in dicom_made.refused(folder, "E_FORMAT")


def deflated(tmp_path, made, extra):
    """Write a series deflated, with so many bytes of zeros in a private element of the first."""
    folder = tmp_path / "x"
    folder.mkdir()
    for number, each in enumerate(made):
        each.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        if number == 0:
            each.add_new(0x00091001, "OB", bytes(extra))
        each.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@here
def test_a_deflated_bomb_is_refused_by_its_size(tmp_path, dicom_made, monkeypatch):
    folder = deflated(tmp_path, dicom_made.slices(), 8 << 20)
    assert (folder / "0.dcm").stat().st_size < 20_000
    assert dicom.read(folder).shape == (16, 16, 10)
    monkeypatch.setattr(dicom_instance, "DEFLATED_BYTES", 4 << 20)
    assert "decompresses to more than 4 MB" in dicom_made.refused(folder, "E_TOO_LARGE")


@here
def test_a_cut_deflated_file_is_refused(tmp_path, dicom_made):
    folder = deflated(tmp_path, dicom_made.slices(), 10)
    cut(folder / "3.dcm", -9)
    dicom_made.refused(folder, "E_TRUNCATED")


def test_the_process_takes_no_more_memory_than_it_may(tmp_path, dicom_made, monkeypatch):
    folder = deflated(tmp_path, dicom_made.slices(), 256 << 20)
    monkeypatch.setattr(dicom, "LIMIT_BYTES", 64 << 20)
    assert "more than 0.1 GB of memory" in dicom_made.refused(folder, "E_TOO_LARGE")


@here
def test_more_voxels_than_a_scan_may_have(tmp_path, dicom_made, monkeypatch):
    monkeypatch.setattr(dicom, "VOXELS_BYTES", 1000)
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    assert "for its voxels" in dicom_made.refused(folder, "E_TOO_LARGE")


def test_a_process_that_takes_too_long_is_ended(tmp_path, dicom_made, monkeypatch):
    monkeypatch.setattr(dicom, "DEADLINE_S", 0.05)
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    assert "took more than 0.05 s" in dicom_made.refused(folder, "E_DEADLINE")


def instead(monkeypatch, code):
    """Run this code in the process that should read, without a deadline."""
    run = dicom.subprocess.run

    def other(words, **options):
        return run([words[0], "-c", code], **{**options, "timeout": None})

    monkeypatch.setattr(dicom.subprocess, "run", other)


def test_a_process_that_dies_is_one_refused_scan(tmp_path, dicom_made, monkeypatch):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "exit -9" in dicom_made.refused(folder, "E_WORKER")


def test_the_processor_time_is_limited_too(tmp_path, dicom_made, monkeypatch):
    """It ends a process that nobody waits for any more."""
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    limits = "from wholesight.io.dicom_child import _limit; _limit(1 << 30, 1)"
    instead(monkeypatch, f"{limits}\nwhile True: pass")
    dicom_made.refused(folder, "E_DEADLINE")
