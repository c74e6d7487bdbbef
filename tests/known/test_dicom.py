"""DICOM series: voxels and geometry, which series is taken, and the process that reads."""

import io
import json
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate
from pydicom.pixels import compress, get_decoder

from wholesight.datasets import Case
from wholesight.errors import InputError
from wholesight.io import dicom, formats, nifti, reading
from wholesight.io.files import sha256

C, S = np.cos(0.4), np.sin(0.4)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "feet-first": (-1, 0, 0, 0, 1, 0),
    "oblique": (C, S, 0, -S * C, C * C, S),
}
SHEARED = (0.0, 0.8, 3.0)


def patient_mm(slices, i, j, k):
    """Where a voxel lies, LPS mm, by DICOM's own equation (C.7.6.2.1.1) for its slice."""
    each = slices[k]
    row, column = np.reshape(np.array(each.ImageOrientationPatient, float), (2, 3))
    down, along = map(float, each.PixelSpacing)
    return np.array(each.ImagePositionPatient, float) + row * along * i + column * down * j


def placed(volume, i, j, k):
    return (volume.affine @ [i, j, k, 1])[:3]


# ---------------------------------------------------------------- geometry and values


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize("step", [None, SHEARED], ids=["straight", "sheared"])
@pytest.mark.parametrize("kind", ORIENTATIONS)
def test_every_voxel_lies_where_dicom_says(tmp_path, dicom_made, kind, step):
    if step is not None:  # tilted against its own normal, as by a gantry
        normal = np.cross(ORIENTATIONS[kind][:3], ORIENTATIONS[kind][3:])
        step = 3 * normal + 0.8 * np.array(ORIENTATIONS[kind][3:])
    made = dicom_made.slices(orientation=ORIENTATIONS[kind], step=step)
    volume = dicom.read(dicom_made.save(made, tmp_path / "case7"))

    stored = dicom_made.some_voxels()
    np.testing.assert_array_equal(volume.voxels, stored.transpose(2, 1, 0))
    assert volume.voxels.dtype == np.float32
    assert volume.name == "case7"
    assert volume.notes == ()
    for index in [(0, 0, 0), (15, 0, 0), (0, 15, 0), (0, 0, 9), (15, 15, 9), (3, 7, 5)]:
        ras = patient_mm(made, *index) * [-1, -1, 1]
        np.testing.assert_allclose(placed(volume, *index), ras, atol=1e-6)


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize("kind", ORIENTATIONS)
def test_affine_and_voxels_are_those_of_highdicom(tmp_path, dicom_made, kind):
    made = dicom_made.slices(
        orientation=ORIENTATIONS[kind], RescaleSlope="1.5", RescaleIntercept="-100"
    )
    volume = dicom.read(dicom_made.save(made, tmp_path / "x"))
    # Their axes are slices, rows, columns, and right-handed so: slices run the other way. LPS.
    theirs = highdicom.get_volume_from_series(made)[::-1]
    np.testing.assert_array_equal(volume.voxels, theirs.array.transpose(2, 1, 0))
    ours = np.diag([-1, -1, 1, 1]) @ theirs.affine[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(volume.affine, ours, atol=1e-9)


@pytest.mark.usefixtures("dicom_here")
def test_slope_and_intercept_are_those_of_each_slice(tmp_path, dicom_made):
    made = dicom_made.slices()
    for k, each in enumerate(made):
        each.RescaleSlope, each.RescaleIntercept = k + 0.5, -10 * k
    volume = dicom.read(dicom_made.save(made, tmp_path / "x"))
    scales = (np.arange(10) + 0.5)[:, None, None], (10 * np.arange(10))[:, None, None]
    expected = dicom_made.some_voxels() * scales[0] - scales[1]
    np.testing.assert_allclose(volume.voxels, expected.transpose(2, 1, 0), rtol=1e-6)


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_bits_beyond_those_stored_are_no_values(tmp_path, dicom_made, dtype):
    """Old scanners drew into the upper four of sixteen bits."""
    low = -2048 if dtype == np.int16 else 0
    values = np.random.default_rng(3).integers(low, low + 4096, (4, 8, 8))
    drawn = ((values & 0xFFF) | 0x5000).astype(np.uint16).view(dtype)
    made = dicom_made.slices(drawn, BitsStored=12, HighBit=11)
    volume = dicom.read(dicom_made.save(made, tmp_path / "x"))
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), values)


@pytest.mark.usefixtures("dicom_here")
def test_the_thickness_of_slices_says_nothing_about_their_distance(tmp_path, dicom_made):
    made = dicom_made.slices(step=(0, 0, 2.5), SliceThickness=1, SpacingBetweenSlices=9)
    volume = dicom.read(dicom_made.save(made, tmp_path / "x"))
    assert volume.spacing_mm == pytest.approx((0.75, 1.25, 2.5))


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize("order", [range(10), (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)])
def test_an_enhanced_file_is_a_volume_whatever_the_order_of_its_frames(tmp_path, dicom_made, order):
    whole = dicom_made.enhanced(dicom_made.slices(), order)
    dicom_made.save([whole], tmp_path / "x")
    one = next((tmp_path / "x").iterdir())
    scale = np.argsort(order)[:, None, None]  # of the frame at each k; slope n + 1, intercept -n
    expected = dicom_made.some_voxels() * (scale + 1) - scale
    for path in (tmp_path / "x", one):
        volume = dicom.read(path)
        np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), expected)
        np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 3])


@pytest.mark.usefixtures("dicom_here")
def test_what_scanners_write_into_the_last_digits_is_no_unevenness(tmp_path, dicom_made):
    made = dicom_made.slices()
    noise = np.random.default_rng(1).normal(0, 1e-3, (10, 3))
    for each, off in zip(made, noise, strict=True):
        at = np.array(each.ImagePositionPatient, float) + off
        each.ImagePositionPatient = [f"{mm:.6f}" for mm in at]
        turned = np.add(each.ImageOrientationPatient, [1e-6, 0, off[0] / 100, 0, 0, 0])
        each.ImageOrientationPatient = [f"{cosine:.7f}" for cosine in turned]
    assert dicom.read(dicom_made.save(made, tmp_path / "x")).shape == (16, 16, 10)


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless], ids=lambda u: u.keyword
)
def test_compressed_pixels_are_the_same(tmp_path, dicom_made, syntax):
    made = dicom_made.slices(dicom_made.some_voxels().astype(np.uint16))
    for each in made:
        frame = each.pixel_array
        if syntax == uid.JPEG2000Lossless:
            as_jpeg2000(each, frame)
        else:
            compress(each, syntax, generate_instance_uid=False)
    volume = dicom.read(dicom_made.save(made, tmp_path / "x"))
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), dicom_made.some_voxels())


def as_jpeg2000(each, frame):
    """Compress losslessly, as pydicom cannot without a further package."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    each.PixelData = encapsulate([buffer.getvalue()])
    each["PixelData"].is_undefined_length = True
    each.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless


def test_gdcm_reads_what_scanners_compress():
    for syntax in (
        uid.JPEGBaseline8Bit,
        uid.JPEGExtended12Bit,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
    ):
        assert "gdcm" in get_decoder(syntax).available_plugins


@pytest.mark.usefixtures("dicom_here")
@pytest.mark.parametrize(
    "syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian],
    ids=lambda u: u.keyword,
)
def test_every_plain_encoding_is_read(tmp_path, dicom_made, syntax):
    made = dicom_made.slices()
    for each in made:
        if syntax == uid.ExplicitVRBigEndian:
            each.PixelData = each.pixel_array.astype(">i2").tobytes()
        each.file_meta.TransferSyntaxUID = syntax
    folder = tmp_path / "x"
    folder.mkdir()
    for n, each in enumerate(made):
        each.save_as(
            folder / f"{n}.dcm",
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            enforce_file_format=True,
        )
    volume = dicom.read(folder)
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), dicom_made.some_voxels())


@pytest.mark.usefixtures("dicom_here")
def test_a_series_becomes_a_nifti_file(tmp_path, dicom_made):
    volume = dicom.read(dicom_made.save(dicom_made.slices(step=SHEARED), tmp_path / "x"))
    nifti.write(volume, tmp_path / "x.nii.gz")
    back = nib.load(tmp_path / "x.nii.gz")
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)
    np.testing.assert_array_equal(back.get_fdata(), volume.voxels)


# ---------------------------------------------------------------- what counts as a scan


def test_files_and_folders_are_known_by_their_content(tmp_path, dicom_made):
    named = dicom_made.save(dicom_made.slices(), tmp_path / "named")
    bare = dicom_made.save(dicom_made.slices(), tmp_path / "bare", suffix="")
    numbered = dicom_made.save(dicom_made.slices(), tmp_path / "numbered", suffix=".2.840.4")
    for folder in (named, bare, numbered):
        assert formats.format_of(folder) is formats.FORMATS["dicom"]
        assert formats.is_image(folder)
        assert formats.stem(folder) == folder.name
    assert formats.format_of(bare / "IM0900") is formats.FORMATS["dicom"]
    assert formats.format_of(named / "IM0900.dcm") is formats.FORMATS["dicom"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README").write_text("no scan")
    assert not formats.is_image(tmp_path / "other")
    assert not formats.is_image(tmp_path)
    assert formats.format_of(tmp_path / "gone.dcm") is formats.FORMATS["dicom"]
    assert formats.format_of(tmp_path / "gone") is formats.FORMATS["nifti"]


@pytest.mark.usefixtures("dicom_here")
def test_what_else_lies_in_the_folder_is_left_alone(tmp_path, dicom_made):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x", suffix="")
    (folder / "README").write_text("exported by\n" * 20)
    (folder / "notes.json").write_text("{}")
    (folder / ".IM0001.dcm").write_bytes(b"")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "more").mkdir()
    volume = dicom.read(folder)
    assert volume.shape == (16, 16, 10)
    assert volume.notes == ()


def test_a_folder_is_hashed_by_the_content_of_its_files(tmp_path, dicom_made):
    one = dicom_made.save(dicom_made.slices(), tmp_path / "one")
    same = dicom_made.save(dicom_made.slices(), tmp_path / "same")
    assert sha256(one) == sha256(same)
    file = sorted(same.iterdir())[4]
    file.write_bytes(file.read_bytes() + b"\0")
    assert sha256(one) != sha256(same)


# ---------------------------------------------------------------- which series


@pytest.fixture
def localiser(dicom_made):
    """Two slices that are no volume: one sagittal, one coronal."""
    return [
        *dicom_made.slices(
            dicom_made.some_voxels((1, 16, 16)), series=8, orientation=(0, 1, 0, 0, 0, -1)
        ),
        *dicom_made.slices(
            dicom_made.some_voxels((1, 16, 16)), series=8, orientation=(1, 0, 0, 0, 0, -1)
        ),
    ]


@pytest.mark.usefixtures("dicom_here")
def test_of_several_things_the_only_volume_is_taken_with_a_note(tmp_path, dicom_made, localiser):
    made = dicom_made.slices()
    report = dicom_made.slices(dicom_made.some_voxels((1, 4, 4)), series=9)[0]
    report.SOPClassUID = uid.BasicTextSRStorage
    del report.PixelData
    folder = dicom_made.save([*made, *localiser, report], tmp_path / "x")
    volume = dicom.read(folder)
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), dicom_made.some_voxels())
    ((code, text),) = volume.notes
    assert code == "N_SERIES"
    assert "no volume (2 groups) or other objects (1 files)" in text


@pytest.mark.usefixtures("dicom_here")
def test_a_localiser_within_the_series_is_split_off(tmp_path, dicom_made, localiser):
    for each in localiser:
        each.SeriesInstanceUID = dicom_made.ROOT + "2.1"
    folder = dicom_made.save([*localiser, *dicom_made.slices()], tmp_path / "x")
    volume = dicom.read(folder)
    assert volume.shape == (16, 16, 10)
    assert [note.code for note in volume.notes] == ["N_SERIES"]


@pytest.mark.usefixtures("dicom_here")
def test_one_of_several_volumes_has_to_be_chosen(tmp_path, dicom_made):
    first, second = dicom_made.some_voxels(), dicom_made.some_voxels((5, 8, 8))
    made = [*dicom_made.slices(first, series=1), *dicom_made.slices(second, series=2)]
    folder = dicom_made.save(made, tmp_path / "x")
    with pytest.raises(InputError) as caught:
        dicom.read(folder)
    message = str(caught.value)
    assert caught.value.code == "E_SERIES"
    chosen = dicom.series_mark(dicom_made.ROOT + "2.2")
    assert f"series 2, 5 slices: --series {chosen}" in message
    assert dicom_made.ROOT not in message
    for name in (chosen, dicom_made.ROOT + "2.2"):
        volume = reading.read_image(folder, series=name)
        np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), second)
        assert volume.notes == ()
    with pytest.raises(InputError, match="no volume here is of series abc") as caught:
        dicom.read(folder, series="abc")
    assert caught.value.code == "E_SERIES"


@pytest.mark.usefixtures("dicom_here")
def test_two_stacks_of_one_series_are_chosen_by_what_the_refusal_calls_them(tmp_path, dicom_made):
    both = dicom_made.some_voxels((4, 8, 8))
    made = dicom_made.slices(), dicom_made.slices(both, orientation=dicom_made.SAGITTAL)
    for number, each in enumerate(made[1]):
        each.SOPInstanceUID = f"{dicom_made.ROOT}7.{number}"
    folder = dicom_made.save([*made[1], *made[0]], tmp_path / "x")
    with pytest.raises(InputError, match="4 slices") as caught:
        dicom.read(folder, series=dicom_made.ROOT + "2.1")
    (name,) = [word for word in str(caught.value).split() if word.rstrip(";.").endswith("-1")]
    volume = dicom.read(folder, series=name.rstrip(";."))
    assert volume.shape in ((8, 8, 4), (16, 16, 10))


def test_a_nifti_file_has_no_series(tmp_path, nifti_bytes):
    (tmp_path / "x.nii").write_bytes(nifti_bytes())
    with pytest.raises(InputError, match="Leave out --series") as caught:
        reading.read_image(tmp_path / "x.nii", series="1.2.3.4.5")
    assert caught.value.code == "E_SERIES"


@pytest.mark.usefixtures("dicom_here")
def test_a_case_names_its_series(tmp_path, dicom_made):
    made = [*dicom_made.slices(), *dicom_made.slices(dicom_made.some_voxels((5, 8, 8)), series=2)]
    folder = dicom_made.save(made, tmp_path / "x")
    case = Case("x", "x", folder, series=dicom_made.ROOT + "2.2")
    assert case.read().image.shape == (8, 8, 5)


# ---------------------------------------------------------------- the process


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dicom", {"pydicom", "highdicom", "gdcm", "torch", "nibabel"}),
        ("formats", {"highdicom", "torch"}),  # pydicom is nibabel's to load, where it is there
        ("dicom_child", {"highdicom", "torch", "nibabel"}),
    ],
)
def test_heavy_packages_are_loaded_where_they_are_needed(module, heavy):
    code = f"import sys, wholesight.io.{module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_process_reads_the_same(tmp_path, dicom_made, dicom_here, monkeypatch):
    folder = dicom_made.save(dicom_made.slices(), tmp_path / "x")
    here = dicom.read(folder)
    monkeypatch.undo()
    there = dicom.read(folder)
    np.testing.assert_array_equal(here.voxels, there.voxels)
    np.testing.assert_array_equal(here.affine, there.affine)
    assert here.header == there.header


def test_a_module_in_the_current_folder_is_not_imported(tmp_path, dicom_made, monkeypatch):
    dicom_made.save(dicom_made.slices(), tmp_path / "x")
    (tmp_path / "pydicom.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert dicom.read(Path("x")).shape == (16, 16, 10)


@pytest.mark.usefixtures("dicom_here")
def test_nobody_is_named(tmp_path, dicom_made):
    volume = dicom.read(dicom_made.save(dicom_made.slices(), tmp_path / "x"))
    seen = json.dumps([volume.name, str(volume.header), volume.notes])
    header = dcmread(next((tmp_path / "x").iterdir()))
    for secret in (dicom_made.NAME, dicom_made.PATIENT, header.SeriesInstanceUID, "Ignotus"):
        assert secret not in seen
