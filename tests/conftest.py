"""Data that tests share: a small made-up data set, and the real one where it is there."""

import json
import os
import re
import runpy
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from wholesight.datasets.phantom import Grid, case_stream
from wholesight.datasets.phantom.stress_head import StressHead, stress_head
from wholesight.io import nifti
from wholesight.recipe import Recipe
from wholesight.volume import Volume

# What makes a recipe large. Sizes are shrunk for tests, never the code.
SMALL = {"size": 32, "width": 4, "width_top": 16, "latent": 8}
SMALLER = {"samples": 2, "steps": 3, "batch": 4, "epochs": 2}
EARLY = {"warmup_epochs": 1, "encoder_start": 1}

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Hear Ctrl-C also where tests run in the background, which leaves it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def dicom_made() -> SimpleNamespace:
    """The makers of DICOM series: everything in tests/dicom_made.py."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_made.py"))))


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
def is_bids() -> Callable[[str], bool]:
    """Whether the official schema has a rule for this path in a derivative data set.

    Its own validate_bids knows raw data sets alone.
    """
    from bidsschematools.rules import regexify_filename_rules
    from bidsschematools.schema import load_schema

    schema = load_schema()
    groups = (schema.rules.files.common, schema.rules.files.deriv)
    rules = [rule for group in groups for rule in regexify_filename_rules(group, schema, level=2)]
    legal = [re.compile(rule["regex"]) for rule in rules]
    return lambda path: any(rule.fullmatch(path) for rule in legal)


# BraTS has 155 axial slices of 1 mm; the phantom's box has 144, and air is added around them.
BRATS_SLICES, AIR_BELOW = 155, 5
# Slices 73 to 82 lie at 11.5 to 20.5 mm. A lesion of 12 ml centred at one of these heights ends
# among them from below or above, or (the last) does not reach them.
LESION_HEIGHTS_MM = (3.0, 33.0, 5.0, 31.0, 4.0, 50.0)


@pytest.fixture(scope="session")
def brats_shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom heads that lie as BraTS 2019 does: HGG and LGG, two modalities, labels 1 2 4.

    32 x 37 x 155 voxels of 6 x 6 x 1 mm, no split. Every head has a lesion, as there; slices 73 to
    82 show it in five of them, and are partly normal in all. Sorted by name, the groups alternate.
    """
    root = tmp_path_factory.mktemp("brats") / "MICCAI_BraTS_2019"
    grid = Grid((6.0, 6.0, 1.0))
    for number, height_mm in enumerate(LESION_HEIGHTS_MM):
        head = stress_head(case_stream(2019, "stress", number), grid)
        group, name = ("HGG", "LGG")[number % 2], f"BraTS19_PHM_{number + 1:03d}_1"
        folder = root / group / name
        folder.mkdir(parents=True)
        for role, volume in _brats_files(head, height_mm).items():
            nifti.write(volume, folder / f"{name}_{role}.nii.gz")
    return root


def _brats_files(head: StressHead, height_mm: float) -> dict[str, Volume]:
    """Draw the head with a lesion centred at this height."""
    centre_mm = np.array([28.0, -20.0, height_mm])
    weight = head._replace(lesion=head.lesion._replace(centre_mm=centre_mm)).weight(12.0)
    flair = head.with_lesion(weight, 0.6).image
    # necrosis, enhancing tumour and oedema, from the inside out
    labels = np.select([weight > 1.05, weight > 1.0, weight > 0], [1, 4, 2]).astype(np.uint8)
    t1 = np.where(flair > 0, flair.max() + 1 - flair, 0).astype(np.int16)
    affine = head.grid.affine
    affine[2, 3] -= AIR_BELOW
    around = (0, 0), (0, 0), (AIR_BELOW, BRATS_SLICES - AIR_BELOW - head.grid.shape[2])
    parts = {"flair": flair, "t1": t1, "seg": labels}
    return {role: Volume(np.pad(voxels, around), affine) for role, voxels in parts.items()}


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


TEXTURE_SIDE = 96
THREAD_PX = 8.0  # from thread to thread


class Cloth(NamedTuple):
    """A picture of made-up cloth. pixels : (r, c) or (r, c, 3) uint8. flaw : (r, c) bool."""

    pixels: np.ndarray
    flaw: np.ndarray


def cloth(rng: np.random.Generator, flaw: str = "good", *, colour: bool = False) -> Cloth:
    """Weave a picture: threads across each other, uneven light, noise.

    flaw : "stain" is brighter or darker than the rest; "bare" has no threads, and the same mean;
    "slip" has them in another direction; "dye" (of colours alone) is redder and so much less blue
    that the luma is the same.
    """
    rows, columns = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE]
    wobble = [gaussian_filter(rng.normal(size=rows.shape), 12) * 40 for _ in range(2)]
    phases = rng.uniform(0, 2 * np.pi, 2)

    def woven(down: np.ndarray, right: np.ndarray) -> np.ndarray:
        first = np.sin(2 * np.pi * (down + wobble[0]) / THREAD_PX + phases[0])
        return first * np.sin(2 * np.pi * (right + wobble[1]) / THREAD_PX + phases[1])

    place = rng.uniform(20, TEXTURE_SIDE - 20, 2)
    away = np.hypot(rows - place[0], (columns - place[1]) * rng.uniform(0.7, 1.4))
    share = np.clip((rng.uniform(9, 14) - away) / 2 + 0.5, 0, 1) * (flaw != "good")
    inside = {"bare": 0.0, "slip": woven((rows + columns) / 2**0.5, (rows - columns) / 2**0.5)}
    threads = woven(rows, columns)
    threads = threads + share * (inside.get(flaw, threads) - threads)
    light = rng.uniform(-12, 12) * (columns / TEXTURE_SIDE - 0.5)
    grey = 120 + 45 * threads + light + rng.normal(0, 6, rows.shape)
    grey += rng.choice([-40.0, 40.0]) * share * (flaw == "stain")
    if colour:
        tint = 20 * share * (flaw == "dye")
        grey = np.stack([grey + tint, grey - 10, grey - 20 - 0.299 / 0.114 * tint], axis=-1)
    return Cloth(np.rint(grey).clip(0, 255).astype(np.uint8), share >= 0.5)


@pytest.fixture(scope="session")
def write_cloth() -> Callable[..., Path]:
    """A maker of sets of cloth in MVTec's layout; to judge on, 8 good ones and 5 of each flaw."""

    def make(
        root: Path,
        *,
        train: int = 30,
        flaws: Sequence[str] = ("stain", "bare", "slip"),
        colour: bool = False,
    ) -> Path:
        rng = np.random.default_rng(0)
        counts = {"train/good": train, "test/good": 8} | {f"test/{flaw}": 5 for flaw in flaws}
        for place, number in counts.items():
            kind = place.split("/")[1]
            (root / place).mkdir(parents=True)
            for n in range(number):
                made = cloth(rng, kind, colour=colour)
                Image.fromarray(made.pixels).save(root / place / f"{n:03d}.png")
                if kind != "good":
                    truth = root / "ground_truth" / kind / f"{n:03d}_mask.png"
                    truth.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(255 * made.flaw.astype(np.uint8)).save(truth)
        return root

    return make
