"""Data sets on disk: which cases are found, to which split they belong, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from wholesight.datasets import DataSet, open_dataset
from wholesight.datasets.check import check
from wholesight.errors import InputError, UsageError
from wholesight.io import nifti
from wholesight.volume import Volume

SPLITS = {"train": ["b", "a", "c"], "calibration": ["d"], "test": ["e"]}


def codes(found: DataSet) -> list[str]:
    return [finding.code for finding in found.findings]


def refusal(path, code, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_dataset(path, **options)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- BraTS


def test_brats_cases_are_sorted_and_read(tiny_brats):
    found = open_dataset(tiny_brats(SPLITS))
    assert found.layout == "brats"
    assert [case.id for case in found.cases] == ["a", "b", "c", "d", "e"]
    assert [case.split for case in found.cases] == ["train"] * 3 + ["calibration", "test"]
    image, inside, abnormal, _ = found.cases[0].read()
    assert image.voxels.dtype == np.float32
    assert inside is None
    assert abnormal.voxels.sum() == 18


def test_brats_one_level_deeper_with_hyphens_and_plain_files(tmp_path):
    for case in ("HGG/p-2/p-2-t2f.nii", "HGG/p-2/p-2-seg.nii", "LGG/p-1/p-1-t2f.nii"):
        (tmp_path / case).parent.mkdir(parents=True, exist_ok=True)
        nifti.write(Volume(np.arange(8.0).reshape(2, 2, 2)), tmp_path / case)
    first, second = open_dataset(tmp_path).cases
    assert (first.id, first.mask, second.id) == ("p-1", None, "p-2")
    assert second.mask == tmp_path / "HGG/p-2/p-2-seg.nii"


def test_brats_body_mask(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    image = nifti.read(root / "a/a_flair.nii.gz")
    nifti.write(image.like(image.voxels > 0.5), root / "a/a_inside.nii.gz")
    case = open_dataset(root).cases[0]
    np.testing.assert_array_equal(case.read().inside.voxels, image.voxels > 0.5)
    nifti.write(image.like(image.voxels > 2), root / "a/a_inside.nii.gz")
    with pytest.raises(InputError, match="marks no voxel") as caught:
        case.read()
    assert caught.value.code == "E_EMPTY"


def test_a_picture_in_a_case_is_a_preview_and_no_modality(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    (root / "a/a_t1.png").write_bytes(b"")
    found = open_dataset(root)
    assert [case.image.name for case in found.cases] == ["a_flair.nii.gz"]
    assert found.findings == ()


def test_several_modalities_must_be_chosen_from(tiny_brats):
    root = tiny_brats({"train": ["a", "b"]})
    shutil.copy(root / "a/a_flair.nii.gz", root / "a/a_t1ce.nii.gz")
    with pytest.raises(UsageError, match=r"flair \(2 cases\), t1ce \(1 case\).*--modality"):
        open_dataset(root)
    with pytest.raises(UsageError, match="Did you mean 'flair'"):
        open_dataset(root, modality="flare")
    assert len(open_dataset(root, modality="flair").cases) == 2
    assert "b_t1ce" in refusal(root, "E_MISSING_MODALITY", modality="t1ce")


def test_a_repeat_deeper_down_is_left_out_and_said(tiny_brats):
    root = tiny_brats({"train": ["a", "b"]})
    (root / "aa").mkdir()  # before the case in the order of names
    shutil.copytree(root / "b", root / "aa" / "b")
    found = open_dataset(root)
    assert [case.image.parent for case in found.cases] == [root / "a", root / "b"]
    assert codes(found) == ["N_DUPLICATE"]


def test_two_cases_of_one_name_side_by_side_are_an_error(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    for group in ("HGG", "LGG"):
        shutil.copytree(root / "a", root / group / "a")
    shutil.rmtree(root / "a")
    assert "HGG" in refusal(root, "E_DUPLICATE")


def test_two_files_for_one_image_are_an_error(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    shutil.copy(root / "a/a_flair.nii.gz", root / "a/a_flair.nii")
    assert "a_flair.nii, a_flair.nii.gz" in refusal(root, "E_DUPLICATE")


def test_what_is_not_used_is_said(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    (root / "a/a_seg.nii.gz").rename(root / "a/W39_Segm.nii.gz")
    (root / "docs").mkdir()
    (root / ".git").mkdir()
    texts = [finding.text for finding in open_dataset(root).findings]
    assert len(texts) == 2
    assert "W39_Segm.nii.gz" in texts[0]
    assert "(docs)" in texts[1]


def test_a_single_case_is_no_data_set(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    assert str(root) in refusal(root / "a", "E_LAYOUT").split("give the folder")[1]


# ---------------------------------------------------------------- grids


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v: Volume(v.voxels[:, :, :4] > 2, v.affine), "10x12x4 voxels but .* 10x12x6"),
        (
            lambda v: Volume(v.voxels > 2, v.affine + 0.01),
            r"lies elsewhere, affine \[-0.99 .*\[-1 0 0",
        ),
    ],
)
def test_a_mask_on_another_grid(tiny_brats, change, text):
    root = tiny_brats({"train": ["a"]})
    image = nifti.read(root / "a/a_flair.nii.gz")
    nifti.write(change(image), root / "a/a_seg.nii.gz")
    with pytest.raises(InputError, match=text) as caught:
        open_dataset(root).cases[0].read()
    assert caught.value.code == "E_GRID"


def test_every_bad_file_of_a_case_is_named(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    (root / "a/a_flair.nii.gz").write_bytes(b"")
    (root / "a/a_seg.nii.gz").write_bytes(b"<html>")
    scan, faults = open_dataset(root).cases[0].attempt()
    assert scan is None
    assert [fault.code for fault in faults] == ["E_TRUNCATED", "E_FORMAT"]


# ---------------------------------------------------------------- splits


def test_subsets(tiny_brats):
    found = open_dataset(tiny_brats(SPLITS))
    assert [case.id for case in found.subset("train")] == ["a", "b", "c"]
    assert len(found.subset("all")) == 5
    with pytest.raises(UsageError, match="Did you mean 'validation'"):
        found.subset("vlidation")
    with pytest.raises(InputError, match="train 3, calibration 1, test 1") as caught:
        found.subset("validation")
    assert caught.value.code == "E_NO_CASES"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"train": ["a"], "test": ["a", "b"]}', "subject a is in 'train' and 'test'"),
        ('{"train": ["a", "b"], "tset": []}', "Did you mean 'test'"),
        ('{"train": ["a", "b"], "test": ["zz"]}', r"without a case \(zz\)"),
        ('{"train": ["a"], "train": ["b"]}', "stands there twice"),
        ('{"train": "a"}', "not a list of subject names"),
        ('{"train": [1]}', "not a list of subject names"),
        ('["a"]', "not a JSON object"),
        ('{"train": ["a",]}', "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
    ],
)
def test_a_split_that_cannot_be_meant(tiny_brats, content, text):
    root = tiny_brats({"train": ["a", "b"]})
    (root / "split.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=text) as caught:
        open_dataset(root)
    assert caught.value.code == "E_SPLIT"
    assert "split.json" in str(caught.value)


def test_subjects_in_no_split_are_said(tiny_brats):
    root = tiny_brats({"train": ["a", "b"]})
    (root / "split.json").write_text('\ufeff{"train": ["a"]}', "utf-8")
    found = open_dataset(root)
    assert [case.split for case in found.cases] == ["train", None]
    assert found.findings[0].text == "1 case of 2 in no split (b)."
    (root / "split.json").unlink()
    found = open_dataset(root)
    assert codes(found) == ["N_NO_SPLIT"]
    with pytest.raises(InputError, match="in no split 2"):
        found.subset("train")


def test_a_split_one_folder_deeper_is_pointed_at(tiny_brats):
    root = tiny_brats({"train": ["a"]})
    (finding,) = open_dataset(root.parent).findings
    assert f"give {root} as DATA" in finding.text


# ---------------------------------------------------------------- folders


def test_folder_layout(tmp_path):
    for name in ("normal/n1", "train/t1", "test/e1", "masks/e1", "masks/zz", "inside/t1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "split.json").write_text(json.dumps({"calibration": ["n1"]}))
    found = open_dataset(tmp_path)
    assert found.layout == "folder"
    expected = [("e1", "test"), ("n1", "calibration"), ("t1", "train")]
    assert [(case.id, case.split) for case in found.cases] == expected
    assert [bool(case.mask) for case in found.cases] == [True, False, False]
    assert [bool(case.inside) for case in found.cases] == [False, False, True]
    assert codes(found) == ["N_UNUSED"]
    (tmp_path / "test/t1.nii.gz").touch()
    refusal(tmp_path, "E_DUPLICATE")


# ---------------------------------------------------------------- nothing there


def test_no_data_set(tmp_path):
    refusal(tmp_path / "nowhere", "E_NOT_FOUND")
    assert "cases.tsv" in refusal(tmp_path, "E_LAYOUT")
    (tmp_path / "scan.nii.gz").touch()
    refusal(tmp_path / "scan.nii.gz", "E_LAYOUT")


# ---------------------------------------------------------------- values


def test_images_with_negative_values_are_noted(tiny_brats):
    root = tiny_brats(SPLITS)
    assert check(root).findings == ()
    path = root / "b/b_flair.nii.gz"
    image = nifti.read(path)
    rings = np.where(image.voxels > 0.99, np.float32(-0.01), image.voxels)
    nifti.write(image.like(rings), path)
    assert check(root).findings == ()  # resampling rings a little below 0
    nifti.write(image.like(image.voxels - image.voxels.mean()), path)
    (finding,) = check(root).findings
    assert (finding.level, finding.code) == ("note", "N_NEGATIVE")
    assert "1 case with values below 0 (b)" in finding.text
