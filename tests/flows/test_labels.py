"""A label leaves slices out of training and calibration, and reaches nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wholesight.io import nifti, reading


def with_lesions_in_every_split(heads: Path, folder: Path) -> Path:
    """Copy the heads, lesion heads dealt to training and calibration too."""
    shutil.copytree(heads, folder)
    split = json.loads((heads / "split.json").read_text())
    subjects = sorted(subject for part in split.values() for subject in part)
    lesions = [subject for subject in subjects if "lesion" in subject]
    normals = [subject for subject in subjects if "normal" in subject]
    dealt = {
        "train": [*normals[:4], lesions[0]],
        "calibration": [*normals[4:], lesions[1]],
        "test": lesions[2:],
    }
    (folder / "split.json").write_text(json.dumps(dealt))
    return folder


def change_masks(folder: Path, how: Callable[[np.ndarray], np.ndarray]) -> int:
    """Change every lesion mask, slice by slice; returns how many voxels differ."""
    changed = 0
    for path in sorted(folder.glob("*/*_seg.nii.gz")):
        mask = reading.read_mask(path)
        new = how(mask.voxels)
        changed += int((new != mask.voxels).sum())
        nifti.write(mask.like(new), path)
    return changed


def fitted(wholesight, data: Path, out: Path, tiny: tuple[str, ...]) -> tuple[bytes, bytes]:
    assert wholesight("fit", data, *tiny, "--out", out).code == 0
    options = ("--rule", "percentile", "--no-cost")
    assert wholesight("calibrate", out, data, *options).code == 0
    return (out / "weights.safetensors").read_bytes(), (out / "threshold.json").read_bytes()


@pytest.mark.slow
def test_only_which_slices_are_abnormal_reaches_weights_and_threshold(
    wholesight, heads, tmp_path, tiny
):
    data = with_lesions_in_every_split(heads, tmp_path / "heads")
    weights, threshold = fitted(wholesight, data, tmp_path / "a", tiny)

    # The same slices, other places in them: nothing may change. The record names other files, and
    # with it nothing that the digest covers.
    assert change_masks(data, lambda mask: mask[::-1, ::-1]) > 0
    weights_moved, threshold_moved = fitted(wholesight, data, tmp_path / "b", tiny)
    assert weights_moved == weights
    assert threshold_moved == threshold

    # Every lesion gone: its slices now count as normal, and that must show.
    assert change_masks(data, np.zeros_like) > 0
    weights_without, threshold_without = fitted(wholesight, data, tmp_path / "c", tiny)
    assert weights_without != weights
    assert threshold_without != threshold
