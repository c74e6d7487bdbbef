"""Data that tests share: a small made-up data set, and the real one where it is there."""

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholesight.io import nifti
from wholesight.recipe import Recipe
from wholesight.volume import Volume

# What makes a recipe large. Sizes are shrunk for tests, never the code.
SMALL = {"size": 32, "width": 4, "width_top": 16, "latent": 8}
SMALLER = {"samples": 2, "steps": 3, "batch": 4, "epochs": 2}
EARLY = {"warmup_epochs": 1, "encoder_start": 1}

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one recipe warn that its barrier is linear, as published; no other may."""
    for item in items:
        if "media2022-gradcamcons" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*linear branch:UserWarning"))


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


@pytest.fixture(scope="session")
def small_recipe() -> Callable[[str], Recipe]:
    """A builder of shipped recipes by name, every part as shipped and small."""
    resolved = cache(lambda name: Recipe.load(name).resolved)
    return lambda name: Recipe.from_dict(_shrunk(resolved(name)))


def _shrunk(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_shrunk(entry) for entry in spec]
    if not isinstance(spec, dict):
        return spec
    return {key: _smaller(key, value) for key, value in spec.items()}


def _smaller(key: str, value: Any) -> Any:
    if key in SMALL and value is not None:
        return SMALL[key]
    capped = SMALLER | EARLY
    if key in capped and value is not None:
        return min(value, capped[key])
    return _shrunk(value)
