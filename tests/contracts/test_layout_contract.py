"""What every layout of a data set promises. A new layout adds its maker here and nothing else."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from wholesight.datasets import LAYOUTS, SPLITS, open_dataset
from wholesight.datasets.scans import Scans, file_hashes
from wholesight.errors import InputError, UsageError
from wholesight.io.formats import format_of
from wholesight.volume import Volume

CASES = {"p1": "train", "p2": "train", "p3": "calibration", "p4": "validation", "p5": "test"}


def brats_files(case: str) -> list[str]:
    return [f"{case}/{case}_{role}.nii.gz" for role in ("flair", "seg", "inside")]


def folder_files(case: str) -> list[str]:
    return [f"{folder}/{case}.nii.gz" for folder in (CASES[case], "masks", "inside")]


def bids_files(case: str) -> list[str]:
    anat = f"sub-{case}/ses-1/anat/sub-{case}_ses-1"
    masks = [
        f"derivatives/any/{anat}_{name}_mask.nii.gz" for name in ("label-lesion", "desc-brain")
    ]
    return [f"{anat}_FLAIR.nii.gz", *masks]


def manifest_files(case: str) -> list[str]:
    return [f"any where/{role} of {case}.nii.gz" for role in ("image", "mask", "inside")]


# In MVTec's layout a case is called by its path; normal pictures have no mask.
PLACES = {
    case: "test/cut" if CASES[case] in ("validation", "test") else "train/good" for case in CASES
}


def mvtec_id(case: str) -> str:
    return f"{PLACES[case]}/{case}".replace("/", "_")


def mvtec_files(case: str) -> list[str]:
    mask = "" if "good" in PLACES[case] else f"ground_truth/cut/{case}_mask.png"
    return [f"{PLACES[case]}/{case}.tif", mask, f"inside/{PLACES[case]}/{case}.png"]


def write_split(root: Path, called: Callable[[str], str] = str) -> None:
    named = {split: [called(case) for case in CASES if CASES[case] == split] for split in SPLITS}
    (root / "split.json").write_text(str(named).replace("'", '"'))


def write_description_and_split(root: Path) -> None:
    (root / "dataset_description.json").write_text('{"Name": "five", "BIDSVersion": "1.11.0"}')
    write_split(root)


def write_table(root: Path) -> None:
    rows = [(case, CASES[case], *manifest_files(case)) for case in CASES]
    lines = ["\t".join(row) for row in (("case", "split", "image", "mask", "inside"), *rows)]
    (root / "cases.tsv").write_text("\n".join(lines))


def write_nothing(_: Path) -> None:
    """The names of the folders say it all."""


class Maker(NamedTuple):
    """files : of a case: image, mask ("" for one that is known to be normal), body mask.

    finish : writes what else must be there. called : a case's id. whose : its subject. slices : of
    an image.
    """

    files: Callable[[str], list[str]]
    finish: Callable[[Path], None]
    called: Callable[[str], str] = str
    whose: Callable[[str], str] = str
    slices: int = 5


MAKERS = {
    "manifest": Maker(manifest_files, write_table),
    "folder": Maker(folder_files, write_nothing),
    "mvtec": Maker(
        mvtec_files, lambda root: write_split(root, mvtec_id), mvtec_id, mvtec_id, slices=1
    ),
    "brats": Maker(brats_files, write_split),
    "bids": Maker(bids_files, write_description_and_split, "sub-{}_ses-1".format),
}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    """A data set of five cases in one of the layouts: (its name, its folder)."""
    maker = MAKERS[request.param]
    for seed, case in enumerate(CASES):
        voxels = np.random.default_rng(seed).random((7, 6, maker.slices), np.float32)
        image = Volume(voxels, np.diag([1.0, -1.0, 3.0, 1.0]))
        parts = (image, image.like(voxels > 0.9), image.like(voxels > 0.1))
        for file, part in zip(maker.files(case), parts, strict=True):
            if file:
                path = tmp_path / file
                path.parent.mkdir(parents=True, exist_ok=True)
                format_of(path).write(part, path, path)
    maker.finish(tmp_path)
    return request.param, tmp_path


def test_it_is_recognised(layout):
    name, root = layout
    assert open_dataset(root).layout == name
    assert [other for other in LAYOUTS if LAYOUTS[other].fits(root)] == [name]


def test_every_case_is_there_once_and_nothing_is_amiss(layout):
    found = open_dataset(layout[1])
    called = MAKERS[layout[0]].called
    assert [case.id for case in found.cases] == sorted(called(case) for case in CASES)
    assert found.findings == ()


def test_every_case_is_readable_on_one_grid(layout):
    for case in open_dataset(layout[1]).cases:
        image, inside, abnormal, _ = case.read()
        assert image.same_grid(inside)
        assert image.same_grid(abnormal)
        lesion = (image.voxels > np.float32(0.9)) & (not case.normal)
        np.testing.assert_array_equal(abnormal.voxels, lesion)
        assert case.has_truth
        np.testing.assert_array_equal(inside.voxels, image.voxels > np.float32(0.1))


def test_no_subject_is_in_two_splits(layout):
    found = open_dataset(layout[1])
    whose = MAKERS[layout[0]].whose
    expected = {whose(case): split for case, split in CASES.items()}
    assert {case.subject: case.split for case in found.cases} == expected
    subjects = [{case.subject for case in found.subset(split)} for split in SPLITS]
    assert sum(map(len, subjects)) == len(set.union(*subjects)) == len(CASES)


def test_the_order_is_not_that_of_the_disk(layout, monkeypatch):
    expected = open_dataset(layout[1]).cases
    listed = os.listdir

    def shuffled(*arguments):
        names = listed(*arguments)
        random.Random(len(names)).shuffle(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)  # what pathlib lists folders by
    assert open_dataset(layout[1]).cases == expected


def test_what_is_asked_is_answered_or_refused(layout):
    """No option is ignored: a modality that is not there is an error in every layout."""
    with pytest.raises(UsageError, match="no_such_modality"):
        open_dataset(layout[1], modality="no_such_modality")


@pytest.mark.parametrize("role", range(3), ids=["image", "mask", "inside"])
@pytest.mark.parametrize("use", [file_hashes, lambda cases: list(Scans(cases))])
def test_a_file_that_is_not_fetched_is_refused_with_what_to_do(layout, role, use):
    """In a DataLad data set the links are there and the files may not be."""
    name, root = layout
    link = root / MAKERS[name].files("p5")[role]
    link.unlink()
    link.symlink_to(".git/annex/objects/gone")
    with pytest.raises(InputError, match="datalad get") as refused:
        use(open_dataset(root).cases)
    assert refused.value.code == "E_NOT_FOUND"
    assert str(link) in str(refused.value)
