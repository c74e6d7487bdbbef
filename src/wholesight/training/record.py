"""How a model came about: enough to say what it is, and to train it again."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("wholesight", "torch", "lightning", "numpy", "scipy", "scikit-image", "nibabel")


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
