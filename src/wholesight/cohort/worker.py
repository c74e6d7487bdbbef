"""One scan from file to files: map, mask, and the JSON that says they are complete."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from wholesight.cohort.notes import notes
from wholesight.cohort.plan import Job
from wholesight.detector import Detector, Segmentation
from wholesight.io.files import sha256, write_json
from wholesight.io.nifti import write
from wholesight.volume import Volume


def segment_case(detector: Detector, job: Job, out: Path) -> dict[str, Any]:
    """Segment one scan; write its map, its mask, then its JSON. Returns the JSON's content.

    Raises InputError for a scan that cannot be used and OutputError when nothing can be written;
    without the JSON the case does not count as done.
    """
    clock = time.monotonic()
    sources = hashes_of(job)
    scan = job.case.read()
    read_s = time.monotonic() - clock
    found = detector.segment(scan.image, scan.inside)
    network_s = time.monotonic() - clock - read_s
    outputs = _write(found, job.stem, out)
    record = {
        "input": job.case.image.name,
        **sources,
        "model": detector.digest,
        "threshold": detector.calibrated_threshold.to_json(),
        **_facts(found),
        "outputs": outputs,
        "notes": notes(detector, found),
        "seconds": {
            "read": round(read_s, 3),
            "segment": round(network_s, 3),
            "total": round(time.monotonic() - clock, 3),
        },
    }
    write_json(out / f"{job.stem}.json", record)
    return record


def hashes_of(job: Job) -> dict[str, str | None]:
    """Return what the result depends on besides the model: the scan and its body mask.

    None stands for a file that is not given or not readable; the reader says why.
    """
    return {"input_sha256": _hash(job.case.image), "inside_sha256": _hash(job.case.inside)}


def _hash(path: Path | None) -> str | None:
    try:
        return sha256(path) if path else None
    except OSError:
        return None


def output_names(stem: str) -> dict[str, str]:
    """Return {role: file name} of the volumes that a scan's segmentation consists of."""
    return {role: f"{stem}_{role}.nii.gz" for role in ("anomaly", "mask")}


def _write(found: Segmentation, stem: str, out: Path) -> dict[str, str]:
    """Write both volumes; returns {file name: sha256}."""
    volumes = {"anomaly": found.map, "mask": found.mask}
    hashes = {}
    for role, name in output_names(stem).items():
        write(volumes[role], out / name)
        hashes[name] = sha256(out / name)
    return hashes


def _facts(found: Segmentation) -> dict[str, Any]:
    """Return what the mask says in figures, in ml, and where the map is highest."""
    voxel_ml = found.map.voxel_mm3 / 1000
    labels = np.zeros(found.mask.shape, np.int32)
    clusters = label(found.mask.voxels, generate_binary_structure(3, 3), output=labels)
    return {
        "flagged_ml": round(float(found.mask.voxels.sum()) * voxel_ml, 4),
        "clusters": clusters,
        "body_ml": round(float(found.body.voxels.sum()) * voxel_ml, 2),
        "highest": float(found.map.voxels[found.body.voxels].max()),
        "highest_at_mm": _peak_mm(found.map, found.body.voxels),
    }


def _peak_mm(anomaly: Volume, body: np.ndarray) -> list[float]:
    """Return the world position (RAS, mm) of the highest value in the body."""
    peak = np.argmax(np.where(body, anomaly.voxels, -np.inf))
    index = [*np.unravel_index(peak, anomaly.shape), 1]
    return [round(float(mm), 2) for mm in (anomaly.affine @ index)[:3]]
