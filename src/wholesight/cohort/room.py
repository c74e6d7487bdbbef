"""Whether a folder can take a run's outputs: nothing is written over, and no two runs are mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wholesight.cohort.derivative import OF_A_DERIVATIVE, require_own
from wholesight.cohort.ledger import RESULT_COLUMNS, listed
from wholesight.cohort.plan import Job
from wholesight.cohort.run_file import RUN, run_facts, thresholds_of
from wholesight.cohort.worker import hashes_of, rarity
from wholesight.datasets.finding import some
from wholesight.detector import NORMALS, Detector
from wholesight.errors import UsageError
from wholesight.io.dicom import series_mark
from wholesight.io.files import sha256, write_bytes


def require_room(out: Path, jobs: Sequence[Job], detector: Detector, *, resume: bool) -> None:
    """Refuse to mix two runs in one folder, or to write over what is there. Raises UsageError."""
    if jobs[0].bids:
        require_own(out)
    if resume:
        _require_same_run(out, detector)
        _require_whole_cohort(out, jobs)
        return
    if (out / RUN).exists():
        raise UsageError(
            f"{out}: holds the results of an earlier run. Choose another --out, delete the folder, "
            "or add --resume to segment only what is missing there."
        )
    names = [name for job in jobs for name in job.outputs(unit=detector.has_unit_maps).all]
    names += [NORMALS, *(OF_A_DERIVATIVE if jobs[0].bids else ())]
    taken = next((out / name for name in names if (out / name).exists()), None)
    if taken:
        # Perhaps a mask that a person drew, in a folder of scans, or the folder of a model.
        raise UsageError(
            f"{taken}: is there already and would be written over. Choose another --out; if it is "
            "of a run that was stopped, add --resume."
        )


def _require_same_run(out: Path, detector: Detector) -> None:
    """Refuse to go on with another model or calibration than the results there are of."""
    _require_same_normals(out, detector)
    try:
        run = json.loads((out / RUN).read_bytes())
        begun = {"model": run["model"], "threshold": _values(run)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # nothing there that one could tell apart; each case's own JSON still decides
    facts = run_facts(detector)
    now = {"model": facts["model"], "threshold": _values(facts)}
    other = next((name for name in now if begun[name] != now[name]), None)
    if other:
        raise UsageError(
            f"{out}: holds results of another {other}, {begun[other]}; this one is {now[other]}. "
            "Choose another --out."
        )


def _values(run: dict[str, Any]) -> str:
    """Write the threshold, or that of every site, in few words.

    >>> _values({"by_site": {"A": {"value": 0.5}, "B": {"value": 0.7}}})
    '0.5 (A), 0.7 (B)'
    """
    return ", ".join(
        f"{each['value']} ({site})" if site else str(each["value"])
        for site, each in thresholds_of(run).items()
    )


def _require_same_normals(out: Path, detector: Detector) -> None:
    there, now = out / NORMALS, _content(detector)
    if there.exists() and (now is None or sha256(there) != hashlib.sha256(now).hexdigest()):
        raise UsageError(
            f"{there}: is of another calibration than this model's, so p-values would be of two "
            "kinds. Choose another --out."
        )


def _require_whole_cohort(out: Path, jobs: Sequence[Job]) -> None:
    left = {*listed(out)} - {job.stem for job in jobs}
    if left:
        raise UsageError(
            f"{out}: holds results of scans that are not named now: {some(left)}. Which scans are "
            "abnormal is decided over all of a run: name these too, or choose another --out."
        )


def keep_normals(detector: Detector, out: Path) -> str | None:
    """Copy the model's normals beside the maps, so that another threshold can be set later.

    Returns their SHA-256, None for a model without them. Raises OutputError.
    """
    content = _content(detector)
    if content is None:
        return None
    if not (out / NORMALS).exists():
        write_bytes(out / NORMALS, content)
    return hashlib.sha256(content).hexdigest()


def _content(detector: Detector) -> bytes | None:
    return None if detector.normals is None else detector.normals.to_bytes()


def finished(detector: Detector, job: Job, out: Path) -> dict[str, Any] | None:
    """Return the JSON of a case that this detector has already segmented, else None.

    Done means: the same scan, body mask, model, threshold and normals, and both outputs are as
    written. detector : with the threshold of the scan's site.
    """
    try:
        outputs = job.outputs(unit=detector.has_unit_maps)
        record = json.loads((out / outputs.record).read_bytes())
        same = (
            record["model"] == detector.digest
            and record["threshold"] == detector.calibrated_threshold.to_json()
            and (record["subject"], record["site"]) == (job.case.subject, job.case.site)
            and record["volume"] == job.case.volume
            and record.get("series") == (job.case.series and series_mark(job.case.series))
            and rarity(detector.normals, record["score"]).items() <= record.items()
            and all(record[name] == sha for name, sha in hashes_of(job, detector).items())
            and record["outputs"].keys() == set(outputs.before_record)
            and all(sha256(out / name) == sha for name, sha in record["outputs"].items())
            and set(record) >= {*RESULT_COLUMNS} - {"case", "abnormal"}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if same else None
