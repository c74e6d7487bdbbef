"""The command line as a user meets it, and a phantom small enough for every test."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from wholesight.cli.main import run
from wholesight.datasets.phantom import write_phantom

TINY = (
    "--recipe",
    "quick",
    "--set",
    "size=32",
    "--set",
    "training.epochs=2",
    "--set",
    "training.batch=4",
    "--set",
    "method.network.width=4",
)


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def wholesight(monkeypatch, capsys) -> Callable[..., Ended]:
    """Run a command line in this process: wholesight("check", folder)."""

    def command(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wholesight", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run()
        printed = capsys.readouterr()
        return Ended(int(stop.value.code or 0), printed.out, printed.err)

    return command


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options of `fit` for a network that trains in a second."""
    return TINY


@pytest.fixture(scope="session")
def heads(tmp_path_factory) -> Path:
    """Six normal heads and four with a lesion, coarse."""
    folder = tmp_path_factory.mktemp("phantom") / "heads"
    write_phantom(folder, normal=6, lesion=4, seed=0, spacing_mm=(4.0, 4.0, 12.0))
    return folder


@pytest.fixture(scope="session")
def model(heads, tmp_path_factory) -> Path:
    """A model folder, calibrated, trained for two epochs. Tests do not write into it."""
    folder = tmp_path_factory.mktemp("model") / "model"
    # Two calibration subjects are too few for a promise.
    calibrate = ["calibrate", folder, heads, "--rule", "percentile", "--no-cost"]
    words = [["fit", heads, *TINY, "--out", folder], calibrate]
    with pytest.MonkeyPatch.context() as patch:
        for command in words:
            patch.setattr(sys, "argv", ["wholesight", *map(str, command)])
            with pytest.raises(SystemExit) as stop:
                run()
            assert not stop.value.code
    return folder
