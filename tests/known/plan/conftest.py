"""What the tests of a benchmark's plan share: a suite of two floors, and changes to a data set."""

import numpy as np
import pytest

from wholesight.benchmark.plan.suite import load_suite
from wholesight.io import nifti, reading

SUITE = """
summary: two floors
question: which?
reference: floor
methods: [floor, floor-raw]
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    return load_suite(str(tmp_path / "mine.yaml"))


@pytest.fixture
def make_small():
    """Leave one voxel of a subject's lesion."""

    def make(root, subject):
        path = root / subject / f"{subject}_seg.nii.gz"
        seg = reading.read_mask(path)
        small = np.zeros(seg.shape, bool)
        small[3, 4, 2] = True
        nifti.write(seg.like(small), path)

    return make


@pytest.fixture
def copy_image():
    """Make the target's image the source's."""

    def copy(root, source, target):
        content = (root / source / f"{source}_flair.nii.gz").read_bytes()
        (root / target / f"{target}_flair.nii.gz").write_bytes(content)

    return copy
