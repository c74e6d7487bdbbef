"""What every layout of a data set promises. A new layout adds its maker here and nothing else."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from wholesight.datasets import LAYOUTS, SPLITS, open_dataset
from wholesight.datasets.scans import Scans, file_hashes
from wholesight.errors import InputError, UsageError
from wholesight.io import nifti
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


def write_split(root: Path) -> None:
    named = {split: [case for case in CASES if CASES[case] == split] for split in SPLITS}
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


# layout -> the files of a case (image, mask, body mask), and what else must be there
MAKERS = {
    "manifest": (manifest_files, write_table),
    "folder": (folder_files, write_nothing),
    "brats": (brats_files, write_split),
    "bids": (bids_files, write_description_and_split),
}
# The cases of a subject are called as the subject is, but in BIDS.
NAMED = {"bids": "sub-{}_ses-1"}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    """A data set of five cases in one of the layouts: (its name, its folder)."""
    files_of, finish = MAKERS[request.param]
    for seed, case in enumerate(CASES):
        voxels = np.random.default_rng(seed).random((7, 6, 5), np.float32)
        image = Volume(voxels, np.diag([1.0, -1.0, 3.0, 1.0]))
        parts = (image, image.like(voxels > 0.9), image.like(voxels > 0.1))
        for file, part in zip(files_of(case), parts, strict=True):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            nifti.write(part, tmp_path / file)
    finish(tmp_path)
    return request.param, tmp_path


def test_it_is_recognised(layout):
    name, root = layout
    assert open_dataset(root).layout == name
    assert [other for other in LAYOUTS if LAYOUTS[other].fits(root)] == [name]


def test_every_case_is_there_once_and_nothing_is_amiss(layout):
    name, root = layout
    found = open_dataset(root)
    assert [case.id for case in found.cases] == [
        NAMED.get(name, "{}").format(case) for case in sorted(CASES)
    ]
    assert found.findings == ()


def test_every_case_is_readable_on_one_grid(layout):
    for case in open_dataset(layout[1]).cases:
        image, inside, abnormal = case.read()
        assert image.same_grid(inside)
        assert image.same_grid(abnormal)
        np.testing.assert_array_equal(abnormal.voxels, image.voxels > np.float32(0.9))
        np.testing.assert_array_equal(inside.voxels, image.voxels > np.float32(0.1))


def test_no_subject_is_in_two_splits(layout):
    found = open_dataset(layout[1])
    assert {case.subject: case.split for case in found.cases} == CASES
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
    link = root / MAKERS[name][0]("p2")[role]
    link.unlink()
    link.symlink_to(".git/annex/objects/gone")
    with pytest.raises(InputError, match="datalad get") as refused:
        use(open_dataset(root).cases)
    assert refused.value.code == "E_NOT_FOUND"
    assert str(link) in str(refused.value)
