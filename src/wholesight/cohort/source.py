"""A run of `segment` as its folder holds it: what another threshold is set from.

run.json             the model's digest, how the recipe cleans a mask up
normals.safetensors  what thresholds are worked out from
results.tsv          which cases there are; each has its JSON and its map
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wholesight.calibration import Normals
from wholesight.cleanup import Cleanup
from wholesight.cohort.ledger import RESULTS, listed
from wholesight.cohort.run_file import RUN, read_run
from wholesight.cohort.run_thresholds import thresholds_of
from wholesight.cohort.worker import output_names
from wholesight.detector.folder import NORMALS, RECORD, read_calibration
from wholesight.errors import InputError, ModelError
from wholesight.io.files import sha256, unreadable
from wholesight.io.nifti import read
from wholesight.volume import Volume

_AGAIN = "Segment the scans again."


class Source(NamedTuple):
    """A run to set another threshold for.

    run : what run.json says. cleanup : the recipe's. cases : by name, in the order of the results.
    normals : what the threshold is worked out from. void : for which nothing they give can be
    promised, empty mostly.
    """

    folder: Path
    run: Mapping[str, Any]
    cleanup: Cleanup
    cases: list[str]
    normals: Normals
    void: str

    @property
    def missing(self) -> int:
        """How many scans of the run have no map: they failed, or the run was stopped."""
        scans = self.run.get("scans")
        return max(0, scans - len(self.cases)) if isinstance(scans, int) else 0


class Mapped(NamedTuple):
    """A case of the run. record : its JSON. path : of its map, which is as it was written."""

    record: dict[str, Any]
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
            "it wrote them to, take another threshold.",
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
    of = _run_normals(folder, run) if normals_of is None else _model_normals(normals_of, run)
    return Source(folder, run, cleanup, cases, *of)


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


def _run_normals(folder: Path, run: Mapping[str, Any]) -> tuple[Normals, str]:
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
    voids = [each.get("void", "") for each in thresholds_of(run).values()]
    return normals, next(filter(None, voids), "")


def _model_normals(model: Path, run: Mapping[str, Any]) -> tuple[Normals, str]:
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
    thresholds = [*found.by_site.values(), *([found.threshold] if found.threshold else [])]
    return found.normals, next((each.void for each in thresholds if each.void), "")


def _digest(model: Path) -> str:
    """Return which model a folder holds, from its record alone: no network is loaded."""
    try:
        return str(json.loads((model / RECORD).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ModelError(f"--normals {model}: no model folder, or an unfinished one.") from fault


def read_case(source: Source, case: str) -> Mapped:
    """Read a case. Raises InputError when its map is not there or not what segment wrote."""
    path = source.folder / f"{case}.json"
    try:
        record = json.loads(path.read_bytes())
        model, name = record["model"], output_names(case)["anomaly"]
        written = record["outputs"][name]
        known = record.keys() >= {"notes", "site", "score", "subject", "body_voxels", "body_ml"}
    except OSError as fault:
        raise unreadable(path, fault) from fault
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise _damaged(path, f"{type(fault).__name__}: {fault}") from fault
    if not known or model != source.run["model"]:
        raise _damaged(path, "not of this run, or a part is missing")
    return Mapped(record, source.folder / name, _map(source.folder / name, written))


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
