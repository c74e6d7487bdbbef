"""What docs/concepts/thresholds.md says of rules and numbers is what the code does."""

import re
from pathlib import Path

import numpy as np
import pytest

from wholesight.calibration import RULES, SCREENING
from wholesight.calibration.conformal import subjects_needed
from wholesight.calibration.crc import crc_budget
from wholesight.calibration.curve import Curve, kept_ranks
from wholesight.calibration.tolerance import tolerance_needed

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "thresholds.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def prose(page: str) -> str:
    """The page on one line, however it is wrapped."""
    return " ".join(page.split())


def rows(page: str, under: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = page.split(f"\n## {under}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_rule_is_explained(page):
    promised = {
        row[0].split(",")[0].strip("`"): row[1] for row in rows(page, "What each rule promises")
    }
    assert set(RULES) <= set(promised)
    without = {name for name, promise in promised.items() if promise.startswith("nothing")}
    assert without == set(RULES) - set(SCREENING)


def test_how_many_subjects_each_alpha_needs(page):
    table = rows(page, "How many normal subjects")
    assert len(table) == 4
    for alpha, conformal, high, low in ([float(cell) for cell in row] for row in table):
        assert conformal == subjects_needed(alpha)
        assert high == tolerance_needed(alpha, 0.95)
        assert low == tolerance_needed(alpha, 0.9)


def test_what_share_crc_leaves(page):
    said = re.search(
        r"that is ([\d.]+) for (\d+) subjects, ([\d.]+) for (\d+), ([\d.]+) for (\d+)", prose(page)
    )
    assert said is not None
    figures = [float(each) for each in said.groups()]
    for share, n in zip(figures[::2], figures[1::2], strict=True):
        assert share == pytest.approx(crc_budget(int(n), 0.05) / n, abs=5e-4)
        assert share == pytest.approx(0.05 - 0.95 / n, abs=5e-4)


def test_the_summary_is_as_fine_as_it_says(page):
    said = re.search(r"highest (\d+) values are kept one by one", prose(page))
    assert said is not None
    assert np.flatnonzero(np.diff(kept_ranks(10**7)) > 1)[0] + 1 == int(said[1])
    values = np.random.default_rng(0).random(20_000, np.float32)
    curve = Curve.of(values)
    for level in np.quantile(values, np.linspace(0, 1, 101)).tolist():
        true = np.mean(values > level)
        assert true - 1e-12 <= curve.share_above(level) <= 1.01 * true + 1e-12
