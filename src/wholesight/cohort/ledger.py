"""What became of every scan of a cohort: results.tsv, failures.tsv, the exit code."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from wholesight.cohort.decision import Decision
from wholesight.io.files import write_text

RESULTS: Final = "results.tsv"
FAILURES: Final = "failures.tsv"
# Of a case's JSON, all but its name and what was decided over the cohort.
RESULT_COLUMNS: Final = (
    "case", "qc", "flagged_ml", "clusters", "score", "p_value", "abnormal", "body_ml", "highest",
    "model", "input_sha256", "seconds", "notes",
)  # fmt: skip
FAILURE_COLUMNS: Final = ("case", "input", "code", "message")


class Failure(NamedTuple):
    """A scan that could not be segmented. code : E_... of the input, E_MODEL or E_INTERNAL."""

    case: str
    input: str
    code: str
    message: str


class Outcome(NamedTuple):
    """How a run ends: the last line of the log and the exit code."""

    line: str
    exit_code: int


def outcome(done: int, failed: int, *, skipped: int = 0) -> Outcome:
    """Say how a cohort went. The one place where the exit code of `segment` comes from.

    >>> outcome(19, 1)
    Outcome(line='19 of 20 scans segmented, 1 failed: see failures.tsv', exit_code=4)
    """
    total = done + failed + skipped
    already = f", {skipped} of them before" if skipped else ""
    line = f"{done + skipped} of {total} scans segmented{already}"
    if not failed:
        return Outcome(line, 0)
    return Outcome(f"{line}, {failed} failed: see {FAILURES}", 4 if done + skipped else 7)


def write_ledger(
    out: Path,
    records: Mapping[str, Mapping[str, Any]],
    decision: Decision,
    failures: Sequence[Failure] = (),
) -> None:
    """Write the two tables. records : {case: its JSON}, in the table's order. Raises OutputError.

    An empty cell is a figure that there is not: no score, so no p-value, so no decision.
    """
    rows = [
        {
            **record,
            "case": case,
            "abnormal": decision.answer(case),
            "seconds": record["seconds"]["total"],
            "notes": ",".join(note["code"] for note in record["notes"]),
        }
        for case, record in records.items()
    ]
    write_text(out / RESULTS, _tsv(RESULT_COLUMNS, rows))
    write_text(out / FAILURES, _tsv(FAILURE_COLUMNS, [failure._asdict() for failure in failures]))


def listed(out: Path) -> list[str]:
    """Return the cases that the table of results in a folder lists; none where there is none."""
    return [row["case"] for row in _rows(out / RESULTS) if row.get("case")]


def verdicts(out: Path) -> dict[str, str]:
    """Return {case: qc} of the table of results in a folder; empty where there is none."""
    return {row["case"]: row.get("qc") or "" for row in _rows(out / RESULTS) if row.get("case")}


def failed(out: Path) -> list[Failure]:
    """Return what the table of failures in a folder lists; none where there is none."""
    return [
        Failure(*(row[name] for name in FAILURE_COLUMNS))
        for row in _rows(out / FAILURES)
        if all(row.get(name) for name in FAILURE_COLUMNS)
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        # Not by splitlines: a file's name may hold what that takes for the end of a line.
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _tsv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, columns, delimiter="\t", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
