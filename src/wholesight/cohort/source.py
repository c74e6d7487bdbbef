"""A run of `segment` as its folder holds it: what another threshold is set from.

run.json             the model's digest, how the recipe cleans a mask up
normals.safetensors  what thresholds are worked out from
results.tsv          which cases there are; each has its JSON and its map
failures.tsv         which scans have none
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wholesight.calibration import Normals
from wholesight.calibration.wording import partly_normal
from wholesight.cleanup import Cleanup
from wholesight.cohort.ledger import RESULTS, Failure, failed, listed
from wholesight.cohort.run_file import BIDS, RUN, read_run, thresholds_of
from wholesight.detector.folder import NORMALS, RECORD, read_calibration
from wholesight.errors import InputError, ModelError
from wholesight.io.files import sha256, unreadable
from wholesight.io.formats import ROLES, stem
from wholesight.io.outputs import Outputs, derivative
from wholesight.io.reading import read
from wholesight.volume import Volume

_AGAIN = "Segment the scans again."


class Basis(NamedTuple):
    """Normal scans, and what speaks against any threshold from them.

    void : why nothing they give can be promised, empty mostly. doubts : why a promise may not hold,
    as whoever calibrated said; what the scans themselves say is left out.
    """

    normals: Normals
    void: str
    doubts: tuple[str, ...]


class Source(NamedTuple):
    """A run to set another threshold for.

    run : what run.json says. cleanup : the recipe's. cases : by name, in the order of the results.
    failures : scans that have no map. calibration : what the threshold is worked out from.
    """

    folder: Path
    run: Mapping[str, Any]
    cleanup: Cleanup
    cases: list[str]
    failures: list[Failure]
    calibration: Basis

    @property
    def is_bids(self) -> bool:
        """Whether the run is a derivative data set."""
        return self.run.get("layout") == BIDS

    def record_of(self, case: str) -> Path:
        """Return where a case's JSON is. Raises ValueError for a case of another layout."""
        # It is called alike whatever the maps are.
        return self.folder / (
            derivative(case, unit=False).record if self.is_bids else f"{case}.json"
        )

    @property
    def missing(self) -> int:
        """How many scans of the run have no map: they failed, or the run was stopped."""
        scans = self.run.get("scans")
        left = scans - len(self.cases) if isinstance(scans, int) else 0
        return max(left, len(self.failures))


class Mapped(NamedTuple):
    """A case of the run. record : its JSON. path : of its map, which is as it was written.

    outputs : where what was written lies.
    """

    record: dict[str, Any]
    outputs: Outputs
    path: Path
    anomaly: Volume


def open_run(folder: Path, *, normals_of: Path | None = None) -> Source:
    """Read what holds for all cases of a run.

    normals_of : a folder of the same model whose normals are taken in place of the run's own.
    Raises InputError when there is no finished run of ours or it is damaged, ModelError for the
    model's folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of maps.", code="E_NOT_FOUND")
    run = read_run(folder)
    if run is None:
        raise InputError(
            f"{folder}: no {RUN} of wholesight segment, so nothing says which normal scans these "
            "maps are to be compared with. Only maps that wholesight segment wrote, in the folder "
            "it wrote them to, take another threshold. If it was cut off there, finish it first: "
            "wholesight segment ... --resume",
            code="E_NO_RUN",
        )
    cases = listed(folder)
    if not cases:
        raise InputError(f"{folder}: {RESULTS} lists no scan. {_AGAIN}", code="E_NO_CASES")
    # Names of files are made of it, and must not lead elsewhere.
    elsewhere = next((case for case in cases if Path(case).name != case), None)
    if elsewhere is not None:
        raise _damaged(folder / RESULTS, f"a case is called {elsewhere!r}")
    cleanup = _cleanup(folder, run)
    basis = _of_run(folder, run) if normals_of is None else _of_model(normals_of, run)
    failures = [failure for failure in failed(folder) if failure.case not in cases]
    source = Source(folder, run, cleanup, cases, failures, basis)
    try:
        for case in cases:
            source.record_of(case)
    except ValueError as fault:
        raise _damaged(folder / RESULTS, str(fault)) from fault
    return source


def _cleanup(folder: Path, run: Mapping[str, Any]) -> Cleanup:
    if "cleanup" not in run:
        raise InputError(
            f"{folder / RUN}: of an earlier wholesight, which did not say how masks are cleaned "
            f"up. {_AGAIN}",
            code="E_NO_RUN",
        )
    try:
        return Cleanup(**run["cleanup"])
    except (TypeError, ValueError) as fault:
        raise _damaged(folder / RUN, "cleanup makes no sense") from fault


def _of_run(folder: Path, run: Mapping[str, Any]) -> Basis:
    path = folder / NORMALS
    if run.get("normals") is None:
        raise InputError(
            f"{folder}: the model had no summary of normal scans when these maps were made. "
            "Calibrate it, and name it here: --normals MODEL.",
            code="E_NO_NORMALS",
        )
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise InputError(
            f"{path}: cannot be read ({fault.strerror}). Copy it from the model's folder, or name "
            "that: --normals MODEL.",
            code="E_NO_NORMALS",
        ) from fault
    try:
        if hashlib.sha256(content).hexdigest() != run["normals"]:
            raise ValueError("not what the run was made with")
        normals = Normals.from_bytes(content)
    except ValueError as fault:
        raise InputError(
            f"{path}: damaged ({fault}). Copy it from the model's folder, or name that: --normals "
            "MODEL.",
            code="E_FORMAT",
        ) from fault
    return _basis(normals, thresholds_of(run))


def _of_model(model: Path, run: Mapping[str, Any]) -> Basis:
    digest = _digest(model)
    if digest != run["model"]:
        raise ModelError(
            f"--normals {model}: is model {digest}, and the maps are of model {run['model']}. Name "
            "the model that made them."
        )
    found = read_calibration(model, digest)
    if found.normals is None:
        raise ModelError(
            f"--normals {model}: this model is not calibrated. Do that first: wholesight calibrate "
            "MODEL DATA"
        )
    thresholds = found.by_site or ({"": found.threshold} if found.threshold else {})
    return _basis(found.normals, {site: each.to_json() for site, each in thresholds.items()})


def _basis(normals: Normals, thresholds: Mapping[str, Mapping[str, Any]]) -> Basis:
    """Gather what speaks against thresholds that were set on normals; thresholds : {site: JSON}."""
    void = next((each["void"] for each in thresholds.values() if each.get("void")), "")
    known, told = {void}, []
    for site, each in thresholds.items():
        own = normals.of_site(site) if site else normals
        known |= {*partly_normal(own, each.get("guarantee", ""))}
        told += each.get("doubts", [])
    return Basis(normals, void, tuple(doubt for doubt in dict.fromkeys(told) if doubt not in known))


def _digest(model: Path) -> str:
    """Return which model a folder holds, from its record alone: no network is loaded."""
    try:
        return str(json.loads((model / RECORD).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ModelError(f"--normals {model}: no model folder, or an unfinished one.") from fault


def read_case(source: Source, case: str) -> Mapped:
    """Read a case. Raises InputError when its map is not there or not what segment wrote."""
    path = source.record_of(case)
    try:
        record = json.loads(path.read_bytes())
        outputs = _outputs(source, case, record)
        model, name = record["model"], outputs.anomaly
        written = record["outputs"][name]
        known = record.keys() >= {"notes", "site", "score", "subject", "body_voxels", "body_ml"}
    except OSError as fault:
        raise unreadable(path, fault) from fault
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as fault:
        raise _damaged(path, f"{type(fault).__name__}: {fault}") from fault
    if not known or model != source.run["model"]:
        raise _damaged(path, "not of this run, or a part is missing")
    return Mapped(record, outputs, source.folder / name, _map(source.folder / name, written))


def _outputs(source: Source, case: str, record: Mapping[str, Any]) -> Outputs:
    """Return where a case's files are; their names come from the case, never from the record."""
    if not source.is_bids:
        names = {role: _written(record, f"{case}_{role}") for role in ROLES}
        return Outputs(**names, record=f"{case}.json")
    legal = (derivative(case, unit=unit) for unit in (True, False))
    return next(each for each in legal if {*each.before_record} == record["outputs"].keys())


def _written(record: Mapping[str, Any], called: str) -> str:
    """Return the file of this name, whatever its ending. Raises KeyError."""
    found = [name for name in record["outputs"] if stem(Path(name)) == called]
    if not found:
        raise KeyError(called)
    return found[0]


def _map(path: Path, written: str) -> Volume:
    try:
        same = sha256(path) == written
    except OSError as fault:
        raise unreadable(path, fault) from fault
    if not same:
        raise InputError(
            f"{path}: is not the map that was written (its SHA-256 differs). {_AGAIN}",
            code="E_CHANGED",
        )
    return read(path)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: damaged ({why}). {_AGAIN}", code="E_FORMAT")
