"""The worlds, the calibrations and the rules of `guarantees.py`, which says what is done here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, cached_property
from typing import Final, NamedTuple

import numpy as np

from wholesight.calibration.conformal import p_values
from wholesight.calibration.crc import crc, crc_budget, pooled_by_subject
from wholesight.calibration.curve import Curve
from wholesight.calibration.fwe import fwe, fwe_rank
from wholesight.calibration.percentile import percentile
from wholesight.calibration.spread import beta_spread, mean_spread
from wholesight.calibration.tolerance import tolerance, tolerance_needed, tolerance_rank
from wholesight.scan_score import scan_score

ALPHA: Final = 0.05
CONFIDENCE: Final = 0.95
SUBJECTS: Final = (20, 59, 99, 299)
VOXELS: Final = 300
# How far above its promise a figure may lie by chance, in standard errors.
CHANCE: Final = 2.0
# Where healthy subjects come from: how much odder each of five sites makes a map.
SITES: Final = np.array([0.0, 0.2, 0.4, 0.8, 2.0])


def _normal(rng: np.random.Generator, subjects: int) -> np.ndarray:
    return rng.normal(0, 0.5, (subjects, 1)) + rng.normal(size=(subjects, VOXELS))


def _skewed(rng: np.random.Generator, subjects: int) -> np.ndarray:
    return rng.lognormal(0, 1, (subjects, 1)) + rng.lognormal(0, 0.5, (subjects, VOXELS))


def _sites(rng: np.random.Generator, subjects: int) -> np.ndarray:
    return rng.choice(SITES, (subjects, 1)) + _normal(rng, subjects)


def _ties(rng: np.random.Generator, subjects: int) -> np.ndarray:
    return np.round(2 * _normal(rng, subjects)) / 2


# (generator, subjects) -> (subjects, VOXELS) map values, higher = odder.
WORLDS: Final[dict[str, Callable[[np.random.Generator, int], np.ndarray]]] = {
    "normal": _normal,
    "skewed": _skewed,
    "sites": _sites,
    "ties": _ties,
}


class Population:
    """The healthy scans of a world. values : (subjects, VOXELS) of their maps."""

    def __init__(self, world: str, subjects: int) -> None:
        rng = np.random.default_rng(list(WORLDS).index(world))
        self.values = WORLDS[world](rng, subjects).astype(np.float32)
        self.curves = [Curve.of(values) for values in self.values]
        self.maxima = np.array([curve.maximum for curve in self.curves])
        self.scores = np.array([scan_score(values) for values in self.values])
        self._sorted = np.sort(self.values, axis=None)

    def above(self, level: float) -> int:
        """Count the voxels of all scans that lie above a level."""
        # In the array's own precision: numpy would turn all of the array into the other's.
        at = np.searchsorted(self._sorted, np.float32(level), side="right")
        return self._sorted.size - int(at)


class Calibration:
    """One calibration: n of the population were drawn, all others are still to come."""

    def __init__(
        self, population: Population, rng: np.random.Generator, n: int, number: int
    ) -> None:
        order = rng.permutation(len(population.values))
        self.population = population
        self.n = n
        self.number = number
        self.drawn, self.others = order[:n], order[n:]

    @property
    def maxima(self) -> np.ndarray:
        """(n,) the highest map value of every calibration scan."""
        return self.population.maxima[self.drawn]

    @cached_property
    def curves(self) -> list[list[Curve]]:
        """The calibration subjects' summaries; each has one scan."""
        return [[self.population.curves[subject]] for subject in self.drawn]

    @cached_property
    def percentile(self) -> float:
        """The percentile of pooled voxels, which two statements are made of."""
        return percentile(self.curves, alpha=ALPHA)

    def scans_above(self, level: float) -> float:
        """Return in what share of the other scans anything lies above the level."""
        return float(np.mean(self.population.maxima[self.others] > level))

    def shares(self, levels: np.ndarray) -> np.ndarray:
        """(n,) of every calibration scan, what share lies above a level of its own."""
        return np.mean(self.population.values[self.drawn] > levels[:, None], axis=1)

    def share_above(self, level: float) -> float:
        """Return what share of the others' voxels lies above the level."""
        ours = int(np.count_nonzero(self.population.values[self.drawn] > level))
        return (self.population.above(level) - ours) / (self.others.size * VOXELS)


class Truth(NamedTuple):
    """Of one calibration: the true rate, and within what limits 90 % of them are predicted."""

    rate: float
    low: float = np.nan
    high: float = np.nan


_order_spread = cache(beta_spread)


def _p_value(calibration: Calibration) -> Truth:
    scores = calibration.population.scores
    p = p_values(scores[calibration.drawn], scores[calibration.others])
    spread = _order_spread(calibration.n, fwe_rank(calibration.n, ALPHA))
    return Truth(float(np.mean(p <= ALPHA)), *spread)


def _fwe(calibration: Calibration) -> Truth:
    level = fwe(calibration.maxima, alpha=ALPHA)
    spread = _order_spread(calibration.n, fwe_rank(calibration.n, ALPHA))
    return Truth(calibration.scans_above(level), *spread)


def _crc(calibration: Calibration) -> Truth:
    level = crc(calibration.curves, alpha=ALPHA)
    rate = calibration.share_above(level)
    # Setting the level without each subject takes long, and a tenth tells the mean limits as well.
    return Truth(rate, *_crc_spread(calibration)) if calibration.number % 10 == 0 else Truth(rate)


def _crc_spread(calibration: Calibration) -> tuple[float, float]:
    """Predict from each subject's share above the level that the others set."""
    budgets = np.full(calibration.n, crc_budget(calibration.n - 1, ALPHA))
    levels = pooled_by_subject(calibration.curves).levels_without_each(budgets)
    return mean_spread(calibration.shares(levels), calibration.n)


def _tolerance(calibration: Calibration) -> Truth:
    level = tolerance(calibration.maxima, alpha=ALPHA, confidence=CONFIDENCE)
    spread = _order_spread(calibration.n, tolerance_rank(calibration.n, ALPHA, CONFIDENCE))
    return Truth(calibration.scans_above(level), *spread)


def _plug_in(calibration: Calibration) -> Truth:
    return Truth(calibration.scans_above(float(np.quantile(calibration.maxima, 1 - ALPHA))))


def _percentile_of_voxels(calibration: Calibration) -> Truth:
    return Truth(calibration.share_above(calibration.percentile))


def _percentile_of_scans(calibration: Calibration) -> Truth:
    return Truth(calibration.scans_above(calibration.percentile))


class Rule(NamedTuple):
    """A rule, what its rate is a rate of, and what it promises: the mean, the confidence, no."""

    rate: Callable[[Calibration], Truth]
    of: str
    promises: str | None
    needs: int = 1


RULES: Final = {
    "conformal p-value": Rule(_p_value, "healthy scans with p <= alpha", "mean"),
    "fwe": Rule(_fwe, "healthy scans with anything flagged", "mean"),
    "crc": Rule(_crc, "flagged share of a healthy body", "mean"),
    "tolerance": Rule(
        _tolerance,
        "healthy scans with anything flagged",
        "confidence",
        tolerance_needed(ALPHA, CONFIDENCE),
    ),
    "plug-in quantile of maxima": Rule(_plug_in, "healthy scans with anything flagged", None),
    "percentile of voxels": Rule(_percentile_of_voxels, "flagged share of a healthy body", None),
    "percentile, read for scans": Rule(
        _percentile_of_scans, "healthy scans with anything flagged", None
    ),
}


class Cell(NamedTuple):
    """One rule in one world with n subjects, over many calibrations.

    mean, error : of the true rate, and its standard error. exceeding : share of calibrations whose
    true rate is above alpha. low, high : 5 % and 95 % of the true rate. predicted : the same, as
    `spread` has it, a mean over calibrations. again : simulated a second time.
    """

    mean: float
    error: float
    exceeding: float
    low: float
    high: float
    predicted: tuple[float, float] | None
    calibrations: int
    again: bool = False

    def kept(self, promises: str | None, goal: float) -> bool:
        """Tell whether the goal is met, a mean rate or a share of calibrations; or chance."""
        if promises == "confidence":
            return self.exceeding <= goal + CHANCE * np.sqrt(goal * (1 - goal) / self.calibrations)
        return self.mean <= goal + CHANCE * self.error


# World, n and rule; rules that need more subjects have no cell.
Cells = dict[tuple[str, int, str], Cell]


def goal(rule: Rule) -> float:
    """Return what may not be exceeded: a mean rate, or a share of calibrations."""
    return 1 - CONFIDENCE if rule.promises == "confidence" else ALPHA


def kept(name: str, cell: Cell) -> bool:
    """Tell whether a cell keeps what its rule promises."""
    return cell.kept(RULES[name].promises, goal(RULES[name]))


def simulate(
    population: Population, n: int, names: list[str], calibrations: int, *, seed: list[int]
) -> dict[str, Cell]:
    """Calibrate many times with n subjects, all the named rules each time."""
    rng = np.random.default_rng([*seed, n])
    truths: dict[str, list[Truth]] = {name: [] for name in names}
    for number in range(calibrations):
        calibration = Calibration(population, rng, n, number)
        for name in names:
            truths[name].append(RULES[name].rate(calibration))
    return {name: _cell(np.array(found)) for name, found in truths.items()}


def _cell(truths: np.ndarray) -> Cell:
    """Sum up rates with their predicted limits, (calibrations, 3)."""
    rates = truths[:, 0]
    low, high = np.quantile(rates, [0.05, 0.95])
    return Cell(
        mean=float(rates.mean()),
        error=float(rates.std(ddof=1) / np.sqrt(rates.size)),
        exceeding=float(np.mean(rates > ALPHA)),
        low=float(low),
        high=float(high),
        predicted=_mean_limits(truths[:, 1:]),
        calibrations=rates.size,
    )


def _mean_limits(limits: np.ndarray) -> tuple[float, float] | None:
    """Average what is known of (calibrations, 2) limits."""
    known = limits[~np.isnan(limits[:, 0])]
    return (float(known[:, 0].mean()), float(known[:, 1].mean())) if known.size else None


def run(calibrations: int, *, population: int = 20_000) -> Cells:
    """Simulate every world and number of subjects; what looks broken, once more."""
    cells: Cells = {}
    for number, world in enumerate(WORLDS):
        people = Population(world, population)
        for n in SUBJECTS:
            names = [name for name, rule in RULES.items() if rule.needs <= n]
            found = simulate(people, n, names, calibrations, seed=[number, 0])
            doubtful = [
                name
                for name, cell in found.items()
                if RULES[name].promises and not kept(name, cell)
            ]
            if doubtful:
                second = simulate(people, n, doubtful, 4 * calibrations, seed=[number, 1])
                found |= {name: cell._replace(again=True) for name, cell in second.items()}
            cells |= {(world, n, name): cell for name, cell in found.items()}
            print(f"{world}, n = {n}: done", file=sys.stderr, flush=True)
    return cells


def broken(cells: Cells) -> list[str]:
    """Name what is promised and not kept."""
    return [
        f"{name} in the world '{world}' with n = {n}"
        for (world, n, name), cell in cells.items()
        if RULES[name].promises and not kept(name, cell)
    ]
