"""One scan from file to files: map, mask, and the JSON that says they are complete."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from wholesight.calibration import Normals
from wholesight.calibration.typical import Likeness
from wholesight.cohort.derivative import map_sidecar, mask_sidecar
from wholesight.cohort.notes import notes
from wholesight.cohort.plan import Job
from wholesight.cohort.spacing import require_spacing
from wholesight.detector import Detector, Segmentation
from wholesight.io.dicom import series_mark
from wholesight.io.files import make_folder, sha256, write_json
from wholesight.io.formats import format_of
from wholesight.volume import Volume


def segment_case(detector: Detector, job: Job, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Segment one scan; write its map, its mask, then its JSON. Returns the JSON's content.

    detector : with the threshold of the scan's site. force : whatever its voxel size, which is else
    refused where it is far from that of the training. Raises InputError for a scan that cannot be
    used and OutputError when nothing can be written; without the JSON the case does not count as
    done.
    """
    clock = time.monotonic()
    sources = hashes_of(job, detector)
    scan = job.case.read()
    read_s = time.monotonic() - clock
    if not force:
        require_spacing(detector.record, scan.image, resized=detector.resizes)
    found = detector.segment(scan.image, scan.inside, scan.channels)
    network_s = time.monotonic() - clock - read_s
    outputs = job.outputs(unit=detector.has_unit_maps)
    hashes = _write(found, job, out, unit=detector.has_unit_maps)
    record = {
        **(mask_sidecar(job.case, job.bids, out) if job.bids else {}),
        "input": job.case.image.name,
        "volume": job.case.volume,
        "series": job.case.series and series_mark(job.case.series),
        **sources,
        "subject": job.case.subject,
        "site": job.case.site,
        "model": detector.digest,
        "threshold": detector.calibrated_threshold.to_json(),
        **_facts(found),
        **rarity(detector.normals, found.score),
        "qc": found.likeness.verdict,
        "likeness": _rounded(found.likeness),
        "outputs": hashes,
        "notes": notes(detector, job.case, scan, found),
        "seconds": {
            "read": round(read_s, 3),
            "segment": round(network_s, 3),
            "total": round(time.monotonic() - clock, 3),
        },
    }
    write_json(out / outputs.record, record)
    return record


def _rounded(found: Likeness) -> dict[str, Any]:
    told = {name: value for name, value in found._asdict().items() if name != "verdict"}
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in told.items()}


def rarity(normals: Normals | None, score: float | None) -> dict[str, Any]:
    """Return score and p-value, and with how many normal subjects the score was compared.

    All None without a score; p_value and normal_subjects None when there is nothing to compare
    with.
    """
    p_value = normals.p_value(score) if normals else None
    subjects = len(normals.by_subject) if normals and p_value is not None else None
    return {"score": score, "p_value": p_value, "normal_subjects": subjects}


def hashes_of(job: Job, detector: Detector) -> dict[str, Any]:
    """Return what the result depends on besides the model: the scan, its body mask, its channels.

    None stands for a file that is not given or not readable; the reader says why.
    """
    files = dict(job.case.modalities)
    channels = {name: _hash(files.get(name)) for name in detector.recipe.prep.channels}
    return {
        "input_sha256": _hash(job.case.image),
        "inside_sha256": _hash(job.case.inside),
        **({"channels_sha256": channels} if channels else {}),
    }


def _hash(path: Path | None) -> str | None:
    try:
        return sha256(path) if path else None
    except OSError:
        return None


def _write(found: Segmentation, job: Job, out: Path, *, unit: bool) -> dict[str, str]:
    """Write both volumes, and the map's sidecar where it has one; returns {file: sha256}."""
    source, outputs = job.case.image, job.outputs(unit=unit)
    if job.bids:
        make_folder((out / outputs.record).parent)
    for volume, name in ((found.map, outputs.anomaly), (found.mask, outputs.mask)):
        format_of(source).write(volume, out / name, source)
    if job.bids and outputs.sidecar:
        write_json(out / outputs.sidecar, map_sidecar(job.case, job.bids, out, unit=unit))
    return {name: sha256(out / name) for name in outputs.before_record}


def mask_facts(mask: Volume) -> dict[str, Any]:
    """Return what a mask says in figures: its volume in ml, and of how many places it is."""
    labels = np.zeros(mask.shape, np.int32)
    clusters = label(mask.voxels, generate_binary_structure(3, 3), output=labels)
    flagged_ml = float(mask.voxels.sum()) * mask.voxel_mm3 / 1000
    return {"flagged_ml": round(flagged_ml, 4), "clusters": clusters}


def _facts(found: Segmentation) -> dict[str, Any]:
    """Return what the mask says, how large the body is, and where the map is highest."""
    body_voxels = int(found.body.voxels.sum())
    return {
        **mask_facts(found.mask),
        "body_voxels": body_voxels,
        "body_ml": round(body_voxels * found.map.voxel_mm3 / 1000, 2),
        "highest": float(found.map.voxels[found.body.voxels].max()),
        "highest_at_mm": _peak_mm(found.map, found.body.voxels),
    }


def _peak_mm(anomaly: Volume, body: np.ndarray) -> list[float]:
    """Return the world position (RAS, mm) of the highest value in the body."""
    peak = np.argmax(np.where(body, anomaly.voxels, -np.inf))
    index = [*np.unravel_index(peak, anomaly.shape), 1]
    return [round(float(mm), 2) for mm in (anomaly.affine @ index)[:3]]
