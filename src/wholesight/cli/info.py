"""`wholesight info MODEL|FILE`: what a model or a scan is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    path: Annotated[Path, typer.Argument(metavar="MODEL|FILE", help="Model folder or NIfTI file.")],
) -> None:
    """Say what a model was trained on and promises, or how a scan lies in space."""
    facts = _model(path) if path.is_dir() else _scan(path)
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


def _model(path: Path) -> dict[str, str]:
    from wholesight.detector import Detector

    detector = Detector.load(path)
    record = detector.record
    threshold = detector.threshold
    return {
        "model": detector.digest,
        "recipe": f"{detector.recipe.name}: {detector.recipe.summary}",
        "method": detector.recipe.method.reference,
        "trained": f"{record.get('started', '?')}, {record.get('normal_slices', '?')} normal "
        f"slices of {len(record.get('data', {}).get('subjects', []))} subjects, "
        f"seed {record.get('seed', '?')}",
        "wholesight": record.get("versions", {}).get("wholesight", "?"),
        "threshold": f"{threshold.value:.6g}" if threshold else "none: run wholesight calibrate",
        "statement": threshold.statement if threshold else "-",
    }


def _scan(path: Path) -> dict[str, str]:
    from nibabel.orientations import aff2axcodes

    from wholesight.io.nifti import read

    volume = read(path)
    return {
        "file": str(path),
        "voxels": " x ".join(map(str, volume.shape)),
        "spacing": " x ".join(f"{mm:.4g}" for mm in volume.spacing_mm) + " mm",
        "orientation": "".join(str(code) for code in aff2axcodes(volume.affine)),
        "values": f"{volume.voxels.min():g} to {volume.voxels.max():g}",
        "not zero": f"{100 * (volume.voxels != 0).mean():.1f} %",
    }
