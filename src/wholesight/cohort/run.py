"""Segment many scans, one after the other; a bad one is written down and the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from wholesight.calibration import Normals
from wholesight.calibration.wording import partly_normal
from wholesight.cohort.decision import Decision, decide
from wholesight.cohort.derivative import describe
from wholesight.cohort.ledger import Failure, Outcome, outcome, write_ledger
from wholesight.cohort.plan import Job
from wholesight.cohort.room import finished, keep_normals, require_room
from wholesight.cohort.run_file import BIDS, RUN, run_facts
from wholesight.cohort.worker import segment_case
from wholesight.detector import Detector
from wholesight.errors import InputError, ModelError, OutputError, UsageError
from wholesight.io.files import make_folder, write_json

Tell = Callable[[str, str], None]


class Ended(NamedTuple):
    """How a run ended, and what it called abnormal."""

    outcome: Outcome
    decision: Decision


@dataclass
class Log:
    """What has become of the scans so far. skipped : how many of the records are from before."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    skipped: int = 0
    explained: set[str] = field(default_factory=set)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)

    @contextmanager
    def isolated(self, case: str, source: Path) -> Iterator[None]:
        """Write down a fault of one scan, so that the rest goes on; a full disk ends the run."""
        try:
            yield
        except OutputError:
            raise
        except InputError as fault:
            self.failures.append(Failure(case, str(source), fault.code, str(fault)))
        except ModelError as fault:  # the network gives this scan no map that is finite
            self.failures.append(Failure(case, str(source), "E_MODEL", str(fault)))
        except Exception as fault:  # one scan's fault must not end a night's work
            message = f"{type(fault).__name__}: {fault}. Please report this scan's kind as a bug."
            self.failures.append(Failure(case, str(source), "E_INTERNAL", message))

    def spoken(self, case: str) -> str:
        """Say what became of a scan; a note's text where its code comes up for the first time."""
        record = self.records.get(case)
        if record is None:
            last = self.failures[-1]
            return f"failed: {last.message} [{last.code}]"
        codes = " ".join(note["code"] for note in record["notes"])
        places = "1 place" if record["clusters"] == 1 else f"{record['clusters']} places"
        rare = "" if record["p_value"] is None else f"  p {record['p_value']:.2g}"
        said = f"{record['flagged_ml']:.1f} ml flagged in {places}{rare}  {codes}".rstrip()
        for note in record["notes"]:
            if note["code"] not in self.explained:
                self.explained.add(note["code"])
                said += f"\n    {note['code']}, here (of others see their JSON): {note['text']}"
        return f"qc fail  {said}" if record.get("qc") == "fail" else said

    def outcome(self) -> Outcome:
        """Return the last line of the run and its exit code."""
        done = len(self.records) - self.skipped
        return outcome(done, len(self.failures), skipped=self.skipped)


def segment_cohort(
    detector: Detector,
    jobs: Sequence[Job],
    out: Path,
    *,
    resume: bool,
    fdr: float,
    tell: Tell,
    force: bool = False,
) -> Ended:
    """Segment every job into `out`, and decide over all of them which are abnormal.

    fdr : in (0, 1), see `decide`. tell : called with (case, what became of it) after each. force :
    see `segment_case`. Raises UsageError when `out` holds another run or what would be written
    over, ModelError without a threshold, OutputError when nothing can be written any more; whatever
    was finished by then, now or before, is kept and listed.
    """
    facts = run_facts(detector)
    require_room(out, jobs, detector, resume=resume)
    make_folder(out)
    # All of it first: stopped at the second scan, the tables still list what was there before.
    before = _finished_before(detector, jobs, out)
    log = Log(records=dict(before), skipped=len(before))
    try:
        facts["normals"] = keep_normals(detector, out)
        if jobs[0].bids:
            facts["layout"] = BIDS
            describe(out, facts, source=jobs[0].bids)
        for job in jobs:
            if job.stem not in before:
                with log.isolated(job.stem, job.case.image):
                    own = _at_its_site(detector, job)
                    log.records[job.stem] = segment_case(own, job, out, force=force)
            tell(job.stem, log.spoken(job.stem))
    finally:
        there = log.records
        log.records = {job.stem: there[job.stem] for job in jobs if job.stem in there}
        ended = conclude(out, log, facts, _compared_with(detector), scans=len(jobs), fdr=fdr)
    return ended


def _finished_before(
    detector: Detector, jobs: Sequence[Job], out: Path
) -> dict[str, dict[str, Any]]:
    """Return the JSON of every case that was segmented already; none in a new folder."""
    found = {}
    for job in jobs:
        with suppress(InputError):  # of an unknown site: fails when its turn comes
            found[job.stem] = finished(_at_its_site(detector, job), job, out)
    return {case: record for case, record in found.items() if record is not None}


def conclude(
    out: Path,
    log: Log,
    facts: Mapping[str, Any],
    normals: Iterable[Normals],
    *,
    scans: int,
    fdr: float,
) -> Ended:
    """Decide over all scans, and write the tables and, last, run.json. Raises OutputError.

    facts : what run.json says of the run, see `run_facts`. normals : what scans were compared with;
    of each site, or of all. scans : how many there were to segment.
    """
    # Of a p-value too, which is promised whatever the rule of the threshold promises.
    doubts = [doubt for each in normals for doubt in partly_normal(each, "p-values")]
    decision = decide(log.records, fdr=fdr, doubts=doubts)
    run = {
        **facts,
        **decision.to_json(),
        "started": log.started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - log.clock, 2),
        "scans": scans,
        "segmented": len(log.records),
        "failed": len(log.failures),
    }
    write_ledger(out, log.records, decision, log.failures)
    write_json(out / RUN, run)
    return Ended(log.outcome(), decision)


def _compared_with(detector: Detector) -> list[Normals]:
    """Return the normals that p-values come from: of each site, or of all."""
    if detector.normals is None:
        return []
    return [detector.normals.of_site(site) for site in detector.by_site] or [detector.normals]


def _at_its_site(detector: Detector, job: Job) -> Detector:
    """Return the detector with the threshold of the scan's site; itself when not by site."""
    try:
        return detector.at_site(job.case.site)
    except UsageError as fault:
        raise InputError(f"{job.case.image}: {fault}", code="E_SITE") from fault
