"""How a model came about: enough to say what it is, and to train it again."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wholesight.errors import ModelError, UsageError

_PACKAGES = ("wholesight", "torch", "lightning", "numpy", "scipy", "scikit-image", "nibabel")


PLAN = "plan.json"


def require_same_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Refuse to go on with another recipe, seed or data than training began with.

    Raises UsageError that names the first difference, ModelError when nobody knows how it began.
    """
    try:
        begun = json.loads((folder / PLAN).read_bytes())
    except (OSError, ValueError) as fault:
        raise ModelError(
            f"{folder / PLAN}: cannot be read, so it is not known what to go on with. Delete the "
            "model folder and run without --resume."
        ) from fault
    # Through JSON, so that both sides are plain data.
    difference = first_difference(begun, json.loads(json.dumps(plan)))
    if difference:
        raise UsageError(
            f"This training began otherwise: {difference}. Use the same recipe, --set, --seed and "
            "data with --resume, or choose another --out."
        )


def first_difference(begun: Any, now: Any, key: str = "") -> str | None:
    """Name the first place where two pieces of plain data differ; None where they do not."""
    if isinstance(begun, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*begun, *now]):
            found = first_difference(begun.get(name), now.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    if isinstance(begun, list) and isinstance(now, list) and len(begun) == len(now):
        numbered = dict(enumerate(begun)), dict(enumerate(now))
        return first_difference(*numbered, key)
    return None if begun == now else f"{key} was {begun}, now it is {now}"


def software() -> dict[str, Any]:
    """Return versions, platform and, in a checkout, the state of git."""
    return {
        "versions": {"python": platform.python_version(), **{n: version(n) for n in _PACKAGES}},
        "platform": platform.platform(),
        "git": _git(),
    }


def training_data(hashes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return subjects and file hashes; {subject: {"case/role": sha256}}, no paths."""
    return {"subjects": sorted(hashes), "files": {s: dict(hashes[s]) for s in sorted(hashes)}}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that wholesight runs from; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _run(root, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_run(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
