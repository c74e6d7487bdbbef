"""DICOM through the command line: a series in, results out, and another threshold on them."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread, uid

from wholesight.cohort.plan import plan
from wholesight.datasets import open_dataset
from wholesight.errors import UsageError
from wholesight.io import dicom, nifti


def as_slices(path: Path, dicom_made, **options):
    """Turn a NIfTI file with axial slices into DICOM instances in the same place."""
    image = nib.as_closest_canonical(nib.load(path))
    voxels = np.asarray(image.dataobj)
    assert voxels.max() < 32768
    stored = np.rint(voxels).astype(np.int16).transpose(2, 1, 0)
    across = np.linalg.norm(image.affine[:3, :3], axis=0)
    # RAS: rows of pixels run to the right, columns to the front, in LPS both against the axes.
    return dicom_made.slices(
        stored,
        orientation=(-1, 0, 0, 0, -1, 0),
        origin=image.affine[:3, 3] * [-1, -1, 1],
        step=(0, 0, across[2]),
        spacing=(across[1], across[0]),
        **options,
    )


@pytest.fixture
def head(heads, dicom_made):
    """A maker of a phantom head as DICOM instances; they must hold more than noise."""
    files = sorted(heads.glob("*/*_flair.nii.gz"))

    def make(number: int = 0, **options):
        return as_slices(files[number], dicom_made, **options)

    return make


def everything_said(out: Path, *ended) -> str:
    texts = [path.read_text() for path in out.iterdir() if path.suffix in (".json", ".tsv")]
    return "\n".join([*texts, *(each.out + each.err for each in ended), *map(str, out.iterdir())])


def test_a_series_is_segmented_and_gets_another_threshold(
    wholesight, model, head, tmp_path, dicom_made
):
    series = dicom_made.save(head(), tmp_path / "case7")
    ended = wholesight("segment", model, series, "--out", tmp_path / "o")
    assert ended.code == 0, ended.err + ended.out
    record = json.loads((tmp_path / "o" / "case7.json").read_text())
    assert set(record["outputs"]) == {"case7_anomaly.dcm", "case7_mask.dcm"}
    assert record["input"] == "case7"

    # The same voxels as NIfTI give the same map.
    scan = dicom.read(series)
    nifti.write(scan, tmp_path / "case7.nii.gz")
    assert not wholesight("segment", model, tmp_path / "case7.nii.gz", "--out", tmp_path / "n").code
    for role in ("anomaly", "mask"):
        there = nifti.read(tmp_path / "n" / f"case7_{role}.nii.gz")
        here = dicom.read(tmp_path / "o" / f"case7_{role}.dcm")
        np.testing.assert_array_equal(here.voxels, there.voxels)
        np.testing.assert_allclose(here.affine, there.affine, atol=1e-4)
    assert here.voxels.any()

    again = wholesight(
        "threshold",
        tmp_path / "o",
        "--rule",
        "percentile",
        "--alpha",
        "0.2",
        "--out",
        tmp_path / "t",
    )
    assert again.code == 0, again.err + again.out
    mask = dicom.read(tmp_path / "t" / "case7_mask.dcm")
    assert mask.voxels.sum() > here.voxels.sum()
    assert mask.same_grid(here)
    assert dcmread(tmp_path / "t" / "case7_mask.dcm").SOPClassUID == uid.SegmentationStorage
    same = [(tmp_path / run / "case7_anomaly.dcm").read_bytes() for run in ("o", "t")]
    assert same[0] == same[1]

    said = everything_said(tmp_path / "o", ended) + everything_said(tmp_path / "t", again)
    for secret in ("Ignotus", dicom_made.PATIENT, dicom_made.ROOT, "19340512"):
        assert secret not in said


@pytest.mark.slow
def test_a_folder_of_series_goes_on_past_a_broken_one(
    wholesight, model, head, tmp_path, dicom_made
):
    root = tmp_path / "in"
    for number, name in enumerate(("ann", "bob")):
        dicom_made.save(head(number, series=number + 1), root / name)
    broken = head(0, series=3)
    del broken[3]
    dicom_made.save(broken, root / "gap")
    ended = wholesight("segment", model, root, "--out", tmp_path / "o")
    assert ended.code == 4
    assert (tmp_path / "o" / "ann_mask.dcm").exists()
    assert (tmp_path / "o" / "bob_mask.dcm").exists()
    assert "\tE_GAP\t" in (tmp_path / "o" / "failures.tsv").read_text()

    done = wholesight("segment", model, root, "--out", tmp_path / "o", "--resume")
    assert "2 of 3 scans segmented, 2 of them before" in done.out
    one = sorted((root / "ann").iterdir())[0]
    first = (tmp_path / "o" / "ann.json").read_bytes()
    one.write_bytes(one.read_bytes() + bytes(2))  # after the pixels: another file, the same voxels
    wholesight("segment", model, root, "--out", tmp_path / "o", "--resume")
    assert (
        json.loads(first)["input_sha256"]
        != json.loads((tmp_path / "o" / "ann.json").read_text())["input_sha256"]
    )


@pytest.mark.slow
def test_a_series_is_chosen_by_option_or_manifest(wholesight, model, head, tmp_path, dicom_made):
    both = [*head(0, series=1), *head(1, series=2)]
    folder = dicom_made.save(both, tmp_path / "both")
    ended = wholesight("segment", model, folder, "--out", tmp_path / "o")
    assert ended.code == 7
    assert "\tE_SERIES\t" in (tmp_path / "o" / "failures.tsv").read_text()

    wanted = dicom_made.ROOT + "2.2"
    ended = wholesight("segment", model, folder, "--series", wanted, "--out", tmp_path / "p")
    assert ended.code == 0, ended.err + ended.out
    record = json.loads((tmp_path / "p" / "both.json").read_text())
    assert record["series"] == dicom.series_mark(wanted)
    assert wanted not in everything_said(tmp_path / "p", ended)
    mask = dcmread(tmp_path / "p" / "both_mask.dcm")
    assert mask.ReferencedSeriesSequence[0].SeriesInstanceUID == wanted

    lines = [f"{name}\tboth\t{dicom_made.ROOT}2.{name[-1]}" for name in ("s1", "s2")]
    (tmp_path / "cases.tsv").write_text("\n".join(["case\timage\tseries", *lines]) + "\n")
    ended = wholesight("segment", model, tmp_path / "cases.tsv", "--out", tmp_path / "q")
    assert ended.code == 0, ended.err + ended.out
    first, second = (json.loads((tmp_path / "q" / f"s{n}.json").read_text()) for n in (1, 2))
    assert first["series"] != second["series"]
    assert first["score"] != second["score"]
    assert second["score"] == record["score"]


def test_info_tells_of_a_series(wholesight, head, tmp_path, dicom_made):
    folder = dicom_made.save(head(), tmp_path / "case7")
    for path in (folder, next(folder.iterdir())):
        ended = wholesight("info", path)
        assert ended.code == 0
        assert "4 x 4 x 12 mm" in ended.out
        assert "Ignotus" not in ended.out
    made = head()
    del made[2]
    broken = dicom_made.save(made, tmp_path / "gap")
    ended = wholesight("info", broken, "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["refused"]["code"] == "E_GAP"


# ---------------------------------------------------------------- what is a scan


def test_a_folder_is_a_scan_by_its_own_name(dicom_made, tmp_path, monkeypatch):
    made = dicom_made.slices(dicom_made.some_voxels((2, 4, 4)))
    folder = dicom_made.save(made, tmp_path / "in" / "case7", suffix="")
    monkeypatch.chdir(folder)
    for path in (folder, Path(), folder.parent):
        ((case, stem, _),) = plan([path]).jobs
        assert (stem, case.id, case.subject) == ("case7", "case7", "case7")
    assert plan([folder], series="1.2.3.4").jobs[0].case.series == "1.2.3.4"


def test_a_slice_stands_for_its_series(dicom_made, tmp_path):
    voxels = dicom_made.some_voxels((3, 4, 4))
    both = [*dicom_made.slices(voxels, series=1), *dicom_made.slices(voxels, series=2)]
    folder = dicom_made.save(both, tmp_path / "case7")
    files = sorted(folder.iterdir())  # against the order in which they were saved
    mark = dicom.series_mark(dicom_made.ROOT + "2.2")
    ((case, stem, _),) = plan([files[0]]).jobs
    assert (stem, case.image, case.series) == ("case7", folder, mark)
    assert [job.case.series for job in plan(files[:3]).jobs] == [mark]
    assert case.read().image.shape == (4, 4, 3)
    with pytest.raises(UsageError, match="written more than once"):
        plan(files)  # two series, one name
    whole = tmp_path / "whole.dcm"
    dicom_made.enhanced(dicom_made.slices(voxels)).save_as(whole, enforce_file_format=True)
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(files[0].read_bytes()[:300])
    found = plan([whole, broken]).jobs
    assert [(case.image, case.series) for case, *_ in found] == [(whole, None), (broken, None)]


def test_results_are_no_scans(dicom_made, tmp_path):
    folder = dicom_made.save(dicom_made.slices(dicom_made.some_voxels((2, 4, 4))), tmp_path / "x")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("x_anomaly.dcm", "x_mask.dcm"):
        (out / name).write_bytes(bytes(128) + b"DICM")
    (out / "x.json").write_text("{}")
    found = plan([folder, out])
    assert [job.stem for job in found.jobs] == ["x"]
    assert len(found.left_out) == 2
    # Beside its own slices a result is none of them.
    shutil.copy(out / "x_mask.dcm", folder)
    assert [job.stem for job in plan([folder]).jobs] == ["x"]


def test_the_folder_layout_takes_series(dicom_made, tmp_path):
    for number, name in enumerate(("train/ann", "train/bob", "test/cai")):
        voxels = dicom_made.some_voxels((2, 4, 4)) + number
        dicom_made.save(dicom_made.slices(voxels), tmp_path / name)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "cai.dcm").write_bytes(bytes(128) + b"DICM")
    assert [job.stem for job in plan([tmp_path], subset="test").jobs] == ["cai"]
    found = open_dataset(tmp_path)
    assert found.cases[2].mask == tmp_path / "masks" / "cai.dcm"
    assert found.layout == "folder"
    assert [(case.id, case.split) for case in found.cases] == [
        ("ann", "train"),
        ("bob", "train"),
        ("cai", "test"),
    ]
