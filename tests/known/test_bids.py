"""A BIDS folder as a data set: images, masks, participants, and what is amiss."""

import json

import pytest

from wholesight.datasets import DataSet, open_dataset
from wholesight.datasets.check import check
from wholesight.datasets.dataset import survey
from wholesight.errors import InputError, UsageError


@pytest.fixture
def bids(tmp_path):
    """A maker of BIDS folders of empty files: names give the places, DIR/name a derivative."""

    def make(*names: str, participants: str = "", split: dict | None = None):
        for name in names:
            *place, file = name.split("/")
            pairs = dict(pair.split("-", 1) for pair in file.split("_") if "-" in pair)
            parts = [f"{entity}-{pairs[entity]}" for entity in ("sub", "ses") if entity in pairs]
            folder = tmp_path.joinpath(*(["derivatives", *place] if place else []), *parts, "anat")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / (file if "." in file else f"{file}.nii.gz")).touch()
        (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
        if participants:
            (tmp_path / "participants.tsv").write_text(participants)
        if split is not None:
            (tmp_path / "split.json").write_text(json.dumps(split))
        return tmp_path

    return make


def ids(found: DataSet) -> list[str]:
    return [case.id for case in found.cases]


def told(root, code: str, **options) -> str:
    """The text of the one finding with a code."""
    (text,) = [each.text for each in survey(root, **options).findings if each.code == code]
    return text


# ---------------------------------------------------------------- images


def test_sessions_and_runs_are_cases_of_one_subject(bids):
    names = [
        "sub-b_FLAIR",
        "sub-a_ses-2_run-1_FLAIR",
        "sub-a_ses-1_FLAIR",
        "sub-a_ses-2_run-2_FLAIR",
    ]
    root = bids(*names)
    found = open_dataset(root)
    assert found.layout == "bids"
    assert ids(found) == ["sub-a_ses-1", "sub-a_ses-2_run-1", "sub-a_ses-2_run-2", "sub-b"]
    assert [case.subject for case in found.cases] == ["a", "a", "a", "b"]
    assert found.cases[1].image == root / "sub-a/ses-2/anat/sub-a_ses-2_run-1_FLAIR.nii.gz"


def test_the_modality_is_a_suffix_in_any_case(bids):
    root = bids("sub-1_FLAIR", "sub-1_T1w", "sub-2_T1w", "sub-2_mask", "sub-1_dseg")
    with pytest.raises(UsageError, match=r"FLAIR \(1 image\), T1w \(2 images\).*--modality"):
        open_dataset(root)
    assert ids(open_dataset(root, modality="t1W")) == ["sub-1", "sub-2"]
    with pytest.raises(UsageError, match="Did you mean 'FLAIR'"):
        open_dataset(root, modality="FLARE")
    assert "1 subject with other images alone (2)" in told(root, "N_UNUSED", modality="FLAIR")


def test_entities_stand_before_the_suffix(bids):
    root = bids("sub-1_acq-tse_run-1_FLAIR", "sub-1_acq-tse_run-2_FLAIR", "sub-1_run-1_FLAIR",
                "sub-1_acq-tse_T1w")  # fmt: skip
    flairs = ["sub-1_acq-tse_run-1", "sub-1_acq-tse_run-2", "sub-1_run-1"]
    assert ids(open_dataset(root, modality="FLAIR")) == flairs
    assert ids(open_dataset(root, modality="acq-tse_flair")) == flairs[:2]
    assert ids(open_dataset(root, modality="run-1_acq-tse_FLAIR")) == flairs[:1]
    with pytest.raises(UsageError, match="several modalities"):
        open_dataset(root, modality="acq-tse")
    with pytest.raises(UsageError, match=r"no image is of run-3_FLAIR\. There: run-1, run-2\."):
        open_dataset(root, modality="run-3_FLAIR")
    with pytest.raises(UsageError, match=r"echo-1.* no such entity"):
        open_dataset(root, modality="echo-1_FLAIR")
    with pytest.raises(UsageError, match="Did you mean 'run'"):
        open_dataset(root, modality="rum-1_FLAIR")


def test_entities_alone_choose_where_there_is_one_suffix(bids):
    root = bids("sub-1_run-1_FLAIR", "sub-1_run-2_FLAIR")
    assert ids(open_dataset(root, modality="run-2")) == ["sub-1_run-2"]


@pytest.mark.parametrize(
    "name",
    [
        "sub-1_flair",  # a suffix that BIDS has not
        "sub-1_FLAIR_copy",
        "sub-1_run-x_FLAIR",
        "sub-1_run-1_acq-a_FLAIR",
        "sub-1_label-x_FLAIR",
    ],
)
def test_what_is_not_named_as_bids_does_is_not_used_and_said(bids, name):
    root = bids("sub-1_FLAIR", name)
    assert ids(open_dataset(root)) == ["sub-1"]
    assert f"sub-1/anat/{name}.nii.gz" in told(root, "N_UNUSED")


def test_a_file_in_another_subjects_folder_is_not_used(bids):
    root = bids("sub-1_FLAIR", "sub-2_FLAIR", "sub-1_ses-a_FLAIR")
    for name in ("sub-2_FLAIR", "sub-2_ses-a_FLAIR", "sub-1_ses-b_FLAIR"):
        (root / f"sub-1/ses-a/anat/{name}.nii.gz").touch()
    assert ids(open_dataset(root)) == ["sub-1", "sub-1_ses-a", "sub-2"]
    assert "3 files" in told(root, "N_UNUSED")


def test_own_maps_are_no_images(bids):
    """What `segment` wrote beside the images of a prepared data set."""
    own = ["space-orig_desc-anomaly_T1w", "desc-preprocAnomaly_T1w", "label-anomaly_probseg"]
    root = bids("sub-1_desc-preproc_T1w", *(f"sub-1_{name}" for name in own))
    assert ids(open_dataset(root)) == ["sub-1_desc-preproc"]


def test_compressed_and_not_is_an_error(bids):
    root = bids("sub-1_FLAIR", "sub-1_FLAIR.nii")
    with pytest.raises(InputError, match=r"sub-1_FLAIR.nii, sub-1_FLAIR.nii.gz\?") as caught:
        open_dataset(root)
    assert caught.value.code == "E_DUPLICATE"


def test_hidden_files_and_what_bidsignore_names_are_left_out(bids):
    root = bids("sub-1_FLAIR", "sub-2_FLAIR", "sub-3_FLAIR", "sub-4_FLAIR", "sub-4_run-1_FLAIR",
                "sub-5_bad", "old/sub-1_label-lesion_mask")  # fmt: skip
    (root / "sub-1/anat/._sub-1_FLAIR.nii.gz").touch()
    assert len(open_dataset(root).cases) == 5
    lines = [
        "# broken",
        "",
        "sub-2",
        "/sub-3/anat/*",
        "**/anat/*run*",
        "!sub-4_run*",
        "*_bad.nii.gz",
    ]
    (root / ".bidsignore").write_text("\n".join([*lines, "derivatives/old/"]))
    found = open_dataset(root)
    assert ids(found) == ["sub-1", "sub-4", "sub-4_run-1"]
    assert found.cases[0].mask is None
    assert [finding.code for finding in found.findings] == ["N_NO_SPLIT"]


def test_without_a_description_it_is_no_bids(bids):
    root = bids("sub-1_FLAIR")
    (root / "dataset_description.json").unlink()
    with pytest.raises(InputError, match=r"dataset_description.json, .* \(BIDS\)") as caught:
        open_dataset(root)
    assert caught.value.code == "E_LAYOUT"


def test_a_subject_is_no_data_set(bids):
    root = bids("sub-1_FLAIR")
    with pytest.raises(InputError, match=r"give the data set, .* --participant-label 1$"):
        open_dataset(root / "sub-1")


def test_a_description_that_was_not_fetched_will_do(bids):
    root = bids("sub-1_FLAIR")
    (root / "dataset_description.json").unlink()
    (root / "dataset_description.json").symlink_to(".git/annex/objects/gone")
    assert open_dataset(root).layout == "bids"


def test_without_an_image_there_is_no_case(bids):
    with pytest.raises(InputError) as caught:
        open_dataset(bids("sub-1_mask"))
    assert caught.value.code == "E_NO_CASES"


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "mask",
    [
        "any/sub-1_ses-1_run-1_label-lesion_mask",
        "any/sub-1_ses-1_run-1_desc-lesion_mask",
        "any/sub-1_ses-1_run-1_space-orig_label-lesion_desc-rater1_mask",
        "any/sub-1_ses-1_run-1_space-FLAIR_label-lesion_mask",
        "sub-1_ses-1_run-1_label-lesion_mask",
    ],
)
def test_a_lesion_mask_has_the_entities_of_its_image(bids, mask):
    root = bids("sub-1_ses-1_run-1_FLAIR", "sub-1_ses-1_run-2_FLAIR", mask)
    first, second = open_dataset(root).cases
    assert first.mask is not None
    assert first.mask.name == mask.split("/")[-1] + ".nii.gz"
    assert (first.inside, second.mask) == (None, None)
    assert not [each for each in open_dataset(root).findings if each.code == "N_UNUSED"]


@pytest.mark.parametrize(
    "mask",
    [
        "any/sub-1_ses-1_label-lesion_mask",
        "any/sub-1_ses-1_acq-x_run-1_label-lesion_mask",
        "any/sub-1_ses-1_run-1_space-MNI152_label-lesion_mask",
        "any/sub-1_ses-1_run-1_space-T1w_label-lesion_mask",
        "any/sub-2_ses-1_run-1_label-lesion_mask",
    ],
)
def test_a_lesion_mask_of_something_else_is_not_taken_and_said(bids, mask):
    root = bids("sub-1_ses-1_run-1_FLAIR", mask)
    assert open_dataset(root).cases[0].mask is None
    assert mask.split("/")[-1] in told(root, "N_UNUSED")


def test_prepared_images_keep_their_space(bids):
    root = bids("sub-1_desc-preproc_T1w", "sub-1_space-MNI152_desc-preproc_T1w",
                "sub-1_desc-brain_mask", "sub-1_space-MNI152_desc-brain_mask",
                "sub-1_space-MNI152_label-lesion_mask")  # fmt: skip
    plain, moved = open_dataset(root).cases
    assert plain.inside.name == "sub-1_desc-brain_mask.nii.gz"
    assert moved.inside.name == "sub-1_space-MNI152_desc-brain_mask.nii.gz"
    assert (plain.mask, bool(moved.mask)) == (None, True)


def test_prepared_images_keep_their_resolution(bids):
    names = [f"sub-1_space-MNI152_res-{n}_desc-{what}" for n in (1, 2)
             for what in ("preproc_T1w", "brain_mask")]  # fmt: skip
    first, second = open_dataset(bids(*names)).cases
    assert "res-1" in first.inside.name
    assert "res-2" in second.inside.name


def test_body_masks_and_other_masks(bids):
    names = ["a/sub-1_label-brain_mask", "a/sub-1_label-GM_mask", "a/sub-1_label-anomaly_mask"]
    case = open_dataset(bids("sub-1_FLAIR", *names)).cases[0]
    assert case.inside.name == "sub-1_label-brain_mask.nii.gz"
    assert case.mask is None


def test_two_masks_of_one_image_are_an_error_until_one_is_ignored(bids):
    root = bids("sub-1_T1w", "a/sub-1_desc-brain_mask", "b/sub-1_desc-brain_mask")
    with pytest.raises(InputError, match=r"which brain mask is meant, .*\.bidsignore") as caught:
        open_dataset(root)
    assert caught.value.code == "E_DUPLICATE"
    (root / ".bidsignore").write_text("derivatives/b/\n")
    assert open_dataset(root).cases[0].inside.parts[-4] == "a"


# ---------------------------------------------------------------- participants and splits


def test_sites_and_splits_of_participants(bids):
    table = (
        "site\tage\tparticipant_id\tsplit\nA\t9\tsub-1\ttrain\nn/a\t8\tsub-2\tn/a\n\nB\t\t3\ttest\n"
    )
    found = open_dataset(bids(*(f"sub-{n}_T1w" for n in range(1, 5)), participants=table))
    assert [case.site for case in found.cases] == ["A", None, "B", None]
    assert [case.split for case in found.cases] == ["train", None, "test", None]


def test_split_json_names_subjects_with_or_without_sub(bids):
    root = bids("sub-1_T1w", "sub-2_T1w", split={"train": ["sub-1"], "test": ["2"]})
    assert [case.split for case in open_dataset(root).cases] == ["train", "test"]
    (root / "split.json").write_text('{"train": ["sub-1"], "test": ["1", "2"]}')
    with pytest.raises(InputError, match="subject 1 is in 'train' and 'test'"):
        open_dataset(root)


def test_split_json_and_participants_must_agree(bids):
    table = "participant_id\tsplit\nsub-1\ttrain\n"
    root = bids("sub-1_T1w", participants=table, split={"test": ["1"]})
    with pytest.raises(InputError, match=r"belongs to 'train' by its layout but .* to 'test'"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("table", "code", "text"),
    [
        ("subject\tsite\n1\tA\n", "E_PARTICIPANTS", "line 1: needs the column participant_id"),
        ("participant_id\tsite\tsite\n", "E_PARTICIPANTS", "no name twice"),
        ("participant_id\tsite\nsub-1\tA\nsub-1\tB\n", "E_PARTICIPANTS", "sub-1 is there twice"),
        ("participant_id\tsite\nsub-1\tA\n1\tB\n", "E_PARTICIPANTS", "1 is there twice"),
        ("participant_id\tsite\nsub-1\n", "E_PARTICIPANTS", "line 2: 1 cells where line 1 has 2"),
        ("site\tparticipant_id\nA\n", "E_PARTICIPANTS", "1 cells"),
        ("participant_id\tsite\nn/a\tA\n", "E_PARTICIPANTS", "participant_id is missing"),
        ("participant_id\tsplit\nsub-1\ttrian\n", "E_SPLIT", "Did you mean 'train'"),
    ],
)
def test_participants_that_cannot_be_meant(bids, table, code, text):
    with pytest.raises(InputError, match=text) as caught:
        open_dataset(bids("sub-1_T1w", participants=table))
    assert caught.value.code == code
    assert "participants.tsv" in str(caught.value)


def test_participants_that_are_no_text(bids):
    root = bids("sub-1_T1w")
    (root / "participants.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="as UTF-8") as caught:
        open_dataset(root)
    assert caught.value.code == "E_PARTICIPANTS"


def test_check_goes_on_after_a_bad_table(bids):
    root = bids("sub-1_T1w", participants="participant_id\tsplit\nsub-1\ttrian\n")
    codes = {finding.code for finding in check(root).findings}
    assert {"E_SPLIT", "E_TRUNCATED"} <= codes
