"""Train and judge every CPU-sized recipe on real tumours, and write benchmarks/methods.md.

    python benchmarks/methods.py [--seeds 3] [--jobs 2] [--out out/methods] [--recipes a b ...]

Each recipe is trained on the training patients of lgg-flair, once for every seed, and judged on the
validation patients in the eroded brain. A cell (recipe, seed) that is finished in --out is not done
again unless its recipe has changed (after a change of code, take a new --out); one that fails is
reported and the rest goes on. Jobs have one thread each, and times are CPU times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

# Before torch is loaded, here and in the jobs: threads that wait for each other slow all down.
os.environ["OMP_NUM_THREADS"] = "1"

from lgg import ROOT, figures, judge_floor, open_lgg, spread
from wholesight.benchmark.judge.evaluate import Evaluation, evaluate
from wholesight.benchmark.judge.predictions import Judged
from wholesight.datasets import DataSet
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.io.files import write_json, write_text
from wholesight.prep.body import BODIES
from wholesight.recipe import Listed, Recipe, catalogue
from wholesight.training.fit import fit

SMALL: Final = ("nothing", "seconds", "minutes")
SEEDS: Final = 3
PAGE: Final = ROOT / "benchmarks" / "methods.md"


_ABOUT: Final = """
Written by `python benchmarks/methods.py`: {train} training and {validation} validation patients of
lgg-flair (CONTRIBUTING says what that is), pixels of the eroded brain; chance is an AUPRC of
{chance:.3f}. Best Dice is an **oracle** figure: its threshold was chosen with the labels. Mean over
seeds, in brackets the smallest and the largest; what learns nothing has one run. Training, and a
case from file to map, are in CPU time of one thread, so that other work on the machine does not
count. No recipe was tuned on these figures, except `quick`, whose form was found with these
patients in view (docs/decisions/0003), and with it `vae`, `cavga` and what nests `quick`. CPU-sized
means small networks trained for minutes: **these are not the published networks**, whose settings
are the recipes called ...-paper, bmvc2021 and media2022-..., and the order may change with size.
{validation} patients are few: a small difference between two methods is not one.
"""


class Cell(NamedTuple):
    """One recipe trained with one seed, and what came of it."""

    recipe: str
    seed: int
    auprc: float
    best_dice_oracle: float
    training_s: float
    case_s: float
    resolved: dict[str, Any]


def main() -> None:
    """Run what is not there yet, write the page."""
    data = open_lgg()  # says so at once when the data are not here
    listed = {recipe.name: recipe for recipe in catalogue() if recipe.cost in SMALL}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/methods"))
    parser.add_argument("--recipes", nargs="+", choices=listed, metavar="NAME", default=[*listed])
    arguments = parser.parse_args()
    wanted = [
        (name, seed)
        for name in arguments.recipes
        for seed in range(1 if listed[name].cost == "nothing" else arguments.seeds)
    ]
    cells = run(wanted, arguments.out, arguments.jobs)
    rows = {name: [cell for cell in cells if cell.recipe == name] for name in arguments.recipes}
    text = page({listed[name]: row for name, row in rows.items() if row}, data)
    print(text)
    write_text(arguments.out / "methods.md", text)
    whole = set(rows) == set(listed) and len(cells) == len(wanted)
    if whole and arguments.seeds >= SEEDS:
        write_text(PAGE, text)
    else:
        print(f"Not all there, so {PAGE} stays as it is.", file=sys.stderr)


def run(wanted: Sequence[tuple[str, int]], out: Path, jobs: int) -> list[Cell]:
    """Finish every cell, several at a time; a failed one is told and left out."""
    started, cells = time.monotonic(), []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(alone, name, seed, out): (name, seed) for name, seed in wanted}
        for number, done in enumerate(as_completed(waiting), start=1):
            name, seed = waiting[done]
            minutes = (time.monotonic() - started) / 60
            place = f"{number}/{len(wanted)}, {minutes:.0f} min: {name}, seed {seed}"
            try:
                cells.append(done.result())
            except Exception as fault:  # a cell may fail in any way, the others go on
                print(f"{place} FAILED: {type(fault).__name__}: {fault}", file=sys.stderr)
            else:
                print(f"{place}: AUPRC {cells[-1].auprc:.3f}", file=sys.stderr, flush=True)
    return cells


def alone(name: str, seed: int, out: Path) -> Cell:
    """Finish a cell in a process of its own: one that is killed takes no other along."""
    with ProcessPoolExecutor(1, get_context("spawn")) as own:
        return own.submit(finished, name, seed, out).result()


def finished(name: str, seed: int, out: Path) -> Cell:
    """Return a cell, from disk if this very recipe was done before."""
    recipe = Recipe.load(name, seed=seed)
    folder = out / f"{name}-{seed}"
    if (folder / "cell.json").is_file():
        cell = Cell(**json.loads((folder / "cell.json").read_text()))
        if cell.resolved == json.loads(json.dumps(recipe.resolved)):
            return cell
    shutil.rmtree(folder, ignore_errors=True)
    data = open_lgg()
    started = time.process_time()
    detector = fit(recipe, Scans(data.subset("train")), folder / "model", seed=seed, device="cpu")
    training_s = time.process_time() - started
    evaluation, case_s = judged(name, detector, data)
    auprc, _, best = figures(evaluation)
    cell = Cell(name, seed, auprc, best, training_s, case_s, recipe.resolved)
    write_json(folder / "cell.json", cell._asdict())
    return cell


def judged(name: str, detector: Detector, data: DataSet) -> tuple[Evaluation, float]:
    """Judge the maps of the validation cases; also the mean CPU seconds from file to map."""
    cases = data.subset("validation")
    seconds: list[float] = []

    def timed():
        scored = Judged(cases, BODIES["nonzero"]()).score_detector(detector)
        for _ in cases:
            started = time.process_time()
            case = next(scored)
            seconds.append(time.process_time() - started)
            yield case

    evaluation = evaluate(name, timed(), threshold_note="none: maps alone are judged")
    return evaluation, statistics.fmean(seconds)


def page(rows: dict[Listed, list[Cell]], data: DataSet) -> str:
    """Write the Markdown page, the best first."""
    about = _ABOUT.format(
        train=len({case.subject for case in data.subset("train")}),
        validation=len({case.subject for case in data.subset("validation")}),
        chance=judge_floor(data).prevalence,
    )
    ranked = sorted(rows, key=lambda recipe: -statistics.fmean(column(rows[recipe], "auprc")))
    lines = [
        "# Every CPU-sized method on real tumours",
        "",
        textwrap.fill(" ".join(about.split()), 100),
        "",
        "| recipe | what | AUPRC | best Dice (oracle) | training, CPU min | a case, CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in ranked:
        cells = rows[recipe]
        minutes = statistics.fmean(column(cells, "training_s")) / 60
        seconds = statistics.fmean(column(cells, "case_s"))
        lines.append(
            f"| `{recipe.name}` | {recipe.summary} | {spread(column(cells, 'auprc'))} | "
            f"{spread(column(cells, 'best_dice_oracle'))} | {minutes:.1f} | "
            f"{seconds:.2f} |"
        )
    return "\n".join([*lines, ""])


def column(cells: Sequence[Cell], field: str) -> list[float]:
    """Return a field's value of every seed."""
    return [getattr(cell, field) for cell in cells]


if __name__ == "__main__":
    main()
