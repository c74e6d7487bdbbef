"""The made-up data set in the shape of BraTS has that shape, so that tests on it mean something."""

import numpy as np
import pytest

from wholesight.datasets.check import check
from wholesight.datasets.dataset import open_dataset
from wholesight.errors import UsageError
from wholesight.io import nifti

# It takes seconds to make.
pytestmark = pytest.mark.slow

PAPERS_SLICES = slice(73, 83)


@pytest.fixture(scope="module")
def cases(brats_shaped):
    return open_dataset(brats_shaped, modality="flair").cases


def test_it_is_sound_and_a_modality_must_be_chosen(brats_shaped):
    report = check(brats_shaped, ["flair"])
    assert {finding.code for finding in report.findings} == {"N_NO_SPLIT"}
    assert report.usable == 6
    with pytest.raises(UsageError, match=r"flair \(6 cases\), t1 \(6 cases\)"):
        open_dataset(brats_shaped)


def test_subjects_sort_by_name_whatever_their_group(cases):
    subjects = [case.subject for case in cases]
    assert subjects == sorted(subjects)
    groups = [case.image.parts[-3] for case in cases]
    assert groups == ["HGG", "LGG"] * 3


def test_every_head_has_155_slices_of_1_mm_and_brain_in_those_of_the_paper(cases):
    for case in cases:
        image = case.read().image
        assert image.shape[2] == 155
        assert image.spacing_mm[2] == 1
        share = (image.voxels[:, :, PAPERS_SLICES] > 0).mean((0, 1))
        assert share.min() > 0.25
        assert not image.voxels[:, :, [0, -1]].any()


def test_lesions_cut_the_slices_of_the_paper_in_most_and_fill_them_in_none(cases):
    marked = [case.read().abnormal.voxels.any((0, 1))[PAPERS_SLICES] for case in cases]
    assert [bool(slices.any()) for slices in marked] == [True] * 5 + [False]
    assert not any(slices.all() for slices in marked)
    # from below and from above
    assert {bool(slices[0]) for slices in marked[:5]} == {True, False}


def test_labels_are_those_of_brats(cases):
    for case in cases:
        labels = nifti.read(case.mask).voxels
        assert set(np.unique(labels)) == {0, 1, 2, 4}
        assert (nifti.read(case.image).voxels[labels > 0] > 0).all()
