"""The rules of the house that a tool can hold."""

import ast
import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from wholesight.cleanup import Cleanup
from wholesight.methods.constrained_vae import Term
from wholesight.nn.vae import VAE
from wholesight.prep.chain import Prep
from wholesight.prep.slices import Slicing
from wholesight.recipe import REGISTRIES, Training, shipped

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "wholesight").rglob("*.py"))
CONFIGURED = [
    *(member for registry in REGISTRIES.values() for member in registry.values()),
    *(Cleanup, Prep, Slicing, Term, Training, VAE),
]


def test_torchvision_is_absent():
    """Its wheel does not load beside a CPU build of torch, and then breaks `import lightning`."""
    with pytest.raises(PackageNotFoundError):
        version("torchvision")


@pytest.mark.parametrize(
    "code",
    [
        "import wholesight",
        "from wholesight.cli.main import app; app(['--help'], standalone_mode=0)",
    ],
    ids=["import", "help"],
)
def test_heavy_imports_are_lazy(code):
    seen = "import sys; print('HEAVY', {'torch', 'numpy', 'lightning', 'scipy'} & set(sys.modules))"
    words = [sys.executable, "-c", f"{code}\n{seen}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "HEAVY set()" in done.stdout


def test_no_file_is_long_and_none_is_called_utils():
    long = [path.name for path in SOURCES if len(path.read_text().splitlines()) > 400]
    assert long == []
    assert not [path for path in SOURCES if path.stem in {"utils", "util", "helpers", "misc"}]


@pytest.mark.parametrize("cls", CONFIGURED, ids=lambda cls: cls.__name__)
def test_every_option_is_used(cls):
    """An option that is parsed and never read is a promise that is broken."""
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if cls is Training:  # plain data: the trainer reads it
        training = ROOT / "src" / "wholesight" / "training"
        trees = [ast.parse(path.read_text()) for path in training.glob("*.py")]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        # The rate at an epoch stands beside the options it is made of.
        read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        read |= set(Training.rate.__code__.co_names)
    unread = [name for name in inspect.signature(cls).parameters if name not in read]
    assert unread == []


def test_every_recipe_says_what_it_is_for():
    assert {"quick", "vae", "bmvc2021", "floor"} <= set(shipped())


def test_the_version_is_in_the_changelog():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"## {pyproject['project']['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_what_is_installed():
    """CI and users get the versions that were tested."""
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    for name in ("torch", "lightning", "numpy", "nibabel"):
        assert version(name).split("+")[0] == pins[name]
