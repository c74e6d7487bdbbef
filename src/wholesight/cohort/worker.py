"""One scan from file to files: map, mask, and the JSON that says they are complete."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from wholesight.cohort.plan import Job
from wholesight.detector import Detector, Segmentation
from wholesight.io.files import sha256, write_json
from wholesight.io.nifti import read_image, read_mask, write
from wholesight.volume import Volume


def segment_case(detector: Detector, job: Job, out: Path) -> dict[str, Any]:
    """Segment one scan; write its map, its mask, then its JSON. Returns the JSON's content.

    Raises InputError for a scan that cannot be used and OutputError when nothing can be written;
    without the JSON the case does not count as done.
    """
    clock = time.monotonic()
    source = sha256_of(job)
    image = read_image(job.image)
    inside = read_mask(job.inside) if job.inside else None
    read_s = time.monotonic() - clock
    found = detector.segment(image, inside)
    network_s = time.monotonic() - clock - read_s
    outputs = _write(found, job.stem, out)
    record = {
        "input": job.image.name,
        "input_sha256": source,
        "model": detector.digest,
        "threshold": detector.calibrated_threshold.to_json(),
        **_facts(found),
        "outputs": outputs,
        "notes": [],
        "seconds": {
            "read": round(read_s, 3),
            "segment": round(network_s, 3),
            "total": round(time.monotonic() - clock, 3),
        },
    }
    write_json(out / f"{job.stem}.json", record)
    return record


def sha256_of(job: Job) -> str | None:
    """Return the input's hash, None where there is no readable file (the reader says why)."""
    try:
        return sha256(job.image)
    except OSError:
        return None


def _write(found: Segmentation, stem: str, out: Path) -> dict[str, str]:
    """Write both volumes; returns {file name: sha256}."""
    names = {"anomaly": found.map, "mask": found.mask}
    hashes = {}
    for role, volume in names.items():
        path = out / f"{stem}_{role}.nii.gz"
        write(volume, path)
        hashes[path.name] = sha256(path)
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
