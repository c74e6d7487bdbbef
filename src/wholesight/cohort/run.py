"""Segment many scans, one after the other; a bad one is written down and the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wholesight
from wholesight.cohort.ledger import (
    Failure,
    Outcome,
    finished,
    outcome,
    require_room,
    write_ledger,
)
from wholesight.cohort.plan import Job
from wholesight.cohort.worker import segment_case
from wholesight.detector import Detector
from wholesight.errors import InputError, OutputError
from wholesight.io.files import make_folder

Tell = Callable[[str, str], None]


def segment_cohort(
    detector: Detector, jobs: Sequence[Job], out: Path, *, resume: bool, tell: Tell
) -> Outcome:
    """Segment every job into `out`.

    tell : called with (case, what became of it) after each. Raises UsageError when `out` holds
    another run or what would be written over, ModelError without a threshold, OutputError when
    nothing can be written any more; whatever was finished by then is kept and listed.
    """
    threshold = detector.calibrated_threshold
    require_room(out, jobs, detector, resume=resume)
    make_folder(out)
    started, clock = datetime.now(UTC), time.monotonic()
    records: dict[str, dict[str, Any]] = {}
    failures: list[Failure] = []
    skipped = 0
    explained: set[str] = set()
    try:
        for job in jobs:
            record = finished(detector, job, out)
            skipped += record is not None
            if record is None:
                record = _attempt(detector, job, out, failures)
            if record is not None:
                records[job.stem] = record
            tell(job.stem, _spoken(record, failures, explained))
    finally:
        ended = outcome(len(records) - skipped, len(failures), skipped=skipped)
        run = {
            "wholesight": wholesight.__version__,
            "recipe": detector.recipe.name,
            "model": detector.digest,
            "threshold": threshold.to_json(),
            "body": detector.recipe.resolved["prep"]["body"],
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
            "scans": len(jobs),
            "segmented": len(records),
            "failed": len(failures),
        }
        write_ledger(out, records, failures, run)
    return ended


def _attempt(
    detector: Detector, job: Job, out: Path, failures: list[Failure]
) -> dict[str, Any] | None:
    try:
        return segment_case(detector, job, out)
    except OutputError:
        raise
    except InputError as fault:
        failures.append(Failure(job.stem, str(job.case.image), fault.code, str(fault)))
    except Exception as fault:  # one scan's fault must not end a night's work
        message = f"{type(fault).__name__}: {fault}. Please report this scan's kind as a bug."
        failures.append(Failure(job.stem, str(job.case.image), "E_INTERNAL", message))
    return None


def _spoken(record: dict[str, Any] | None, failures: list[Failure], explained: set[str]) -> str:
    """Say what became of a scan; a note's text where its code comes up for the first time."""
    if record is None:
        return f"failed: {failures[-1].message}"
    codes = " ".join(note["code"] for note in record["notes"])
    places = "1 place" if record["clusters"] == 1 else f"{record['clusters']} places"
    said = f"{record['flagged_ml']:.1f} ml flagged in {places}  {codes}".rstrip()
    for note in record["notes"]:
        if note["code"] not in explained:
            explained.add(note["code"])
            said += f"\n    {note['code']}: {note['text']}"
    return said
