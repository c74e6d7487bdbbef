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
from wholesight.methods.augmentation import Augmentation
from wholesight.methods.made_up import MadeUpLesions
from wholesight.nn.vae import VAE
from wholesight.objective.term import ContrastTerm, Term
from wholesight.prep.assembly import Assembly
from wholesight.prep.chain import Prep
from wholesight.prep.slices import Slicing
from wholesight.recipe import REGISTRIES, Training
from wholesight.recipe_file import shipped

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "wholesight").rglob("*.py"))
CONFIGURED = [
    *(member for registry in REGISTRIES.values() for member in registry.values()),
    *(
        Assembly,
        Augmentation,
        Cleanup,
        ContrastTerm,
        MadeUpLesions,
        Prep,
        Slicing,
        Term,
        Training,
        VAE,
    ),
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


def names_that_are_used(source: str) -> set[str]:
    """Names and attributes that are read, other than to be put away by `self.x = x`."""
    tree = ast.parse(source)
    put_away = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    stored = [node.value for node in put_away if isinstance(node.targets[0], ast.Attribute)]
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and node not in stored
    }


@pytest.mark.parametrize("cls", CONFIGURED, ids=lambda cls: cls.__name__)
def test_every_option_is_used(cls):
    """An option that is parsed and never read is a promise that is broken."""
    source = inspect.getsource(cls)
    if cls in (Prep, Training):  # read by those who hold it
        users = [
            "detector/detector.py",
            *(f"training/{name}.py" for name in ("fit", "module", "data")),
        ]
        source += "".join((ROOT / "src" / "wholesight" / path).read_text() for path in users)
    unread = set(inspect.signature(cls).parameters) - names_that_are_used(source)
    # A term's own check reads its options too; the method must.
    if cls is Term:
        method = (ROOT / "src" / "wholesight" / "methods" / "constrained_vae.py").read_text()
        unread = set(inspect.signature(cls).parameters) - names_that_are_used(method)
    assert unread == set()


def test_an_unused_option_would_be_found():
    source = "class A:\n    def __init__(self, *, used, idle):\n"
    source += "        self.used = used\n        self.idle = idle\n"
    source += "    def __call__(self):\n        return self.used\n"
    assert {"used", "idle"} - names_that_are_used(source) == {"idle"}


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


def test_every_metric_is_explained():
    """What a table calls a figure is defined in docs/concepts/judging.md, by key and by title."""
    from wholesight.metrics import METRICS

    page = (ROOT / "docs" / "concepts" / "judging.md").read_text(encoding="utf-8")
    for key, metric in METRICS.items():
        assert f"`{key}`" in page, key
        assert metric.title in page, metric.title
    oracles = [line for line in page.splitlines() if "**Oracle**" in line]
    named = {key for key, m in METRICS.items() if any(f"`{key}`" in line for line in oracles)}
    assert named == {key for key, metric in METRICS.items() if metric.kind == "oracle"}
