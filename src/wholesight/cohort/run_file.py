"""run.json: by which model, with which thresholds and on which terms a folder of maps was made.

A run has one threshold, or one for each site; those of all sites were asked for alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import wholesight
from wholesight.calibration import RULES, Terms, Threshold
from wholesight.cohort.plan import RESERVED
from wholesight.detector import Detector
from wholesight.errors import InputError
from wholesight.prep.body import BODIES

RUN: Final = f"{RESERVED}.json"
# The layout of a run whose outputs are a derivative data set; others say none and lie flat.
BIDS: Final = "bids"
# Rules that may be about places; what is too small for one is then part of the promise.
_OF_PLACES: Final = ("fwe", "tolerance")


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
        **({"layout": run["layout"]} if "layout" in run else {}),
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
        and isinstance(value.get("min_lesion_mm3", 0.0), float | int)
        and isinstance(value.get("doubts", []), list)
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
    "layout": lambda value: value in (None, BIDS),
}
_OF_ALL: Final[dict[str, Callable[[Any], bool]]] = {"threshold": _is_threshold}
_BY_SITE: Final[dict[str, Callable[[Any], bool]]] = {"by_site": _are_thresholds}


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: damaged ({why}). Segment again, or remove it to judge the maps as they are.",
        code="E_FORMAT",
    )


def thresholds_of(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {site: threshold} of what a run.json says; under "" that of all sites.

    Empty for a run that is not ours.

    >>> thresholds_of({"threshold": {"rule": "crc"}})
    {'': {'rule': 'crc'}}
    """
    return run.get("by_site") or ({"": run["threshold"]} if run.get("threshold") else {})


def statement_of(run: Mapping[str, Any]) -> str:
    """Return in words what the run's threshold promises, or that of each site; "" without one."""
    return " ".join(
        f"{site}: {each['statement']}" if site else each["statement"]
        for site, each in thresholds_of(run).items()
    )


def doubts_of(run: Mapping[str, Any]) -> list[str]:
    """Return what speaks against what the run's thresholds promise, each a sentence.

    >>> doubts_of({"by_site": {"A": {"doubts": ["It is far."]}, "B": {"doubts": ["It is far."]}}})
    ['It is far.']
    """
    each = thresholds_of(run).values()
    return list(dict.fromkeys(doubt for one in each for doubt in one.get("doubts", ())))


def facts_of(run: Mapping[str, Any]) -> dict[str, str]:
    """Return rule, alpha and subjects, as far as the threshold has them; of every site.

    >>> each = {"rule": "fixed", "alpha": None, "subjects": 9}
    >>> facts_of({"by_site": {"A": each, "B": each}})
    {'rule': 'fixed (A), fixed (B)', 'subjects': '9 (A), 9 (B)'}
    """
    facts = {}
    for name in ("rule", "alpha", "subjects"):
        values = {site: each[name] for site, each in thresholds_of(run).items()}
        told = [
            f"{value} ({site})" if site else str(value)
            for site, value in values.items()
            if value is not None
        ]
        if told:
            facts[name] = ", ".join(told)
    return facts


class Asked(NamedTuple):
    """What a threshold on another map is to be set on. why : where it cannot be alike, else ""."""

    terms: Terms
    why: str


def asked_alike(run: Mapping[str, Any], *, alpha: float) -> Asked:
    """Return the terms on which a threshold on another map is set like that of the run.

    alpha : of the percentile, for maps that are not ours and wherever it stands in. A map value
    that somebody named is in the unit of the run's own maps and means nothing on others.
    """
    threshold = next(iter(thresholds_of(run).values()), None)
    if threshold is None:
        return Asked(Terms(rule="percentile", alpha=alpha), "")
    rule = threshold["rule"]
    # A family-wise threshold without a share is of a level that somebody named.
    if rule == "fixed" or (rule == "fwe" and threshold.get("share") is None):
        why = f"{rule} set a value in the unit of the maps, which means nothing on another map"
        return Asked(Terms(rule="percentile", alpha=alpha), why)
    options = {name: threshold[name] for name in ("confidence", "share") if threshold.get(name)}
    if rule in _OF_PLACES:
        options["min_lesion_mm3"] = threshold.get("min_lesion_mm3")
    return Asked(Terms(rule=rule, alpha=threshold["alpha"], **options), "")
