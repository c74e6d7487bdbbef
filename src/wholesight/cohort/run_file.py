"""run.json: by which model, with which thresholds and on which terms a folder of maps was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import wholesight
from wholesight.calibration import RULES, Threshold
from wholesight.cohort.plan import RESERVED
from wholesight.detector import Detector
from wholesight.errors import InputError
from wholesight.prep.body import BODIES

RUN: Final = f"{RESERVED}.json"


def run_facts(detector: Detector) -> dict[str, Any]:
    """Return what is known of a run before its first scan. Raises ModelError: no threshold."""
    resolved = detector.recipe.resolved
    model = {
        "recipe": detector.recipe.name,
        "model": detector.digest,
        "body": resolved["prep"]["body"],
        "cleanup": resolved["cleanup"],
    }
    return facts_with(model, detector.by_site or {None: detector.calibrated_threshold})


def facts_with(run: Mapping[str, Any], thresholds: Mapping[Any, Threshold]) -> dict[str, Any]:
    """Return what is known of maps of the same model as a run's, at these thresholds.

    thresholds : {site: threshold}, the site None where one is for all.
    """
    each = {site: threshold.to_json() for site, threshold in thresholds.items()}
    return {
        "wholesight": wholesight.__version__,
        "recipe": run["recipe"],
        "model": run["model"],
        **({"threshold": each[None]} if None in each else {"by_site": each}),
        "body": run.get("body"),
        "cleanup": run["cleanup"],
    }


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what run.json says of the run in a folder; None when the maps are not ours.

    Runs of earlier versions are read too: what they do not say is missing. Raises InputError when
    it was ours and is damaged: the maps would be judged under a false name.
    """
    path = folder / RUN
    try:
        run = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise _damaged(path, str(fault)) from fault
    # Another tool may well write a run.json of its own.
    if not isinstance(run, dict) or not {"wholesight", "model"} <= run.keys():
        return None
    parts = {**_PARTS, **(_BY_SITE if run.get("by_site") is not None else _OF_ALL)}
    missing = [name for name, right in parts.items() if not right(run.get(name))]
    if missing:
        raise _damaged(path, f"{missing[0]} is missing or makes no sense")
    return run


def _is_threshold(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"rule", "alpha", "subjects", "statement"} <= value.keys()
        and value["rule"] in tuple(RULES)
        and _is_share(value["alpha"], needed=value["rule"] != "fixed")
        and _is_share(value.get("confidence"))
        and (value.get("share") == 0 or _is_share(value.get("share")))
    )


def _is_share(value: Any, *, needed: bool = False) -> bool:
    return (value is None and not needed) or (isinstance(value, float) and 0 < value < 1)


def _are_thresholds(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_threshold, value.values()))


def _is_body(value: dict[str, Any]) -> bool:
    return isinstance(value.get("kind"), str) and value["kind"] in BODIES


# What a reader of run.json relies on.
_PARTS: Final[dict[str, Callable[[Any], bool]]] = {
    "recipe": lambda value: isinstance(value, str),
    # Not there in the first runs that were written.
    "body": lambda value: value is None or (isinstance(value, dict) and _is_body(value)),
}
_OF_ALL: Final[dict[str, Callable[[Any], bool]]] = {"threshold": _is_threshold}
_BY_SITE: Final[dict[str, Callable[[Any], bool]]] = {"by_site": _are_thresholds}


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: damaged ({why}). Segment again, or remove it to judge the maps as they are.",
        code="E_FORMAT",
    )
