"""What BIDS asks of a folder of results, beside maps and masks: who made it, of what, and sidecars.

dataset_description.json   names wholesight, the model, and the data set that the scans are of
.bidsignore                the files of the run that BIDS has no names for
the map's sidecar          what the map is
the mask's sidecar         what the mask is, before what every case's JSON holds

The scans' data set is told by a path from the results, and by that only where the results lie in it
or beside it: a longer one would tell how somebody's disk is arranged. Where none is told, sidecars
do not point at scans.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import wholesight
from wholesight.cohort.ledger import FAILURES, RESULTS
from wholesight.cohort.run_file import RUN
from wholesight.datasets import Case
from wholesight.detector import NORMALS
from wholesight.errors import UsageError
from wholesight.io.bids_name import parse
from wholesight.io.files import write_json, write_text
from wholesight.io.formats import stem

DESCRIPTION: Final = "dataset_description.json"
IGNORE: Final = ".bidsignore"
OF_A_DERIVATIVE: Final = (DESCRIPTION, IGNORE)
# The version whose names and fields these are.
VERSION: Final = "1.11.0"
_NAME: Final = "wholesight"
# How the scans' data set is called in BIDS URIs.
_SCANS: Final = "scans"
# run.json, results.tsv, failures.tsv and normals.safetensors, which lie in the folder itself.
# Without a slash before them, which not every validator takes to mean that folder.
_OF_THE_RUN: Final = (RUN, RESULTS, FAILURES, NORMALS)


def require_own(out: Path) -> None:
    """Refuse to add to a data set of somebody else. Raises UsageError."""
    made = _json(out / DESCRIPTION).get("GeneratedBy")
    first = made[0] if isinstance(made, list) and made else None
    own = isinstance(first, dict) and first.get("Name") == _NAME
    if os.path.lexists(out / DESCRIPTION) and not own:
        raise UsageError(
            f"{out}: is a BIDS data set that wholesight did not make, and nothing is added to it. "
            f"Choose another --out, such as {out / 'derivatives' / _NAME}."
        )


def describe(out: Path, run: Mapping[str, Any], *, source: Path) -> None:
    """Write those of the data set's two files that are not there. run : what run.json says.

    Raises OutputError.
    """
    name = _json(source / DESCRIPTION).get("Name") or source.resolve().name
    _write(out, {"Name": f"Anomaly maps of {name}", **_of_a_derivative(run)}, source)


def describe_again(out: Path, maps: Path) -> bool:
    """Write them for results that are made from those in `maps`.

    Returns whether they still say where the scans are. Raises OutputError.
    """
    known = _json(maps / DESCRIPTION)
    links = known.pop("DatasetLinks", None)
    known.pop("SourceDatasets", None)
    link = links.get(_SCANS) if isinstance(links, dict) else None
    _write(out, known, maps / link if isinstance(link, str) else None)
    return bool(link) and _link(maps / link, out) is not None


def _of_a_derivative(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": _NAME,
                "Version": wholesight.__version__,
                "Description": f"wholesight segment, recipe {run['recipe']}, model {run['model']}",
            }
        ],
    }


def _write(out: Path, known: Mapping[str, Any], source: Path | None) -> None:
    link = source and _link(source, out)
    where = {"SourceDatasets": [{"URL": _uri("")}], "DatasetLinks": {_SCANS: link}} if link else {}
    # Somebody may have added a licence since.
    if not (out / IGNORE).exists():
        write_text(out / IGNORE, "\n".join(_OF_THE_RUN) + "\n")
    if not (out / DESCRIPTION).exists():
        write_json(out / DESCRIPTION, {**known, **where})


def _link(source: Path, out: Path) -> str | None:
    """Return the path from the results to the scans' data set; None where it leads further away."""
    source, out = source.resolve(), out.resolve()
    if not out.is_relative_to(source.parent):
        return None
    return Path(os.path.relpath(source, out)).as_posix()


def _uri(path: str) -> str:
    return f"bids:{_SCANS}:{path}"


# ---------------------------------------------------------------- sidecars


def map_sidecar(case: Case, source: Path, out: Path, *, unit: bool) -> dict[str, Any]:
    """Return what BIDS wants to know of a map.

    source : the scan's data set. unit : whether the map lies in [0, 1], and is called a probseg.
    """
    # The scan's own sidecar knows; an image as it was acquired has its skull.
    stripped = _beside(case).get("SkullStripped") is True
    return {
        "Description": "How odd each voxel is to a model of normal scans: higher is odder, 0 "
        "outside the body. No probability.",
        **({} if unit else {"SkullStripped": stripped}),
        **_place(case, source, out),
    }


def mask_sidecar(case: Case, source: Path, out: Path) -> dict[str, Any]:
    """Return what BIDS wants to know of a mask, to stand before the rest of the case's JSON."""
    return {
        "Description": "Where the anomaly map lies above the threshold, after cleaning up.",
        # It is not known to be a lesion.
        "Type": "ROI",
        **_place(case, source, out),
    }


def _place(case: Case, source: Path, out: Path) -> dict[str, Any]:
    """Return which space it is in, and of which files it was made."""
    name = parse(stem(case.image))
    own = name and name.entities.get("space", "orig")
    space = "orig" if own == "orig" else _beside(case).get("SpatialReference")
    files = [path for path in (case.image, case.inside) if path and path.is_relative_to(source)]
    linked = files if _link(source, out) else []
    return {
        **({"SpatialReference": space} if space else {}),
        **({"Sources": [_uri(path.relative_to(source).as_posix()) for path in linked]}
           if linked else {}),
    }  # fmt: skip


def copy_sidecar(path: Path, target: Path, *, linked: bool) -> None:
    """Copy a map's sidecar. linked : whether it may point at the scans. Raises OutputError."""
    content = _json(path)
    write_json(target, content if linked else unlinked(content))


def unlinked(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sidecar that points at no scan."""
    return {name: value for name, value in sidecar.items() if name != "Sources"}


def _beside(case: Case) -> dict[str, Any]:
    """Return what the sidecar of the scan itself says."""
    return _json(case.image.with_name(f"{stem(case.image)}.json"))


def _json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing where there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
