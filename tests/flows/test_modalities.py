"""Several images of a case as channels of one recipe: by name, never by position."""

import gzip
import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from wholesight.datasets import Case, open_dataset
from wholesight.datasets.channels import channels_of
from wholesight.datasets.scans import file_hashes
from wholesight.errors import InputError, UsageError
from wholesight.io import nifti, reading
from wholesight.prep.body import Nonzero
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import Maximum
from wholesight.prep.slices import Slicing


@pytest.fixture
def two(heads, tmp_path):
    """The phantom's heads with a second image each, which is bright where the first is dark."""
    folder = tmp_path / "two"
    shutil.copytree(heads, folder)
    for path in folder.glob("*/*_flair.nii.gz"):
        image = reading.read_image(path)
        other = np.where(image.voxels > 0, image.voxels.max() + 1 - image.voxels, 0)
        name = path.name.replace("_flair", "_t2")
        nifti.write(image.like(other.astype(np.float32)), path.with_name(name))
    return folder


def prep(*channels):
    return Prep(
        body=Nonzero(), intensity=Maximum(), slices=Slicing(size=None), channels=list(channels)
    )


def shown(case, *channels):
    return prep(*channels).forward(case.read()).pixels


@pytest.mark.parametrize("layout", ["brats", "manifest", "bids"])
def test_every_layout_names_the_images_of_a_case(two, tmp_path, layout):
    if layout == "manifest":
        subject = next(path.name for path in sorted(two.iterdir()) if path.is_dir())
        files = [f"{subject}/{subject}_{name}.nii.gz" for name in ("flair", "t2", "flair")]
        rows = ["case\timage\timage_t2\timage_flair", "\t".join([subject, *files])]
        (two / "cases.tsv").write_text("\n".join(rows))
        (two / "split.json").unlink()
        case, names = open_dataset(two).cases[0], ("flair", "t2")
    elif layout == "brats":
        case, names = open_dataset(two, modality="flair").cases[0], ("flair", "t2")
    else:
        root = tmp_path / "bids"
        anat = root / "sub-1" / "anat"
        anat.mkdir(parents=True)
        source = next(path for path in sorted(two.iterdir()) if path.is_dir())
        for name, suffix in (("flair", "FLAIR"), ("t2", "T2w")):
            shutil.copy(source / f"{source.name}_{name}.nii.gz", anat / f"sub-1_{suffix}.nii.gz")
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.11.0"}')
        case, names = open_dataset(root, modality="FLAIR").cases[0], ("FLAIR", "T2w")
    alone = shown(case)
    both = shown(case, *names)
    assert both.shape[1] == 2
    np.testing.assert_array_equal(both[:, :1], alone)
    assert not np.array_equal(both[:, 0], both[:, 1])
    # By name: the other way round they come the other way round.
    np.testing.assert_array_equal(shown(case, *reversed(names)), both[:, ::-1])


def test_a_modality_that_is_not_there_is_refused_by_its_name(two):
    case = open_dataset(two, modality="flair").cases[0]
    with pytest.raises(InputError, match=r"no channel 't1', .* There: flair, t2\.") as fault:
        shown(case, "flair", "t1")
    assert fault.value.code == "E_MISSING_MODALITY"


def test_files_of_channels_that_a_method_sees_are_written_down(two):
    case = open_dataset(two, modality="flair").cases[0]
    alone = file_hashes([case])[case.subject]
    assert f"{case.id}/image_t2" not in alone
    both = file_hashes([case], channels=["flair", "t2"])[case.subject]
    t2 = dict(case.modalities)["t2"]
    assert both[f"{case.id}/image_t2"] == sha256(t2.read_bytes()).hexdigest()
    assert both[f"{case.id}/image_flair"] == both[f"{case.id}/image"]
    assert alone.items() <= both.items()


def test_a_modality_on_another_grid_is_refused(two):
    case = open_dataset(two, modality="flair").cases[0]
    path = dict(case.modalities)["t2"]
    image = reading.read_image(path)
    moved = image.affine.copy()
    moved[:3, 3] += 5
    nifti.write(type(image)(image.voxels, moved), path)
    assert shown(case).shape[1] == 1
    with pytest.raises(InputError, match=r"its channel 't2' .*Resample") as fault:
        shown(case, "flair", "t2")
    assert fault.value.code == "E_GRID"


def test_check_reads_the_channels_that_are_named(two, wholesight):
    one, other = sorted(path for path in two.iterdir() if path.is_dir())[:2]
    (one / f"{one.name}_t2.nii.gz").unlink()
    path = other / f"{other.name}_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])
    assert wholesight("check", two, "--modality", "flair").code == 0
    ended = wholesight("check", two, "--modality", "flair", "--modality", "t2")
    assert ended.code == 4
    said = " ".join(ended.out.split())
    assert "E_MISSING_MODALITY" in said
    assert "E_TRUNCATED" in said


def test_channels_of_bids_are_suffixes_in_any_case_and_of_one_set_of_entities():
    modalities = (("FLAIR", Path("x_FLAIR.nii")), ("T2w", Path("x_T2w.nii")))
    cases = [Case("x", "x", Path("x_FLAIR.nii"), modalities=modalities)]
    assert channels_of(cases, "bids", ["flair"]) == []
    assert channels_of(cases, "bids", ["acq-x_flair", "t2W"]) == ["FLAIR", "T2w"]
    for odd in ("acq-x_T2w", "acq-x", "t1"):
        with pytest.raises(UsageError, match=f"--modality {odd}: no case has .* FLAIR, T2w"):
            channels_of(cases, "bids", ["FLAIR", odd])
    with pytest.raises(UsageError, match="one image each"):
        channels_of([Case("x", "x", Path("x.nii"))], "folder", ["a", "b"])


def test_what_cannot_be_meant_is_refused(wholesight, two, tmp_path):
    both = ("--modality", "flair", "--modality", "t2")
    ended = wholesight("fit", two, *both, "--set", "channels=[t2]", "--out", tmp_path / "m")
    assert ended.code == 2
    assert "Leave one of them out" in ended.err
    ended = wholesight("evaluate", tmp_path, two, *both, "--out", tmp_path / "e")
    assert ended.code == 2
    assert "name one, that in which the body is found" in ended.err


@pytest.mark.slow
def test_the_whole_way_with_two_modalities(wholesight, two, tiny, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    of = ("--modality", "flair")
    ended = wholesight("fit", two, *tiny, *of, "--modality", "t2", "--out", model)
    assert ended.code == 0, ended.err
    assert "--modality flair" in ended.out
    record = json.loads((model / "record.json").read_text())
    assert any(name.endswith("/image_t2") for name in str(record["data"]).split("'"))
    words = ("calibrate", model, two, *of, "--rule", "percentile", "--no-cost")
    assert wholesight(*words).code == 0
    ended = wholesight("segment", model, two, *of, "--subset", "test", "--out", out)
    assert ended.code == 0, ended.err
    record = json.loads(next(out.glob("phantom*.json")).read_text())
    assert set(record["channels_sha256"]) == {"flair", "t2"}
    assert wholesight("evaluate", out, two, *of, "--out", tmp_path / "judged").code == 0
    # What is odd about a channel's file is told, too.
    subject = sorted(json.loads((two / "split.json").read_text())["test"])[0]
    path = two / subject / f"{subject}_t2.nii.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    ended = wholesight("segment", model, two / subject, *of, "--out", tmp_path / "o3")
    (record,) = (json.loads(file.read_text()) for file in (tmp_path / "o3").glob("phantom*.json"))
    told = [note["text"] for note in record["notes"] if note["code"] == "N_NAME"]
    assert len(told) == 1
    assert told[0].startswith("t2: is called .gz")
    # A case folder too; a single file has not all that the recipe asks for.
    assert wholesight("segment", model, two / subject, *of, "--out", tmp_path / "o1").code == 0
    single = two / subject / f"{subject}_flair.nii.gz"
    ended = wholesight("segment", model, single, "--out", tmp_path / "o2")
    assert ended.code == 7
    assert "E_MISSING_MODALITY" in (tmp_path / "o2" / "failures.tsv").read_text()
    # Another T2 is another result.
    image = reading.read_image(two / subject / f"{subject}_t2.nii.gz")
    nifti.write(image.like(image.voxels * 2 + 1), two / subject / f"{subject}_t2.nii.gz")
    again = ("segment", model, two, *of, "--subset", "test", "--out", out, "--resume")
    assert "1 of them before" in wholesight(*again).out
