"""Mutants of every kind of file that a user can give: nothing but errors in words leaves.

Mutants are drawn by hypothesis, the same ones in every run.
"""

import copy
import gzip
import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dicom_made
from corpus.nifti import raw
from corpus.picture import encoded, grey
from wholesight.datasets import open_dataset
from wholesight.detector import Detector
from wholesight.errors import WholesightError
from wholesight.io import dicom, reading
from wholesight.recipe import Recipe
from wholesight.recipe_file import shipped

pytestmark = pytest.mark.slow

QUICK = ("quick", "standard", "bmvc2021", "synthetic", "gated")


def fuzzed(mutants: int) -> Any:
    """So many mutants, the same in every run."""
    return settings(
        max_examples=mutants,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def or_an_error_in_words(call: Callable[[], Any]) -> Any:
    """Return what a call gives, None where it ends in an error of ours with something to say."""
    try:
        with warnings.catch_warnings():
            # What is legal and odd is warned of; a traceback is what is looked for.
            warnings.simplefilter("ignore")
            return call()
    except WholesightError as fault:
        said = str(fault)
    assert len(said) > 20
    return None


PLAIN, PLAIN_2 = raw(), raw(version=2)
PNG = encoded(grey(), "PNG")
PACKED = gzip.compress(PLAIN, mtime=0)
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\xff\xff\xff\x7f")
SEEDS = st.integers(0, 2**32 - 1)


def mutant(content: bytes, seed: int, *, first: int | None = None) -> bytes:
    """The bytes with some changed, cut off, doubled or left out.

    first : half of the changes are before this byte, where a header is.
    """
    draw = random.Random(seed)
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        if not data:
            break
        end = min(first, len(data)) if first and draw.random() < 0.5 else len(data)
        at, some = draw.randrange(end), draw.randint(1, 8)
        kind = draw.choice(("set", "set", "flip", "cut", "drop", "double", "word"))
        if kind == "set":
            data[at] = draw.randrange(256)
        elif kind == "flip":
            data[at] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + some]
        elif kind == "double":
            data[at:at] = data[at : at + some]
        else:
            data[at : at + 4] = draw.choice(WORDS)
    return bytes(data)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# ---------------------------------------------------------------- scans


@fuzzed(3000)
@given(seed=SEEDS)
def test_nifti(place, seed):
    content = mutant(PLAIN, seed, first=352)
    path = place / "x.nii"
    path.write_bytes(content)
    found = or_an_error_in_words(lambda: reading.read_image(path))
    if found is not None:
        assert np.isfinite(found.voxels).all()
        assert np.isfinite(found.affine).all()
        assert abs(np.linalg.det(found.affine[:3, :3])) > 0


@fuzzed(500)
@given(seed=SEEDS)
def test_nifti_2(place, seed):
    content = mutant(PLAIN_2, seed, first=544)
    path = place / "y.nii"
    path.write_bytes(content)
    or_an_error_in_words(lambda: reading.read_mask(path))


@fuzzed(1500)
@given(seed=SEEDS)
def test_compressed_nifti(place, seed):
    content = mutant(PACKED, seed)
    path = place / "x.nii.gz"
    path.write_bytes(content)
    or_an_error_in_words(lambda: reading.read_image(path))


@fuzzed(600)
@given(seed=SEEDS)
def test_png(place, seed):
    path = place / "x.png"
    path.write_bytes(mutant(PNG, seed, first=100))
    or_an_error_in_words(lambda: reading.read_image(path))


@pytest.mark.usefixtures("dicom_in_process")
@fuzzed(300)
@given(seed=SEEDS)
def test_dicom(place, series, seed):
    folder = place / "series"
    folder.mkdir(exist_ok=True)
    for name, content in series.items():
        (folder / name).write_bytes(content)
    name = sorted(series)[seed % len(series)]
    (folder / name).write_bytes(mutant(series[name], seed, first=1500))
    found = or_an_error_in_words(lambda: reading.read_image(folder))
    if found is not None:
        assert np.isfinite(found.affine).all()


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> dict[str, bytes]:
    """The files of a tiny DICOM series."""
    slices = dicom_made.slices(dicom_made.some_voxels((4, 6, 6)))
    folder = dicom_made.save(slices, tmp_path_factory.mktemp("dicom") / "series")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def dicom_in_process():
    """Read DICOM in this process, which saves the time that another takes to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicom, "_run", dicom_made.work_here)
        yield


# ---------------------------------------------------------------- data sets

ROWS = (
    "case\tsubject\timage\tmask\tsplit\tsite\tvolume",
    "a\ts1\ta.nii\t\ttrain\tA\t",
    "b\ts2\tb.nii\tb_seg.nii\ttest\tB\t0",
    "c\ts2\tc.nii\tn/a\ttest\tn/a\tn/a",
)
MANIFEST = "\n".join(ROWS).encode()
SPLIT = {"train": ["s1"], "calibration": [], "validation": [], "test": ["s2"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A manifest's folder with the files that it names."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("a", "b", "b_seg", "c"):
        (folder / f"{name}.nii").write_bytes(raw())
    return folder


def opened(folder: Path) -> None:
    found = or_an_error_in_words(lambda: open_dataset(folder))
    for case in found.cases if found else ():
        or_an_error_in_words(case.read)


@fuzzed(1200)
@given(seed=SEEDS)
def test_manifest(data, seed):
    content = mutant(MANIFEST, seed, first=50)
    (data / "split.json").unlink(missing_ok=True)
    (data / "cases.tsv").write_bytes(content)
    opened(data)


@fuzzed(1000)
@given(seed=SEEDS)
def test_split(data, seed):
    content = mutant(json.dumps(SPLIT).encode(), seed)
    rows = [line.rsplit("\t", 3)[0] for line in ROWS]
    (data / "cases.tsv").write_text("\n".join(rows))
    (data / "split.json").write_bytes(content)
    opened(data)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@fuzzed(400)
@given(content=st.one_of(ANYTHING, st.dictionaries(st.sampled_from(list(SPLIT)), ANYTHING)))
def test_split_of_anything(data, content):
    (data / "cases.tsv").write_text("\n".join(line.rsplit("\t", 3)[0] for line in ROWS))
    (data / "split.json").write_text(json.dumps(content))
    opened(data)


# ---------------------------------------------------------------- recipes and models

VALUES = (
    *(None, True, -1, 0, 1, 2, 7, 1e-9, 0.5, 7.3, -3.5, 1e308, 10**30),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "log-barrier",
        [],
        [1],
        {},
        {"kind": "x"},
        [{}],
        {"a": 1},
    ),
)


def places_in(spec: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every key and item."""
    inner = spec.items() if isinstance(spec, dict) else enumerate(spec)
    found = []
    for key, value in inner:
        found.append((*way, key))
        if isinstance(value, dict | list):
            found += places_in(value, (*way, key))
    return found


RECIPE = shipped()["quick"].read_bytes()


@st.composite
def recipes(draw) -> dict[str, Any]:
    """A shipped recipe with some value changed, left out or misspelt."""
    spec = yaml.safe_load(shipped()[draw(st.sampled_from(QUICK))].read_text())
    spec["size"] = 32
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places_in(spec)))
        inner = spec
        for key in way:
            inner = inner[key]
        change = draw(st.sampled_from(("set", "set", "set", "drop", "misspell")))
        if change == "set":
            inner[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))  # changed by the next
        elif change == "drop":
            del inner[last]
        elif isinstance(inner, dict):
            inner[f"{last}x"] = inner.pop(last)
    return spec


@fuzzed(400)
@given(spec=recipes())
def test_recipe(spec):
    or_an_error_in_words(lambda: Recipe.from_dict(spec))


@fuzzed(800)
@given(seed=SEEDS)
def test_recipe_file(place, seed):
    content = mutant(RECIPE, seed)
    path = place / "mine.yaml"
    path.write_bytes(content)
    or_an_error_in_words(lambda: Recipe.load(str(path)))


@pytest.fixture(scope="module")
def copied(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copied") / "model"
    shutil.copytree(model, folder)
    return folder


FILES = (
    "recipe.yaml",
    "weights.safetensors",
    "record.json",
    "normals.safetensors",
    "threshold.json",
)


@pytest.mark.parametrize("name", FILES)
def test_model_folder(model, copied, name):
    whole = (model / name).read_bytes()

    @fuzzed(120)
    @given(seed=SEEDS)
    def damaged(seed):
        (copied / name).write_bytes(mutant(whole, seed, first=400))
        or_an_error_in_words(lambda: Detector.load(copied))

    damaged()
    (copied / name).write_bytes(whole)
    assert Detector.load(copied).digest == Detector.load(model).digest
