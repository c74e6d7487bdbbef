"""Set thresholds on 10,000 normal scans, and see what a scan's summary costs.

    python benchmarks/calibrate_scale.py [--scans 10000] [--out benchmarks/calibrate_scale.md]

Once a scan has been mapped, `wholesight calibrate` works on its summary. This measures the whole of
that work: a threshold by each rule, the leave-one-out check of each, the subjects that stick out,
p-values of as many scans, and writing and reading the summaries. The scans are made up, with bodies
of 10^7 voxels: the kept values of a skewed distribution whose scale and shape differ between
subjects, every hundredth of them twice as odd. The voxels themselves need not be drawn for that.

The second table has what it takes to summarise one scan of 10^4, 10^6 and 10^7 voxels, connected
places and all, and how large the summary is.
"""

from __future__ import annotations

import argparse
import resource
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import gamma

from wholesight.calibration import Normals, NormalScan, Terms, p_values, summarise, threshold_of
from wholesight.calibration.curve import Curve, counts_above, kept_ranks
from wholesight.calibration.normals import measured_at
from wholesight.calibration.odd import sticking_out
from wholesight.calibration.realised import leave_one_out
from wholesight.io.files import write_text

RULES: Final = ("crc", "percentile", "fwe", "tolerance")
VOXELS: Final = 10_000_000
MIN_LESION_MM3: Final = 100.0
# Edges of cubes with about 10^4, 10^6 and 10^7 voxels.
EDGES: Final = (22, 100, 215)
GOAL_S: Final = 5.0

T = TypeVar("T")


class Step(NamedTuple):
    """One piece of the work, and how long it took."""

    what: str
    seconds: float


class Size(NamedTuple):
    """A body of so many voxels: bytes of its summary, seconds to make it."""

    voxels: int
    ranks: int
    summary_bytes: int
    seconds: float


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scans", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    normals = made_up(options.scans)
    before_mib = peak_mib()
    steps, size = worked_out(normals)
    text = page(steps, size, options.scans, before_mib, peak_mib())
    print(text)
    if options.out is not None:
        write_text(options.out, text)


def made_up(scans: int) -> Normals:
    """Make that many subjects, of one scan each. The same ones at every call."""
    rng = np.random.default_rng(0)
    # Of a gamma distribution with mean 1, the value that each kept rank of a body would have.
    expected = gamma.isf((kept_ranks(VOXELS) - 0.5) / VOXELS, 4.0, scale=0.25)
    return Normals(scan_of(rng, number, expected) for number in range(scans))


def scan_of(rng: np.random.Generator, number: int, expected: np.ndarray) -> NormalScan:
    """Make one scan up; its largest places grow with the share that lies above a level."""
    odd = 2.0 if number % 100 == 99 else 1.0
    levels = (odd * rng.lognormal(0.0, 0.3) * expected ** rng.uniform(0.9, 1.1)).astype(np.float32)
    # A place holds a part of what lies above the level: next to nothing at first, then all of it.
    above = counts_above(VOXELS)[measured_at(VOXELS)] / VOXELS
    return NormalScan(
        subject=f"subject{number}",
        site=f"site{number % 4}",
        curve=Curve(levels, VOXELS),
        largest_mm3=(VOXELS * above**1.5).astype(np.float32),
        voxel_mm3=1.0,
        score=float(levels[:256].mean()),
        slices=215,
        whole=True,
    )


def worked_out(normals: Normals) -> tuple[list[Step], int]:
    """Do all that `calibrate` does with summaries; returns the steps and the bytes of all scans."""
    steps: list[Step] = []

    def timed(what: str, work: Callable[[], T]) -> T:
        begin = time.process_time()
        result = work()
        steps.append(Step(what, time.process_time() - begin))
        return result

    content = timed("writing the summaries", normals.to_bytes)
    # As a later calibration finds them: nothing is worked out yet.
    normals = timed("reading them", lambda: Normals.from_bytes(content))
    for rule in RULES:
        terms = Terms(rule=rule)
        threshold = timed(
            f"`{rule}`, threshold",
            lambda terms=terms: threshold_of(normals, terms, min_lesion_mm3=MIN_LESION_MM3),
        )
        timed(
            f"`{rule}`, each subject left out",
            lambda terms=terms, threshold=threshold: leave_one_out(
                normals, terms, threshold, MIN_LESION_MM3
            ),
        )
    timed("subjects that stick out", lambda: sticking_out(normals))
    scores = normals.scores
    assert scores is not None
    timed("p-values of as many scans", lambda: p_values(scores, scores))
    return steps, len(content)


def size_of(edge: int) -> Size:
    """Summarise a body of that edge, filled with smooth noise, and write it."""
    noise = np.random.default_rng(0).standard_normal((edge, edge, edge), np.float32)
    anomaly = np.asarray(gaussian_filter(noise, 2.0), np.float32)
    begin = time.process_time()
    scan = summarise(
        anomaly,
        np.ones(anomaly.shape, bool),
        subject="one",
        site=None,
        slices=edge,
        whole=True,
        voxel_mm3=1.0,
    )
    seconds = time.process_time() - begin
    # Of two scans less one: what the file takes for itself does not grow with the scans.
    several = len(Normals([scan, scan]).to_bytes()) - len(Normals([scan]).to_bytes())
    return Size(edge**3, scan.curve.levels.size, several, seconds)


def page(steps: list[Step], size: int, scans: int, before_mib: float, after_mib: float) -> str:
    """Write the Markdown page."""
    total = sum(step.seconds for step in steps)
    slowest = sum(step.seconds for step in steps if not step.what.startswith("`")) + max(
        sum(step.seconds for step in steps if step.what.startswith(f"`{rule}`")) for rule in RULES
    )
    lines = [
        _INTRODUCTION.format(scans=scans),
        "| what | seconds |",
        "|---|---|",
        *(f"| {step.what} | {step.seconds:.2f} |" for step in steps),
        f"| **all of it** | **{total:.2f}** |",
        "",
        textwrap.fill(
            f"One command uses one rule: {slowest:.1f} s with the slowest of them. The goal is "
            f"{GOAL_S:g} s; it is {'met' if slowest < GOAL_S else 'missed'}. The summaries take "
            f"{size / 1e6:.1f} MB, {size / scans:.0f} bytes a scan. Peak memory {after_mib:.0f} "
            f"MiB, {before_mib:.0f} MiB of it with the scans made up and nothing worked out.",
            100,
        ),
        "",
        "## A scan's summary does not grow with its voxels",
        "",
        "| voxels | levels kept | bytes of the summary | bytes of the map | seconds to make |",
        "|---|---|---|---|---|",
    ]
    for found in map(size_of, EDGES):
        lines.append(
            f"| {found.voxels:,} | {found.ranks} | {found.summary_bytes:,} | "
            f"{4 * found.voxels:,} | {found.seconds:.2f} |"
        )
    return "\n".join([*lines, ""])


_INTRODUCTION = """# Thresholds from {scans:,} normal scans of 10^7 voxels

Written by `python benchmarks/calibrate_scale.py --out benchmarks/calibrate_scale.md`, which says
how the scans are made up. Seconds are CPU time of one thread, so that other work on the machine
does not count.
"""


def peak_mib() -> float:
    """Return the most memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
