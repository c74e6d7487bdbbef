"""`benchmarks/guarantees.py` itself: shrunk, it runs, and it notices a promise that is broken."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("guarantees")


@pytest.fixture(scope="module")
def worlds(script: ModuleType) -> ModuleType:
    return importlib.import_module("guarantees_worlds")


@pytest.fixture(scope="module")
def small(worlds: ModuleType) -> SimpleNamespace:
    """A small population, and what each rule comes to with 59 subjects, 300 times."""
    people = worlds.Population("skewed", 2000)
    names = [name for name in worlds.RULES if name != "percentile, read for scans"]
    return SimpleNamespace(cells=worlds.simulate(people, 59, names, 300, seed=[7]), people=people)


def test_promises_hold_and_what_promises_nothing_fails(worlds, small) -> None:
    for name, cell in small.cells.items():
        if worlds.RULES[name].promises:
            assert worlds.kept(name, cell), name
    assert not small.cells["plug-in quantile of maxima"].kept("mean", worlds.ALPHA)
    assert not small.cells["fwe"].kept("confidence", 1 - worlds.CONFIDENCE)


def test_the_predicted_spread_is_about_the_realised_one(small) -> None:
    for name in ("fwe", "tolerance", "conformal p-value", "crc"):
        cell = small.cells[name]
        assert cell.predicted == pytest.approx((cell.low, cell.high), abs=0.02), name


def test_the_truth_of_a_calibration_is_counted_right(worlds, small) -> None:
    calibration = worlds.Calibration(small.people, np.random.default_rng(0), 59, 1)
    others = small.people.values[calibration.others]
    level = float(np.quantile(others, 0.9))
    assert calibration.share_above(level) == pytest.approx(np.mean(others > np.float32(level)))
    assert calibration.scans_above(level) == pytest.approx(np.mean((others > level).any(axis=1)))


def test_a_broken_promise_is_noticed_and_chance_is_not(worlds) -> None:
    cell = worlds.Cell(0.06, 0.001, 0.2, 0.0, 0.1, None, 2000)
    near = cell._replace(mean=0.0515, exceeding=0.055)
    cells = {("normal", 99, name): cell for name in worlds.RULES}
    cells |= {("ties", 99, name): near for name in worlds.RULES}
    promising = ["conformal p-value", "fwe", "crc", "tolerance"]
    expected = [f"{name} in the world 'normal' with n = 99" for name in promising]
    assert worlds.broken(cells) == expected


@pytest.mark.slow
def test_the_whole_script_shrunk(script, worlds, monkeypatch, tmp_path, capsys) -> None:
    cells = worlds.run(12, population=1000)
    monkeypatch.setattr(script, "run", lambda _: cells)
    out, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    command = ["guarantees.py", "--out", str(out), "--picture", str(picture)]
    monkeypatch.setattr("sys.argv", command)
    assert script.main() == (1 if worlds.broken(cells) else 0)
    page = out.read_text(encoding="utf-8")
    assert page in capsys.readouterr().out
    assert page.count("| refused |") == 3 * len(worlds.WORLDS)  # tolerance, n = 20
    assert picture.read_text(encoding="utf-8").startswith("<?xml")

    wrong = cells["sites", 99, "fwe"]._replace(mean=0.07, error=0.001)
    cells["sites", 99, "fwe"] = wrong
    assert script.main() == 1
    assert "BROKEN:** fwe in the world 'sites' with n = 99" in capsys.readouterr().out
