"""What became of every scan of a cohort: results.tsv, failures.tsv, run.json, the exit code."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from wholesight.calibration import RULES
from wholesight.cohort.plan import RESERVED, Job
from wholesight.cohort.worker import hashes_of, output_names
from wholesight.detector import Detector
from wholesight.errors import InputError, UsageError
from wholesight.io.files import sha256, write_json, write_text
from wholesight.prep.body import BODIES

RUN: Final = f"{RESERVED}.json"
RESULT_COLUMNS = (
    "case", "flagged_ml", "clusters", "body_ml", "highest", "model", "input_sha256", "seconds",
    "notes",
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


def require_room(out: Path, jobs: Sequence[Job], detector: Detector, *, resume: bool) -> None:
    """Refuse to mix two runs in one folder, or to write over what is there. Raises UsageError."""
    if resume:
        _require_same_run(out, detector)
        return
    if (out / RUN).exists():
        raise UsageError(
            f"{out}: holds the results of an earlier run. Choose another --out, delete the folder, "
            "or add --resume to segment only what is missing there."
        )
    names = (
        name for job in jobs for name in (*output_names(job.stem).values(), f"{job.stem}.json")
    )
    taken = next((out / name for name in names if (out / name).exists()), None)
    if taken:
        # Perhaps a mask that a person drew, in a folder of scans.
        raise UsageError(
            f"{taken}: is there already and would be written over. Choose another --out; if it is "
            "of a run that was stopped, add --resume."
        )


def _require_same_run(out: Path, detector: Detector) -> None:
    """Refuse to go on with another model or threshold than the results there are of."""
    try:
        run = json.loads((out / RUN).read_bytes())
        begun = {"model": run["model"], "threshold": run["threshold"]["value"]}
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing there that one could tell apart; each case's own JSON still decides
    now = {"model": detector.digest, "threshold": detector.calibrated_threshold.value}
    other = next((name for name in now if begun[name] != now[name]), None)
    if other:
        raise UsageError(
            f"{out}: holds results of another {other}, {begun[other]}; this one is {now[other]}. "
            "Choose another --out."
        )


def finished(detector: Detector, job: Job, out: Path) -> dict[str, Any] | None:
    """Return the JSON of a case that this detector has already segmented, else None.

    Done means: the same scan, body mask, model and threshold, and both outputs are as written.
    """
    try:
        record = json.loads((out / f"{job.stem}.json").read_bytes())
        same = (
            record["model"] == detector.digest
            and record["threshold"] == detector.calibrated_threshold.to_json()
            and all(record[name] == sha for name, sha in hashes_of(job).items())
            and record["outputs"].keys() == set(output_names(job.stem).values())
            and all(sha256(out / name) == sha for name, sha in record["outputs"].items())
            and set(record) >= {*RESULT_COLUMNS} - {"case"}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if same else None


def write_ledger(
    out: Path, records: dict[str, dict[str, Any]], failures: Sequence[Failure], run: dict[str, Any]
) -> None:
    """Write the two tables and run.json. Raises OutputError."""
    rows = [
        {
            **record,
            "case": case,
            "seconds": record["seconds"]["total"],
            "notes": ",".join(note["code"] for note in record["notes"]),
        }
        for case, record in records.items()
    ]
    write_text(out / "results.tsv", _tsv(RESULT_COLUMNS, rows))
    write_text(
        out / "failures.tsv", _tsv(FAILURE_COLUMNS, [failure._asdict() for failure in failures])
    )
    write_json(out / RUN, run)


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what `write_ledger` said of the run in a folder; None when the maps are not ours.

    Raises InputError when it was ours and is damaged: the maps would be judged under a false name.
    """
    path = folder / RUN
    try:
        run = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise _damaged(path, str(fault)) from fault
    # Another tool may well write a run.json of its own.
    if not isinstance(run, dict) or not {"wholesight", "model"} <= run.keys():
        return None
    missing = [name for name, right in _PARTS.items() if not right(run.get(name))]
    if missing:
        raise _damaged(path, f"{missing[0]} is missing or makes no sense")
    return run


def _is_threshold(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"rule", "alpha", "subjects", "statement"} <= value.keys()
        and value["rule"] in tuple(RULES)
        and isinstance(value["alpha"], float)
        and 0 < value["alpha"] < 1
    )


def _is_body(value: dict[str, Any]) -> bool:
    return isinstance(value.get("kind"), str) and value["kind"] in BODIES


# What a reader of run.json relies on.
_PARTS: Final[dict[str, Callable[[Any], bool]]] = {
    "recipe": lambda value: isinstance(value, str),
    "threshold": _is_threshold,
    # Not there in the first runs that were written.
    "body": lambda value: value is None or (isinstance(value, dict) and _is_body(value)),
}


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: damaged ({why}). Segment again, or remove it to judge the maps as they are.",
        code="E_FORMAT",
    )


def _tsv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, columns, delimiter="\t", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
