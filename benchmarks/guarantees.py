"""Calibrate thousands of times in made-up worlds, and see whether the rules keep their promises.

    python benchmarks/guarantees.py [--calibrations 2000] [--out benchmarks/guarantees.md]
        [--picture docs/images/guarantees.svg]

A world is a population of simulated healthy scans, one a subject, of 300 voxels each: an effect of
the subject and noise of the voxel. A calibration draws n of them, hands their summaries to the very
functions that `wholesight calibrate` calls, and looks at everybody else: the true rate of this
calibration is counted, not estimated. Of many calibrations the mean is what most rules promise, and
the share with a true rate above alpha what a tolerance limit promises.

A promise counts as kept where the figure is within two standard errors of it, or below. So many
figures are looked at that some lie further off by chance; those (marked *) are simulated once more,
four times as often and with other numbers, and the second run alone is shown and decides.

Takes ten minutes of one core. Exit codes: 0 all promises kept, 1 at least one is broken.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from guarantees_worlds import (
    ALPHA,
    CONFIDENCE,
    RULES,
    SUBJECTS,
    VOXELS,
    WORLDS,
    Cell,
    Cells,
    broken,
    kept,
    run,
)
from wholesight.io.files import write_text

ABOUT = """# Promises, and what came of them

Written by `python benchmarks/guarantees.py --out benchmarks/guarantees.md --picture
docs/images/guarantees.svg`. Worlds are made up, {voxels} voxels a scan, one scan a subject:
**normal** effects of subjects and of voxels; **skewed** ones (lognormal: some healthy subjects are
very odd); **sites** (each subject comes from one of five, drawn anew, and one of them makes much
odder maps); **ties** (values of the first world rounded to halves). alpha is {alpha:g}, confidence
{confidence:g}. Every figure is from {calibrations:,} calibrations of n subjects each; the true rate
of each is counted on all of the population that it did not draw.

{verdict}

![Realised rates of every rule beside what is promised](../docs/images/guarantees.svg)

What no rule promises, and what is not simulated: anything about a scan from elsewhere than the
calibration scans.
"""

MEANS = """
## The mean over calibrations

The true rate, averaged over calibrations, ± its standard error. The conformal p-value, `fwe` and
`crc` promise {alpha:g} or less; **bold** is more, beyond chance. The plug-in quantile (the
{quantile:g} % quantile of the scans' maxima, as numpy gives it) and the percentile (of all voxels
together) promise nothing, and are here to show it: few subjects make them too low, and a percentile
of voxels, taken for one of scans, is wrong whatever their number. With few subjects `crc` pays for
its promise: at n = 20 nearly nothing may be flagged.
"""

EXCEEDING = """
## Single calibrations

The share of calibrations whose true rate is above {alpha:g}. Only `tolerance` promises anything
here: at most {doubt:g}, for which it needs {needs} subjects. The others hold on average, so some of
their calibrations lie above. **Bold** is more than {doubt:g}, beyond chance.
"""

SPREADS = """
## How far one calibration may be off

From 5 % to 95 % of the true rate over calibrations, and in brackets what `calibration.spread`
predicts: from n and the rank alone, or for `crc` from each subject's share above the level that the
others set (the mean over a tenth of the calibrations; of 20 the others are 19, the fewest possible,
so that this is too low there). Ties make ranks better than predicted.
"""


def main() -> int:
    """Simulate, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibrations", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="the page, in Markdown")
    parser.add_argument("--picture", type=Path, help="the picture, as SVG")
    arguments = parser.parse_args()
    cells = run(arguments.calibrations)
    text = page(cells, arguments.calibrations)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)
    if arguments.picture is not None:
        from guarantees_picture import picture

        write_text(arguments.picture, picture(cells))
    return 1 if broken(cells) else 0


def page(cells: Cells, calibrations: int) -> str:
    """Write the page."""
    facts = {
        "alpha": ALPHA,
        "confidence": CONFIDENCE,
        "doubt": round(1 - CONFIDENCE, 9),
        "quantile": 100 * (1 - ALPHA),
        "voxels": VOXELS,
        "calibrations": calibrations,
        "needs": RULES["tolerance"].needs,
        "verdict": verdict(cells),
    }
    promising = [name for name, rule in RULES.items() if rule.promises]
    parts = [
        ABOUT.format(**facts),
        MEANS.format(**facts),
        table(cells, list(RULES), mean),
        EXCEEDING.format(**facts),
        table(cells, [*promising, "plug-in quantile of maxima"], exceeding),
        SPREADS.format(**facts),
        table(cells, promising, spread),
    ]
    return "\n".join(parts)


def verdict(cells: Cells) -> str:
    """Say whether all promises are kept."""
    faults = broken(cells)
    if faults:
        return textwrap.fill("**BROKEN:** " + "; ".join(faults) + ".", 100)
    checked = sum(RULES[name].promises is not None for *_, name in cells)
    text = (
        f"**All {checked} promises are kept**: each figure is at most what is promised plus two "
        "standard errors."
    )
    again = sum(cell.again for cell in cells.values())
    if again:
        text += (
            f" By chance some of so many figures lie further off at first. {again} did; simulated "
            "once more, four times as often, they do not, and the second run alone is shown "
            "(marked *)."
        )
    return textwrap.fill(text, 100)


def table(cells: Cells, names: list[str], shown: Callable[[str, Cell], str]) -> str:
    """Write one table: a row for each rule and world, a column for each n."""
    lines = [
        "| rule | rate of | world | " + " | ".join(f"n = {n}" for n in SUBJECTS) + " |",
        "|---|---|---|" + "---|" * len(SUBJECTS),
    ]
    for name in names:
        for number, world in enumerate(WORLDS):
            found = [cells.get((world, n, name)) for n in SUBJECTS]
            texts = ["refused" if cell is None else shown(name, cell) for cell in found]
            heading = f"{name} | {RULES[name].of}" if number == 0 else " | "
            lines.append(f"| {heading} | {world} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def mean(name: str, cell: Cell) -> str:
    """Write a mean rate; bold where it is above alpha beyond chance."""
    text = f"{cell.mean:.4f} ± {cell.error:.4f}"
    above = not cell.kept("mean", ALPHA)
    return marked(name, cell, f"**{text}**" if above else text)


def exceeding(name: str, cell: Cell) -> str:
    """Write a share of calibrations; bold where it is above 1 - confidence beyond chance."""
    text = f"{cell.exceeding:.3f}"
    above = not cell.kept("confidence", 1 - CONFIDENCE)
    return marked(name, cell, f"**{text}**" if above else text)


def spread(name: str, cell: Cell) -> str:
    """Write what came, and what was predicted."""
    low, high = cell.predicted or (float("nan"), float("nan"))
    return marked(name, cell, f"{cell.low:.3f} to {cell.high:.3f} ({low:.3f} to {high:.3f})")


def marked(name: str, cell: Cell, text: str) -> str:
    """Say what was simulated again, and what is promised and broken."""
    wrong = RULES[name].promises is not None and not kept(name, cell)
    return text + ("*" if cell.again else "") + (" BROKEN" if wrong else "")


if __name__ == "__main__":
    sys.exit(main())
