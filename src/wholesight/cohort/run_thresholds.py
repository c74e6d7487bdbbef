"""What run.json says of the thresholds of maps, and how another one is set alike.

A run has one threshold, or one for each site; those of all sites were asked for alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from wholesight.calibration import Terms


class Asked(NamedTuple):
    """What a threshold on another map is to be set on. why : where it cannot be alike, else ""."""

    terms: Terms
    why: str


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


def asked_alike(run: Mapping[str, Any], *, alpha: float) -> Asked:
    """Return the terms on which a threshold on another map is set like that of the run.

    alpha : of the percentile, for maps that are not ours. A map value that somebody named is in the
    unit of the run's own maps and means nothing on others; there the percentile stands in.
    """
    threshold = next(iter(thresholds_of(run).values()), None)
    if threshold is None:
        return Asked(Terms(rule="percentile", alpha=alpha), "")
    rule = threshold["rule"]
    # A family-wise threshold without a share is of a level that somebody named.
    if rule == "fixed" or (rule == "fwe" and threshold.get("share") is None):
        why = f"{rule} set a value in the unit of the maps, which means nothing on another map"
        return Asked(Terms(rule="percentile", alpha=0.05), why)
    options = {name: threshold[name] for name in ("confidence", "share") if threshold.get(name)}
    return Asked(Terms(rule=rule, alpha=threshold["alpha"], **options), "")
