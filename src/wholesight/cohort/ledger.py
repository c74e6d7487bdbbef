"""What became of every scan of a cohort: results.tsv, failures.tsv, run.json, the exit code."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wholesight.cohort.plan import Job
from wholesight.cohort.worker import sha256_of
from wholesight.detector import Detector
from wholesight.errors import UsageError
from wholesight.io.files import write_json, write_text

RESULT_COLUMNS = (
    "case", "flagged_ml", "clusters", "body_ml", "highest", "model", "input_sha256", "seconds"
)  # fmt: skip
FAILURE_COLUMNS = ("case", "input", "code", "message")


class Failure(NamedTuple):
    """A scan that could not be segmented. code : E_... of the input, else E_INTERNAL."""

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
    return Outcome(f"{line}, {failed} failed: see failures.tsv", 4 if done + skipped else 7)


def require_room(out: Path, *, resume: bool) -> None:
    """Refuse to mix two runs in one folder. Raises UsageError."""
    if (out / "run.json").exists() and not resume:
        raise UsageError(
            f"{out}: holds the results of an earlier run. Choose another --out, delete the folder, "
            "or add --resume to segment only what is missing there."
        )


def finished(detector: Detector, job: Job, out: Path) -> dict[str, Any] | None:
    """Return the JSON of a case that this detector has already segmented, else None.

    Done means: the same input bytes, model and threshold, and both outputs are still there.
    """
    try:
        record = json.loads((out / f"{job.stem}.json").read_bytes())
        same = (
            record["model"] == detector.digest
            and record["threshold"] == detector.calibrated_threshold.to_json()
            and record["input_sha256"] == sha256_of(job)
            and all((out / name).exists() for name in record["outputs"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None


def write_ledger(
    out: Path, records: dict[str, dict[str, Any]], failures: Sequence[Failure], run: dict[str, Any]
) -> None:
    """Write the two tables and run.json. Raises OutputError."""
    rows = [
        {"case": case, **record, "seconds": record["seconds"]["total"]}
        for case, record in records.items()
    ]
    write_text(out / "results.tsv", _tsv(RESULT_COLUMNS, rows))
    write_text(
        out / "failures.tsv", _tsv(FAILURE_COLUMNS, [failure._asdict() for failure in failures])
    )
    write_json(out / "run.json", run)


def _tsv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, columns, delimiter="\t", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
