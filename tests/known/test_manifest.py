"""`cases.tsv`: what a manifest says, and what one that cannot be meant is told."""

import json

import pytest

from wholesight.datasets import open_dataset
from wholesight.datasets.check import check
from wholesight.datasets.dataset import survey
from wholesight.errors import InputError, UsageError


def refusal(path, code) -> str:
    with pytest.raises(InputError) as caught:
        open_dataset(path)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def write_manifest(root, *lines, encoding="utf-8"):
    path = root / "cases.tsv"
    path.write_bytes("\r\n".join(lines).replace(" ", "\t").encode(encoding))
    return path


def test_manifest(tiny_brats):
    root = tiny_brats({"train": ["a", "b", "c"]})
    (root / "split.json").write_text('{"test": ["s2"]}')
    path = write_manifest(
        root,
        "image case split subject mask site",
        "b/b_flair.nii.gz two n/a s2 n/a Ulm",
        "",
        f"{root}/a/a_flair.nii.gz one train s1 a/a_seg.nii.gz",
        encoding="utf-8-sig",
    )
    path.write_text(path.read_text("utf-8") + "\t\n", "utf-8")
    for place in (root, path):
        two, one = open_dataset(place).cases
        assert (two.id, two.subject, two.mask, two.site, two.split) == (
            *("two", "s2", None, "Ulm", "test"),
        )
        assert (one.id, one.subject, one.site, one.split) == ("one", "s1", None, "train")
        assert one.read().abnormal.voxels.sum() == 18
    with pytest.raises(UsageError, match="--modality flair"):
        open_dataset(root, modality="flair")


def test_one_folder_is_several_images_by_series(tmp_path):
    (tmp_path / "A").mkdir()
    write_manifest(tmp_path, "case image series", "x A 1.2.3.4", "y A 1.2.3.5", "z A n/a")
    assert [case.series for case in open_dataset(tmp_path).cases] == ["1.2.3.4", "1.2.3.5", None]
    write_manifest(tmp_path, "case image series", "x A 1.2.3.4", "y ./A 1.2.3.4")
    assert "image './A' is in line 2 too" in refusal(tmp_path, "E_DUPLICATE")


@pytest.mark.parametrize(
    ("lines", "code", "text"),
    [
        (["case image msk"], "E_MANIFEST", "line 1: unknown column 'msk'. Did you mean 'mask'"),
        (["case subject"], "E_MANIFEST", "column 'image' is missing"),
        (["case image image"], "E_MANIFEST", "'image' is there twice"),
        (["case,image"], "E_MANIFEST", "separated by tabs"),
        ([""], "E_MANIFEST", "line 1"),
        (["case image", "x A", "y A"], "E_DUPLICATE", "line 3: image 'A' is in line 2 too"),
        (["case image", "x A", "x B"], "E_DUPLICATE", "line 3: case 'x' is in line 2 too"),
        (["case image", "x ./A", "y A"], "E_DUPLICATE", "line 3"),
        (["case image", "x nowhere.nii"], "E_NOT_FOUND", "line 2: image 'nowhere.nii' is not"),
        (["case image mask", "x A m.nii"], "E_NOT_FOUND", "line 2: mask 'm.nii' is not there"),
        (["case image", "x A", "", "y"], "E_MANIFEST", "line 4: 1 cells where line 1 has 2"),
        (["case image", "n/a A"], "E_MANIFEST", "line 2: the case is missing"),
        (["case image", "../x A"], "E_MANIFEST", "without a slash"),
        (["case image split", "x A trai"], "E_SPLIT", "line 2: .*Did you mean 'train'"),
        (
            ["case image subject split", "x A s train", "y B s test"],
            *("E_SPLIT", "subject s has cases in 'train' and 'test'"),
        ),
    ],
)
def test_a_manifest_that_cannot_be_meant(tmp_path, lines, code, text):
    (tmp_path / "A").touch()
    (tmp_path / "B").touch()
    write_manifest(tmp_path, *lines)
    with pytest.raises(InputError, match=text) as caught:
        open_dataset(tmp_path)
    assert caught.value.code == code


def test_a_manifest_in_another_encoding(tmp_path):
    write_manifest(tmp_path, "case image", "Müller A", encoding="latin-1")
    assert "UTF-8" in refusal(tmp_path, "E_MANIFEST")


def test_all_that_is_wrong_is_collected(tmp_path):
    write_manifest(tmp_path, "case image", "x A", "y B")
    found = survey(tmp_path)
    assert [finding.code for finding in found.findings] == ["E_NOT_FOUND", "E_NOT_FOUND"]
    assert "And 1 more" in refusal(tmp_path, "E_NOT_FOUND")


def test_a_manifest_without_a_case(tmp_path):
    write_manifest(tmp_path, "case image")
    refusal(tmp_path, "E_NO_CASES")


def test_manifest_and_split_file_must_agree(tmp_path):
    (tmp_path / "A").touch()
    write_manifest(tmp_path, "case image split", "x A train")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["x"]}))
    assert open_dataset(tmp_path).cases[0].split == "train"
    (tmp_path / "split.json").write_text(json.dumps({"test": ["x"]}))
    assert "'train' by its layout but" in refusal(tmp_path, "E_SPLIT")


def test_cases_are_counted_per_site_where_it_is_known(tiny_brats):
    root = tiny_brats({"train": ["a", "b", "c", "d"]})
    rows = [f"{case} {case}/{case}_flair.nii.gz" for case in "abcd"]
    sites = ("Ulm", "Lund", "n/a", "Lund")
    lines = [f"{row} {site}" for row, site in zip(rows, sites, strict=True)]
    write_manifest(root, "case image site", *lines)
    (root / "split.json").unlink()
    report = check(root)
    assert report.sites == {"Lund": 2, "Ulm": 1}
    assert report.as_dict()["sites"] == {"Lund": 2, "Ulm": 1}
