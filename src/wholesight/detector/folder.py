"""The folder of a model: plain files, each whole or not there.

recipe.yaml            as it was resolved
weights.safetensors    of method and prep
record.json            how it came about; written last, a folder without it is unfinished
normals.safetensors    once calibrated: what thresholds are worked out from, no scan, no name
threshold.json         the threshold, or one a site; names the model and the normals it is of, and
                       is written after them, so that they are never mixed
calibration.json       the report of `wholesight calibrate` as plain data, on this very threshold:
                       written last, and taken away before another threshold is written
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from wholesight.calibration.normals import Normals
from wholesight.calibration.threshold import Threshold
from wholesight.errors import ModelError, RecipeError
from wholesight.io.content import VOXELS
from wholesight.io.files import make_folder, write_bytes, write_json
from wholesight.recipe import Recipe

FORMAT_VERSION: Final = 1
RECORD: Final = "record.json"
NORMALS: Final = "normals.safetensors"
CALIBRATION: Final = "calibration.json"
THRESHOLD: Final = "threshold.json"
_RECIPE, _WEIGHTS = "recipe.yaml", "weights.safetensors"

# The name of the one threshold of a model that is not calibrated by site.
_ALL: Final = "all"
_AGAIN: Final = "Run wholesight calibrate again."


class Model(NamedTuple):
    """A model as its folder holds it. digest : identifies recipe and weights together."""

    recipe: Recipe
    record: dict[str, Any]
    digest: str


class Calibration(NamedTuple):
    """Thresholds and the normals they are of: one threshold, or one a site, or none yet.

    files : of the normal scans, {subject: {"case/role": sha256}}, as far as they are known.
    """

    threshold: Threshold | None = None
    by_site: Mapping[str, Threshold] = MappingProxyType({})
    normals: Normals | None = None
    files: Mapping[str, Mapping[str, str]] = MappingProxyType({})


def write_model(folder: Path, recipe: Recipe, record: Mapping[str, Any]) -> Model:
    """Write recipe, weights and, last, the record. Raises OutputError.

    Returns the model with the record and the digest that it will be read with.
    """
    make_folder(folder)
    content = yaml.safe_dump(recipe.resolved, sort_keys=False, allow_unicode=True).encode()
    weights = save_tensors(_state(recipe))
    write_bytes(folder / _RECIPE, content)
    write_bytes(folder / _WEIGHTS, weights)
    digest = _digest(content, weights)
    told = {"format_version": FORMAT_VERSION, "digest": digest, **record}
    write_json(folder / RECORD, told)
    return Model(recipe, told, digest)


def read_model(folder: Path) -> Model:
    """Read it. Raises ModelError when it is incomplete, damaged or too new."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder. wholesight fit makes one.")
    record = _read_json(folder, RECORD)
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{folder}: written in model format {version}, this wholesight reads "
            f"{FORMAT_VERSION}. Use the version of wholesight named in its {RECORD}."
        )
    content, weights = _read(folder, _RECIPE), _read(folder, _WEIGHTS)
    digest = _digest(content, weights)
    if digest != record.get("digest"):
        raise ModelError(
            f"{folder}: {_RECIPE} or {_WEIGHTS} is not what was saved (the digest differs). "
            "Copy the folder again, or train again."
        )
    return Model(_recipe(folder, content, weights), record, digest)


def write_calibration(
    folder: Path, digest: str, found: Calibration, report: Mapping[str, Any] | None = None
) -> None:
    """Write normals, threshold and, last, the report beside an otherwise unchanged model.

    What interrupts it leaves the old calibration or the new one, without a report, or one that
    `read_calibration` refuses; never normals or a report of one with the threshold of another.
    report : without one, none of an earlier calibration stays. Raises OutputError.
    """
    if found.normals is None or (found.threshold is None) != bool(found.by_site):
        raise ValueError("normals and either one threshold or one a site are needed")
    normals = found.normals.to_bytes()
    write_bytes(folder / NORMALS, normals)
    names = {"model": digest, "normals": hashlib.sha256(normals).hexdigest()}
    (folder / CALIBRATION).unlink(missing_ok=True)
    thresholds = found.by_site if found.threshold is None else {_ALL: found.threshold}
    content = {
        **names,
        "by": "site" if found.by_site else None,
        "thresholds": {name: each.to_json() for name, each in thresholds.items()},
        "files": {subject: _images(found.files[subject]) for subject in sorted(found.files)},
    }
    write_json(folder / THRESHOLD, content)
    if report is not None:
        write_json(folder / CALIBRATION, {**names, **report})


def _images(files: Mapping[str, str]) -> dict[str, str]:
    """Return the images' hashes: nothing of a lesion mask belongs to a threshold."""
    return {name: sha for name, sha in files.items() if name.endswith(VOXELS)}


def read_calibration(folder: Path, digest: str) -> Calibration:
    """Read it; an empty one when the model is not calibrated.

    Raises ModelError when it is damaged, unfinished, of other weights or of an earlier wholesight.
    """
    if not (folder / THRESHOLD).exists():
        return Calibration()
    content = _read_json(folder, THRESHOLD)
    if content.get("model") != digest:
        raise ModelError(f"{folder}: {THRESHOLD} belongs to other weights. {_AGAIN}")
    if "thresholds" not in content:
        raise ModelError(
            f"{folder}: {THRESHOLD} is of an earlier wholesight, which kept nothing to work a "
            f"promise out from. {_AGAIN}"
        )
    normals = _normals(folder, content.get("normals"))
    try:
        found = {name: Threshold.from_json(each) for name, each in content["thresholds"].items()}
        files = {subject: dict(shas) for subject, shas in content.get("files", {}).items()}
        if content["by"] == "site" and found:
            return Calibration(by_site=found, normals=normals, files=files)
        return Calibration(threshold=found[_ALL], normals=normals, files=files)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ModelError(f"{folder}: {THRESHOLD} cannot be read ({fault}). {_AGAIN}") from fault


def read_report(folder: Path, digest: str) -> dict[str, Any] | None:
    """Return what `wholesight calibrate` reported of the calibration; None where it is not known.

    A report says more on a threshold, and is never needed: a damaged one counts as none.
    """
    try:
        content = json.loads((folder / CALIBRATION).read_bytes())
        return content if content["model"] == digest and content["groups"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _normals(folder: Path, sha: Any) -> Normals:
    try:
        content = (folder / NORMALS).read_bytes()
    except OSError as fault:
        raise ModelError(f"{folder}: {THRESHOLD} is there without {NORMALS}. {_AGAIN}") from fault
    if hashlib.sha256(content).hexdigest() != sha:
        raise ModelError(
            f"{folder}: {NORMALS} is not what {THRESHOLD} was worked out from; was a calibration "
            f"interrupted? {_AGAIN}"
        )
    try:
        return Normals.from_bytes(content)
    except ValueError as fault:
        raise ModelError(f"{folder}: {NORMALS} cannot be read ({fault}). {_AGAIN}") from fault


def _state(recipe: Recipe) -> dict[str, torch.Tensor]:
    method = {f"method.{name}": value for name, value in recipe.method.state_dict().items()}
    intensity = {
        f"intensity.{name}": torch.from_numpy(value)
        for name, value in recipe.prep.intensity.state().items()
    }
    return {name: value.cpu().contiguous() for name, value in {**method, **intensity}.items()}


def _recipe(folder: Path, content: bytes, weights: bytes) -> Recipe:
    try:
        recipe = Recipe.from_dict(yaml.safe_load(content))
        state = load_tensors(weights)
        of_method = {k.removeprefix("method."): v for k, v in state.items() if k[:7] == "method."}
        recipe.method.load_state_dict(of_method)
    except (yaml.YAMLError, RecipeError, SafetensorError, RuntimeError, TypeError) as fault:
        reason = str(fault).splitlines()[0]
        raise ModelError(f"{folder}: the model cannot be put together ({reason}).") from fault
    if not all(bool(v.isfinite().all()) for v in state.values()):
        raise ModelError(f"{folder}: {_WEIGHTS} holds NaN or infinite values. Train again.")
    learned = {k.removeprefix("intensity."): v for k, v in state.items() if k[:10] == "intensity."}
    recipe.prep.intensity.restore({name: value.numpy() for name, value in learned.items()})
    return recipe


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as fault:
        raise ModelError(
            f"{folder}: no readable {name}, so this is no finished model folder. "
            "If training was interrupted: wholesight fit ... --resume"
        ) from fault


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(_read(folder, name))
    except ValueError as fault:
        raise ModelError(f"{folder}: {name} is damaged ({fault}).") from fault
    if not isinstance(content, dict):
        raise ModelError(f"{folder}: {name} is damaged, it holds no mapping.")
    return content


def _digest(recipe: bytes, weights: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(recipe).digest() + weights).hexdigest()[:16]
