"""Time the way from normal scans to a report on lgg-flair: seconds and peak memory a command.

    python benchmarks/five_commands.py [--out out/five]

Runs check, fit (quick), calibrate, segment and evaluate, each as a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from lgg import open_lgg

GIB = 1024**2  # ru_maxrss is in KiB


def main() -> None:
    """Run the commands one after the other, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/five"))
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    data = str(open_lgg().root)
    model, maps, report = str(out / "model"), str(out / "maps"), str(out / "report")
    print("| command | s | peak GiB |\n|---|---|---|")
    for words in (
        ["check", data],
        ["fit", data, "--recipe", "quick", "--out", model],
        ["calibrate", model, data, "--rule", "percentile"],
        ["segment", model, data, "--subset", "validation", "--out", maps],
        ["evaluate", maps, data, "--subset", "validation", "--out", report],
    ):
        seconds, gib = timed([sys.executable, "-m", "wholesight", *words], out / "log.txt")
        print(f"| {words[0]} | {seconds:.0f} | {gib:.2f} |", flush=True)
    print(f"\n{(out / 'log.txt').read_text().splitlines()[-4:]}")


def timed(words: list[str], log: Path) -> tuple[float, float]:
    """Run a command to its end; returns wall seconds and peak memory. Stops when it fails."""
    started = time.monotonic()
    with log.open("a") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)]
        child = os.posix_spawn(words[0], words, os.environ, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(words)} failed:\n{log.read_text()[-2000:]}")
    return time.monotonic() - started, usage.ru_maxrss / GIB


if __name__ == "__main__":
    main()
