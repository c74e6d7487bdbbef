"""Data sets in MVTec's layout: which pictures are found, what they are for, and what is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from wholesight.benchmark.judge.map_files import find_map_files
from wholesight.datasets import open_dataset
from wholesight.datasets.check import check
from wholesight.errors import InputError, UsageError


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(1, 255, (8, 9))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def carpet(tmp_path):
    """Ten normal pictures, and to judge on two normal ones and two kinds of defect."""
    root = tmp_path / "carpet"
    for n in range(10):
        picture(root / f"train/good/{n:03d}.png", 1)
    for n in range(2):
        picture(root / f"test/good/{n:03d}.png", 2)
    for kind in ("cut", "metal_contamination"):
        for n in range(2):
            picture(root / f"test/{kind}/{n:03d}.png", len(kind))
            mask = np.zeros((8, 9), np.uint8)
            mask[n + 1, 3:6] = 255
            path = root / f"ground_truth/{kind}/{n:03d}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    (root / "readme.txt").write_text("")
    return root


def of_split(found, split):
    return [case.id for case in found.cases if case.split == split]


def test_what_is_for_what_without_a_split(carpet):
    found = open_dataset(carpet)
    assert found.layout == "mvtec"
    assert of_split(found, "train") == [f"train_good_{n:03d}" for n in range(8)]
    assert of_split(found, "calibration") == ["train_good_008", "train_good_009"]
    assert of_split(found, "test") == [
        f"test_{kind}_{n:03d}" for kind in ("cut", "good", "metal_contamination") for n in range(2)
    ]
    (said,) = found.findings
    assert said.code == "N_DEALT"
    assert "last 2 pictures by name (train_good_008 to train_good_009)" in said.text
    assert "other 8" in said.text


def test_the_split_does_not_change_with_the_pictures_to_judge_on(carpet):
    before = open_dataset(carpet)
    shutil.rmtree(carpet / "test")
    after = open_dataset(carpet)
    for split in ("train", "calibration"):
        assert of_split(before, split) == of_split(after, split)


def test_split_json_decides_where_there_is_one(carpet):
    split = {
        "train": ["train_good_009", "train_good_000"],
        "calibration": ["train_good_001"],
        "validation": ["test_cut_000", "test_good_001"],
    }
    (carpet / "split.json").write_text(json.dumps(split))
    found = open_dataset(carpet)
    for part in ("train", "calibration", "validation"):
        assert of_split(found, part) == sorted(split[part])
    left = ["test_cut_001", "test_good_000", "test_metal_contamination_000"]
    assert of_split(found, "test") == [*left, "test_metal_contamination_001"]
    assert of_split(found, None) == [f"train_good_{n:03d}" for n in range(2, 9)]
    assert [finding.code for finding in found.findings] == ["N_NO_SPLIT"]


def test_truth(carpet):
    cases = {case.id: case for case in open_dataset(carpet).cases}
    cut = cases["test_cut_001"]
    assert cut.mask == carpet / "ground_truth/cut/001_mask.png"
    rows, columns = np.nonzero(cut.read().abnormal.voxels[..., 0].T)
    assert (set(rows), set(columns)) == ({2}, {3, 4, 5})
    for name in ("test_good_000", "train_good_000"):
        assert cases[name].mask is None
        assert cases[name].has_truth
        assert not cases[name].read().abnormal.voxels.any()


def test_a_defect_without_a_mask_is_unknown_and_not_normal(carpet):
    (carpet / "ground_truth/cut/001_mask.png").unlink()
    cases = {case.id: case for case in open_dataset(carpet).cases}
    assert not cases["test_cut_001"].has_truth
    assert cases["test_cut_001"].read().abnormal is None
    report = check(carpet)
    assert "test_cut_001" in next(f.text for f in report.findings if f.code == "N_NO_MASK")
    assert report.splits["test"].unmarked_slices == 1
    assert report.splits["test"].normal_slices == 2


def test_a_body_mask(carpet):
    body = np.zeros((8, 9), np.uint8)
    body[2:6] = 1
    path = carpet / "inside/test/cut/000.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(body).save(path)
    cases = {case.id: case for case in open_dataset(carpet).cases}
    inside = cases["test_cut_000"].read().inside
    np.testing.assert_array_equal(inside.voxels[..., 0].T, body > 0)
    assert cases["test_good_000"].inside is None


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["train/good/003.jpg"], "train_good_003"),
        (["test/a_b/c.png", "test/a/b_c.png"], "test_a_b_c"),
    ],
)
def test_pictures_that_would_be_one_case(carpet, paths, name):
    for path in paths:
        picture(carpet / path)
    with pytest.raises(InputError, match=name) as refused:
        open_dataset(carpet)
    assert refused.value.code == "E_DUPLICATE"
    assert all(path in str(refused.value) for path in paths)


def test_what_is_not_used_is_said(carpet):
    picture(carpet / "train/bad/000.png")
    picture(carpet / "validation/good/000.png")
    shutil.copy(carpet / "ground_truth/cut/000_mask.png", carpet / "ground_truth/cut/007_mask.png")
    shutil.copy(carpet / "ground_truth/cut/000_mask.png", carpet / "ground_truth/cut/000.png")
    texts = [f.text for f in open_dataset(carpet).findings if f.code == "N_UNUSED"]
    assert len(texts) == 3
    assert "validation" in texts[0]
    assert "bad" in texts[1]
    assert "cut/000.png, cut/007_mask.png" in texts[2]


def test_masks_of_other_tools_are_known_as_masks(carpet, tmp_path):
    """Plain files called as the cases are: pictures of black and white are masks, others maps."""
    cases = open_dataset(carpet).subset("test")
    for name, white in (("masks", 255), ("ones", 1), ("maps", 200)):
        folder = tmp_path / name
        folder.mkdir()
        for case in cases:
            pixels = np.zeros((8, 9), np.uint8)
            pixels[3:5] = white
            Image.fromarray(pixels).save(folder / f"{case.id}.png")
        found = find_map_files(folder, cases)
        assert {bool(files.mask) for files in found} == {name != "maps"}
        assert {bool(files.map) for files in found} == {name == "maps"}


def test_folders_of_pictures(tmp_path):
    for split, name in (("train", "a"), ("test", "b")):
        picture(tmp_path / f"{split}/{name}.jpg")
    mask = np.zeros((8, 9), np.uint8)
    mask[1, 2] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/b.png")
    found = open_dataset(tmp_path)
    assert (found.layout, [case.id for case in found.cases]) == ("folder", ["a", "b"])
    abnormal = found.cases[1].read().abnormal
    np.testing.assert_array_equal(abnormal.voxels[..., 0].T, mask > 0)


def test_a_modality_means_nothing_here(carpet):
    with pytest.raises(UsageError, match="MVTec"):
        open_dataset(carpet, modality="red")
