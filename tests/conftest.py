"""Data that tests share: a small made-up data set, and the real one where it is there."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from wholesight.io import nifti
from wholesight.volume import Volume

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def lgg_flair() -> Path:
    """The folder of 85 real cases, which is not part of the repository."""
    folder = Path(os.environ.get("WHOLESIGHT_DATA", SHARED_DATA)) / "lgg-flair"
    if not (folder / "split.json").is_file():
        pytest.skip(f"real data are not here ({folder}); WHOLESIGHT_DATA names their folder")
    return folder


@pytest.fixture
def tiny_brats(tmp_path: Path) -> Callable[..., Path]:
    """A maker of data sets in BraTS layout: 10 x 12 x 6 voxels, slices 2 and 3 with a lesion."""

    def make(
        splits: Mapping[str, list[str]], *, modality: str = "flair", name: str = "set"
    ) -> Path:
        root = tmp_path / name
        for subject in sorted({subject for subjects in splits.values() for subject in subjects}):
            folder = root / subject
            folder.mkdir(parents=True)
            voxels = np.random.default_rng([*subject.encode()]).random((10, 12, 6), np.float32)
            image = Volume(voxels, np.diag([-1.0, -1.0, 4.0, 1.0]))
            lesion = np.zeros(image.shape, bool)
            lesion[2:5, 3:6, 2:4] = True
            nifti.write(image, folder / f"{subject}_{modality}.nii.gz")
            nifti.write(image.like(lesion), folder / f"{subject}_seg.nii.gz")
        (root / "split.json").write_text(json.dumps(splits))
        return root

    return make
