"""Rank 10^9 voxels in constant memory, and compare with the exact figures.

    python benchmarks/metrics_scale.py [--voxels 1e9] [--out benchmarks/metrics_scale.md]

Streams made-up cases through `metrics.pool.Pool`, as `wholesight evaluate` does. 2 % of the voxels
are lesion; scores are normal, 1.5 higher in a lesion, with an offset of every case of its own (0.2)
and 0.5 more in the second half of the cases, which the bins could not be learnt from.

Scores lie on a lattice of 2^-17, some 40 times finer than the bins. So counts by lattice value are
the exact answer, at a cost that does not depend on the number of voxels: the true error is known,
not only its bound. They are summed here by formulas of their own.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wholesight.io.files import write_text
from wholesight.metrics.pool import Pool, Pooled
from wholesight.metrics.ranking import auroc_of, average_precision_of

VOXELS_A_CASE = 2_000_000
LESION_SHARE = 0.02
SEPARATION = 1.5
CASE_OFFSET, LATE_OFFSET = 0.2, 0.5
LATTICE = 2**17
# Lattice values from -8 to 10; a score beyond them, one in 10^14, is put at the end.
LOWEST, HIGHEST = -8 * LATTICE, 10 * LATTICE


class Figures(NamedTuple):
    """What is ranked: AUROC and average precision."""

    auroc: float
    average_precision: float


class Measured(NamedTuple):
    """One run. Memory in MiB, as the operating system counts its peak."""

    voxels: int
    cases: int
    before_mib: float
    peak_mib: float
    pool_s: float
    total_s: float
    exact: Figures
    figure: Figures
    bound: Figures


class Lattice:
    """Counts of lesion and other voxels by lattice value: the exact answer."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, HIGHEST - LOWEST + 1), np.int64)

    def add(self, at: np.ndarray, truth: np.ndarray) -> None:
        """Count a case. at : whole numbers, score = at / LATTICE."""
        for kind, chosen in enumerate((truth, ~truth)):
            self._counts[kind] += np.bincount(at[chosen] - LOWEST, minlength=HIGHEST - LOWEST + 1)

    def figures(self) -> Figures:
        """Sum over values, from the highest down, ties together."""
        lesion, other = (counts[::-1].astype(np.longdouble) for counts in self._counts)
        below = other.sum() - np.cumsum(other)
        won = (lesion * (below + other / 2)).sum()
        there = lesion > 0
        true_flags = np.cumsum(lesion)[there]
        flagged = np.cumsum(lesion + other)[there]
        precision = (lesion[there] * true_flags / flagged).sum()
        return Figures(float(won / lesion.sum() / other.sum()), float(precision / lesion.sum()))


def measure(
    voxels: int, *, exact_up_to: int = 2**24, voxels_a_case: int = VOXELS_A_CASE
) -> Measured:
    """Stream that many voxels through a pool."""
    begin = time.perf_counter()
    lattice = Lattice()
    cases = -(-voxels // voxels_a_case)
    sizes = [min(voxels_a_case, voxels - case * voxels_a_case) for case in range(cases)]
    # What a case and its counting take is no part of the pool: have it in memory once before.
    lattice.add(*next(_draw(sizes[:1])))
    lattice = Lattice()
    before_mib = _peak_mib()
    pool, pool_s = Pool(exact_up_to=exact_up_to), 0.0
    for number, (at, truth) in enumerate(_draw(sizes), 1):
        lattice.add(at, truth)
        scores = (at / np.float32(LATTICE)).astype(np.float32)
        now = time.perf_counter()
        pool.add(scores, truth)
        pool_s += time.perf_counter() - now
        if sys.stderr.isatty():
            print(f"\r{number} of {cases} cases", end="", file=sys.stderr)
    now = time.perf_counter()
    pooled = pool.close()
    figure = _figures(pooled)
    end = time.perf_counter()
    return Measured(
        voxels=voxels,
        cases=cases,
        before_mib=before_mib,
        peak_mib=_peak_mib(),
        pool_s=pool_s + end - now,
        total_s=end - begin,
        exact=lattice.figures(),
        figure=figure,
        bound=Figures(*pooled.error),
    )


def table(measured: Measured) -> str:
    """Write the run as a Markdown table."""
    lines = [
        "| | AUROC | average precision |",
        "|---|---|---|",
        _line("exact", measured.exact, ".9f"),
        _line("from the histogram", measured.figure, ".9f"),
        _line("true error", _off(measured), ".1e"),
        _line("its proven bound", measured.bound, ".1e"),
    ]
    return "\n".join(lines) + "\n\n" + _cost(measured) + "\n"


def main() -> None:
    """Run, print, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--voxels", type=float, default=1e9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = table(measure(int(options.voxels)))
    print(text)
    if options.out is not None:
        write_text(options.out, _INTRODUCTION + text)


_INTRODUCTION = """# Ranking 10^9 voxels in constant memory

Written by `python benchmarks/metrics_scale.py --out benchmarks/metrics_scale.md`, which says how
the voxels are made. The exact figures come from counts of every distinct score. No order of the
voxels within the bins of the histogram can move a figure further than the bound.

"""


def _draw(sizes: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw cases: lattice positions and truth. The same ones at every call."""
    rng = np.random.default_rng(0)
    for case, size in enumerate(sizes):
        truth = rng.random(size, dtype=np.float32) < LESION_SHARE
        scores = rng.standard_normal(size, dtype=np.float32)
        scores[truth] += SEPARATION
        late = LATE_OFFSET * (2 * case >= len(sizes))
        scores += np.float32(rng.normal(0, CASE_OFFSET) + late)
        np.rint(np.multiply(scores, LATTICE, out=scores), out=scores)
        yield scores.clip(LOWEST, HIGHEST).astype(np.int32), truth


def _figures(pooled: Pooled) -> Figures:
    return Figures(float(auroc_of(pooled.steps)), float(average_precision_of(pooled.steps)))


def _off(measured: Measured) -> Figures:
    pairs = zip(measured.figure, measured.exact, strict=True)
    return Figures(*(abs(ours - exact) for ours, exact in pairs))


def _line(name: str, figures: Figures, form: str) -> str:
    return f"| {name} | {figures.auroc:{form}} | {figures.average_precision:{form}} |"


def _cost(measured: Measured) -> str:
    return (
        f"{measured.voxels:,} voxels, cases: {measured.cases:,}. Peak memory "
        f"{measured.peak_mib:.0f} MiB, {measured.before_mib:.0f} MiB of it before the first case.\n"
        f"{measured.pool_s:.0f} s of ranking, {measured.total_s:.0f} s with drawing the voxels and "
        "counting them exactly, on one thread."
    )


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
