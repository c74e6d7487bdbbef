"""What `wholesight calibrate` prints: the threshold, what it promises, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from wholesight.calibration import Terms, Threshold
    from wholesight.calibration.odd import Odd
    from wholesight.calibration.realised import Realised
    from wholesight.detector.cost import Cost
    from wholesight.detector.report import Group, Report

# Rules whose alpha is a share of the body; that of others is a share of scans.
_ABOUT_THE_BODY = ("crc", "percentile", "fixed")
# So many subjects that stick out are printed; calibration.json has all of them.
_MOST_ODD = 5


def show(report: Report, model: Path, *, channels: Sequence[str] = ()) -> None:
    """Print a report on a calibration that has just been saved in a model folder.

    channels : that the model sees; one file alone is then no scan for it.
    """
    from wholesight.cli.speech import command, console

    say = console()
    for site, group in report.groups.items():
        show_threshold(group.threshold, site, say)
        say.print()
        _show_facts(list(_facts(group, report.terms)), say)
        if group.costs is not None:
            _show_costs(group.costs, say, silent=bool(group.is_silent))
    say.print()
    if report.left_out:
        say.print(f"Left out: {_some(report.left_out)}: no slice is normal.", soft_wrap=True)
    if report.replaced:
        say.print(f"Replaced: {_replaced(report)}", soft_wrap=True)
    say.print(f"Saved in {model}. Next:", soft_wrap=True)
    of_site = () if None in report.groups else ("--site", next(iter(report.groups)))
    scan = ("DATA", "--modality", "NAME") if channels else ("SCAN.nii.gz",)
    words = ("segment", model, *scan, *of_site, "--out", "DIR")
    say.print("  " + command(*words), soft_wrap=True)


def show_threshold(threshold: Threshold, site: str | None, say: Console) -> None:
    """Print a threshold, what it promises, and what speaks against that."""
    from rich.text import Text

    from wholesight.calibration.wording import in_mm3
    from wholesight.cli.speech import say_indented

    least = threshold.min_lesion_mm3
    head = f"threshold {threshold.value:.6g}" + f", smallest lesion {in_mm3(least)}" * (least > 0)
    say.print(Text(f"\n{f'{site}: ' if site else ''}{head}", "bold"), soft_wrap=True)
    say_indented(threshold.statement, say)
    # Why nothing is promised stands in the statement already.
    for doubt in (each for each in threshold.doubts if each not in threshold.statement):
        say_indented(f"doubt: {doubt}", say, style="yellow")


def _facts(group: Group, terms: Terms) -> Iterator[tuple[str, str]]:
    yield "set on", _set_on(group.threshold)
    if group.spread:
        low, high = (f"{100 * rate:.2g}" for rate in group.spread)
        told = f"{low} to {high} % {_counted(terms)}, in 9 of 10 calibration sets alike"
        if terms.rule == "crc" and group.spread[1] < terms.alpha:
            told += "; less than alpha, as the promise counts one subject more, wholly flagged"
        yield "expected", told
    yield "realised", _realised(group.realised, terms)
    if group.odd:
        yield "sticking out", _sticking_out(group.odd)
    if group.unlike:
        yield "unlike the training", _unlike(group.unlike)


def _set_on(threshold: Threshold) -> str:
    from wholesight.datasets.finding import count

    parts = (threshold.subjects, "subject"), (threshold.scans, "scan"), (threshold.slices, "slice")
    return ", ".join(count(number, what) for number, what in parts)


def _counted(terms: Terms) -> str:
    """Say what a rate is the rate of."""
    if terms.rule in _ABOUT_THE_BODY:
        return "of a healthy body above the threshold"
    return "of healthy scans flagged as the rule counts"


def _realised(realised: Realised, terms: Terms) -> str:
    """Say what became of normal subjects at a threshold that they had no part in."""
    if realised.mean_share is None:
        return f"not known: {realised.reason}"
    n, counted = realised.flagged.size, int(realised.flagged.sum())
    each = "" if terms.rule == "fixed" else ", each at what the others set"
    share = f"{100 * realised.mean_share:.2g} % of the body above"
    if terms.rule in _ABOUT_THE_BODY:
        return f"{share}, and something flagged in {counted} of {n} subjects{each}"
    return f"flagged in {counted} of {n} subjects as the rule counts, and {share}{each}"


def _unlike(subjects: Sequence[str]) -> str:
    return (
        f"{_some(subjects)}: other intensities, shape or sampling than the scans of the training "
        "(segment calls that qc: fail). Are they prepared in the same way? Whoever is segmented "
        "should be like them, or they should not be here."
    )


def _sticking_out(odd: list[Odd]) -> str:
    named = [f"{each.subject} (score {each.score:.4g})" for each in odd[:_MOST_ODD]]
    more = f" and {len(odd) - _MOST_ODD} more" if odd[_MOST_ODD:] else ""
    return (
        f"{', '.join(named)}{more}. Look at their scans: an incidental finding raises the "
        "threshold for everybody. Leave a subject out for what its scan shows, never for its score."
    )


def _show_costs(costs: Sequence[Cost], say: Console, *, silent: bool) -> None:
    """Print what is found of lesions that were made up, and warn when it is next to nothing."""
    from rich.padding import Padding

    from wholesight.cli.speech import say_indented

    most = max((cost.scans for cost in costs), default=0)
    if not most:
        say.print("\nwhat it costs: no made-up lesion fits into these scans, so it is not known")
        return
    say.print(
        f"\nwhat it costs: made-up lesions in {most} calibration scans, found at this threshold"
    )
    say.print(Padding(_table_of_costs(costs), (0, 0, 0, 2)))
    if silent:
        warning = (
            "warning: silent detector. Even the largest and plainest of these lesions are found in "
            "under 10 % of scans: whatever is promised about healthy scans, it is kept by flagging "
            "hardly anything. Take a larger --alpha, more calibration subjects, or another recipe."
        )
        say_indented(warning, say, style="bold yellow")


def _table_of_costs(costs: Sequence[Cost]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("volume", "contrast", "scans", "found", "by chance", "of it flagged"):
        table.add_column(name, justify="right")
    for cost in costs:
        rates = (cost.found, cost.found_by_chance, cost.voxels)
        table.add_row(
            f"{cost.volume_ml:g} ml",
            f"{100 * cost.contrast:+.0f} %",
            str(cost.scans),
            *(_percent(rate) for rate in rates),
        )
    return table


def _percent(rate: float) -> str:
    return "-" if isnan(rate) else f"{100 * rate:.0f} %"


def _replaced(report: Report) -> str:
    return ", ".join(
        f"{f'{before.site}: ' if before.site else ''}{before.rule}, {before.value:.6g}"
        for before in report.replaced
    )


def _some(names: Sequence[str]) -> str:
    from wholesight.datasets.finding import some

    return some(names)


def _show_facts(facts: list[tuple[str, str]], say: Console) -> None:
    """Print names and values in two columns; values wrap on a terminal, else stay in one line."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if not say.is_terminal:
        for name, value in facts:
            say.print(f"  {name}: {value}", soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts:
        table.add_row(name, Text(value))
    say.print(Padding(table, (0, 0, 0, 2)))
