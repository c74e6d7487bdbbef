"""A trained detector: prep, method, threshold and cleanup, kept in a folder of plain files.

Axes: i j k file voxels; n slices, H W slice pixels.

The folder: recipe.yaml (resolved), weights.safetensors (method and prep), threshold.json (once
calibrated), record.json (how it came about; written last, so a folder without it is unfinished).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from wholesight.calibration import RULES, Threshold
from wholesight.errors import ModelError, RecipeError, UsageError
from wholesight.io.files import make_folder, write_bytes, write_json
from wholesight.prep.chain import Prepared
from wholesight.recipe import Recipe
from wholesight.volume import Scan, Volume

FORMAT_VERSION: Final = 1
# Slices that go through the network together: bounds the memory, changes no result.
BATCH: Final = 16

_RECIPE, _WEIGHTS, _THRESHOLD = "recipe.yaml", "weights.safetensors", "threshold.json"
# Written last: a folder that has it holds a model.
RECORD: Final = "record.json"


class Segmentation(NamedTuple):
    """What a detector says of one scan, all on the scan's grid.

    map : float32, higher = odder, 0 outside the body. mask : bool. body : bool.
    """

    map: Volume
    mask: Volume
    body: Volume


class NormalScores(NamedTuple):
    """Map values (n,) in the body of a scan's normal slices, and how many slices these are."""

    values: np.ndarray
    slices: int


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Segments what is abnormal in a scan.

    recipe : its parts. threshold : None until calibrated. record : how it was trained, plain data.
    device : where the network runs. digest : identifies recipe and weights together.
    """

    recipe: Recipe
    threshold: Threshold | None = None
    record: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    digest: str = ""

    def map(self, volume: Volume, inside: Volume | None = None) -> Volume:
        """Return the anomaly map on the volume's grid, float32, higher = odder.

        inside : the body mask, else the recipe finds the body. Raises InputError.
        """
        return volume.like(self._mapped(Scan(volume, inside))[0])

    def segment(self, volume: Volume, inside: Volume | None = None) -> Segmentation:
        """Return map and mask. Raises ModelError while the detector has no threshold."""
        value = self.calibrated_threshold.value
        anomaly, prepared = self._mapped(Scan(volume, inside))
        mask = self.recipe.cleanup(
            anomaly, prepared.body, threshold=value, voxel_mm3=volume.voxel_mm3
        )
        return Segmentation(volume.like(anomaly), volume.like(mask), volume.like(prepared.body))

    @property
    def calibrated_threshold(self) -> Threshold:
        """The threshold. Raises ModelError while there is none."""
        if self.threshold is None:
            raise ModelError(
                "This model has no threshold yet. Set one on normal scans that it was not trained "
                "on: wholesight calibrate MODEL DATA --alpha 0.05"
            )
        return self.threshold

    def normal_scores(self, scan: Scan) -> NormalScores:
        """Return the map's values in the body of the scan's normal slices."""
        anomaly, prepared = self._mapped(scan)
        slices = prepared.normal & prepared.inside.any(axis=(1, 2, 3))
        return NormalScores(anomaly[prepared.normal_body()], int(slices.sum()))

    def calibrate(self, scans: Iterable[tuple[str, Scan]], *, rule: str, alpha: float) -> Detector:
        """Return this detector with a threshold set on the normal slices of (subject, scan) pairs.

        A scan's truth serves to leave its abnormal slices out, and nothing else reaches the rule.
        Raises UsageError when a subject served the training.
        """
        trained_on = set(self.record.get("data", {}).get("subjects", []))
        scores: dict[str, list[np.ndarray]] = {}
        slices = 0
        for subject, scan in scans:
            if subject in trained_on:
                raise UsageError(
                    f"subject {subject} served the training of this model, so its scores are too "
                    "low for a threshold. Calibrate on other subjects: see split.json."
                )
            found = self.normal_scores(scan)
            scores.setdefault(subject, []).append(found.values)
            slices += found.slices
        pooled = [np.concatenate(parts) for parts in scores.values()]
        return replace(self, threshold=RULES[rule](pooled, alpha=alpha, slices=slices))

    def require_unseen(self, files: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse images that served the training, whatever they are called now.

        files : {subject: {"case/role": sha256}}. Raises UsageError.
        """
        trained = self.record.get("data", {}).get("files", {})
        seen = {sha: subject for subject, shas in trained.items() for sha in shas.values()}
        for shas in files.values():
            for name, sha in shas.items():
                # Masks without a lesion are alike in many subjects; images are not.
                if name.endswith("/image") and sha in seen:
                    raise UsageError(
                        f"{name}: the same file served the training of this model, as subject "
                        f"{seen[sha]}. Calibrate on other scans."
                    )

    def _mapped(self, scan: Scan) -> tuple[np.ndarray, Prepared]:
        prepared = self.recipe.prep.forward(scan)
        return prepared.restore(self._slice_maps(prepared)), prepared

    def _slice_maps(self, prepared: Prepared) -> np.ndarray:
        """(n, 1, H, W) maps; slices without body stay 0 and cost nothing."""
        method = self.recipe.method.to(self.device).eval()
        maps = np.zeros_like(prepared.pixels[:, :1])
        occupied = np.flatnonzero(prepared.inside.any(axis=(1, 2, 3)))
        for start in range(0, len(occupied), BATCH):
            part = occupied[start : start + BATCH]
            slices = torch.from_numpy(prepared.pixels[part]).to(self.device)
            inside = torch.from_numpy(prepared.inside[part]).to(self.device)
            maps[part] = method.anomaly_map(slices, inside).cpu().numpy()
        if not np.isfinite(maps).all():
            raise ModelError(
                "The network's map of this scan is not finite. Train again; if that does not help, "
                "report the recipe as a bug."
            )
        return maps

    def save(self, folder: Path) -> Detector:
        """Write the folder, each file atomically, record.json last. Raises OutputError.

        Returns the detector as it would be loaded, with its digest.
        """
        make_folder(folder)
        recipe = yaml.safe_dump(self.recipe.resolved, sort_keys=False, allow_unicode=True).encode()
        weights = save_tensors(_state(self.recipe))
        write_bytes(folder / _RECIPE, recipe)
        write_bytes(folder / _WEIGHTS, weights)
        digest = _digest(recipe, weights)
        record = {"format_version": FORMAT_VERSION, "digest": digest, **self.record}
        write_json(folder / RECORD, record)
        return replace(self, record=record, digest=digest)

    def save_threshold(self, folder: Path) -> None:
        """Write threshold.json alone, beside an otherwise unchanged model."""
        content = {"model": self.digest, **self.calibrated_threshold.to_json()}
        write_json(folder / _THRESHOLD, content)

    @classmethod
    def load(
        cls, folder: Path | str, device: str = "cpu", *, with_threshold: bool = True
    ) -> Detector:
        """Load a model folder. Raises ModelError when it is incomplete, damaged or too new.

        with_threshold : False leaves a threshold.json unread, for who sets another one.
        """
        folder = Path(folder)
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
        recipe = _recipe(folder, content, weights)
        calibrated = with_threshold and (folder / _THRESHOLD).exists()
        threshold = _threshold(folder, digest) if calibrated else None
        return cls(recipe=recipe, threshold=threshold, record=record, device=device, digest=digest)


def device_name(wanted: Literal["auto", "cpu", "cuda"]) -> str:
    """Return where networks run, cpu or cuda. Raises UsageError for cuda where there is none."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise UsageError("--device cuda: torch finds no GPU here. Use --device auto or cpu.")
    return "cuda" if found and wanted != "cpu" else "cpu"


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


def _threshold(folder: Path, digest: str) -> Threshold:
    content = _read_json(folder, _THRESHOLD)
    if content.pop("model", None) != digest:
        raise ModelError(
            f"{folder}: {_THRESHOLD} belongs to other weights. Run wholesight calibrate again."
        )
    try:
        return Threshold(**content)
    except (TypeError, ValueError) as fault:
        raise ModelError(
            f"{folder}: {_THRESHOLD} cannot be read ({fault}). Run wholesight calibrate again."
        ) from fault


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
