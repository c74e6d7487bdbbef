"""Which scans of a cohort are called abnormal: one decision over all of them.

A scan's p-value says how often a normal one would be as odd. Over a cohort p-values are judged
together (Benjamini-Hochberg), so that of the scans that are called at most a share `fdr` is
expected to be normal. What was decided therefore belongs to the run, never to one scan.

Axes: m scans that have a p-value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wholesight.calibration.conformal import (
    benjamini_hochberg,
    exact,
    fewest_callable,
    subjects_needed,
)
from wholesight.calibration.wording import percent
from wholesight.datasets.finding import count, some

# The code of a case's note that says why it has no p-value.
NO_P: Final = "N_NO_P"
# The code of the note of a case that is no new one to the model.
SEEN: Final = "N_SEEN"
# So many empty masks are no accident.
_MANY: Final = 5


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is called abnormal, and what limits that.

    fdr : share of normal scans that is expected among those called, at most. called : of every
    scan with a p-value whether it is. notes : {"code", "text"} of what a reader should know.
    """

    fdr: float
    called: dict[str, bool]
    notes: list[dict[str, str]]

    @property
    def line(self) -> str | None:
        """Say how many were called; None where no scan has a p-value.

        >>> Decision(fdr=0.05, called={"a": True, "b": False}, notes=[]).line
        '1 of 2 scans called abnormal at FDR 5 %'
        """
        if not self.called:
            return None
        yes, total = sum(self.called.values()), len(self.called)
        return f"{yes} of {count(total, 'scan')} called abnormal at FDR {percent(self.fdr)}"

    def answer(self, case: str) -> str:
        """Return yes, no, or nothing for a scan without a p-value."""
        return {True: "yes", False: "no", None: ""}[self.called.get(case)]

    def to_json(self) -> dict[str, Any]:
        """Return what run.json holds of it."""
        yes, total = sum(self.called.values()), len(self.called)
        return {"fdr": self.fdr, "tested": total, "abnormal": yes, "notes": self.notes}


def decide(
    records: Mapping[str, Mapping[str, Any]], *, fdr: float, doubts: Iterable[str] = ()
) -> Decision:
    """Decide over all scans of a run; failed ones are not among them and do not count.

    records : {case: its JSON}, of which p_value (None where there is none), normal_subjects (how
    many it was compared with), subject, site, threshold, flagged_ml and notes count. fdr : in
    (0, 1). doubts : what speaks against p-values from these normals, a sentence each; the
    thresholds' are added.

    >>> of = {"p_value": 0.01, "normal_subjects": 99, "subject": "s", "site": None, "notes": []}
    >>> of |= {"threshold": {"doubts": []}, "flagged_ml": 0.0}
    >>> decide({"a": of, "b": {**of, "p_value": None}}, fdr=0.05).called
    {'a': True}
    """
    tested = {case: each for case, each in records.items() if each["p_value"] is not None}
    p = np.array([each["p_value"] for each in tested.values()], np.float64)
    called = benjamini_hochberg(p, level=fdr).tolist()
    notes = [
        *_untested(records),
        *_seen(records),
        *_all_empty(records),
        *_few_normals(tested, fdr),
        *_several_of_one(tested),
        *_doubted(tested, doubts),
    ]
    return Decision(fdr=fdr, called=dict(zip(tested, called, strict=True)), notes=notes)


def _untested(records: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Say once why scans have no p-value; each one's own note says it too."""
    whys = [note["text"] for each in records.values() for note in each["notes"]
            if note["code"] == NO_P]  # fmt: skip
    if whys:
        left = len(records) - len(whys)
        counted = f"The FDR is over the other {left}." if left else "No scan is called abnormal."
        yield _note(NO_P, f"{count(len(whys), 'scan')} without a p-value. {whys[0]} {counted}")


def _seen(records: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    seen = [case for case, each in records.items()
            if any(note["code"] == SEEN for note in each["notes"])]  # fmt: skip
    if seen:
        yield _note(
            SEEN,
            f"{len(seen)} of {count(len(records), 'scan')} are of subjects that served the "
            f"training or the calibration ({some(seen)}). What is promised holds for new subjects "
            "alone, and the FDR counts these too: segment the others by themselves, such as with "
            "--subset test.",
        )


def _all_empty(records: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Say when masks tell no scan from another: a threshold may keep its promise by that."""
    if len(records) >= _MANY and not any(each["flagged_ml"] for each in records.values()):
        yield _note(
            "N_ALL_EMPTY",
            f"Nothing is flagged in any of these {len(records)} scans. If some should be abnormal, "
            "the threshold is too strict to show it: wholesight info MODEL says what it finds of "
            "made-up lesions. More calibration subjects or a larger alpha lower it; wholesight "
            "threshold sets another one on these maps.",
        )


def _few_normals(tested: Mapping[str, Mapping[str, Any]], fdr: float) -> Iterator[dict[str, str]]:
    """Warn when a single abnormal scan cannot be called, however odd it is; at some sites or all.

    Sites differ in how many normals they have, and so in the smallest p-value of their scans.
    """
    sites: dict[int, dict[str | None, None]] = {}
    for each in tested.values():
        sites.setdefault(each["normal_subjects"], {})[each["site"]] = None
    for normals, there in sorted(sites.items()):
        fewest = fewest_callable(normals, len(tested), level=fdr)
        if fewest > 1:
            where = some(map(str, there)) if len(sites) > 1 else ""
            means = (
                _what_that_means_at(where, fewest, len(tested), fdr)
                if where
                else _what_that_means(fewest, len(tested), fdr)
            )
            takes = _what_it_takes(len(tested), fdr, normals, where)
            yield _note("N_FEW_NORMALS", f"{_finest(normals)} {means} {takes}")


def _finest(normals: int) -> str:
    return (
        f"A p-value from {count(normals, 'normal subject')} is never below 1/{normals + 1} = "
        f"{1 / (normals + 1):.2g}."
    )


def _what_that_means_at(where: str, fewest: int, scans: int, fdr: float) -> str:
    """Say it of some sites' scans among all."""
    none = f"At FDR {percent(fdr)} over {scans} scans none of site {where}"
    if fewest > scans:
        return f"{none} can be called abnormal, however odd it is."
    return (
        f"{none} is called abnormal unless at least {fewest} scans are called together. A single "
        "abnormal scan goes unnoticed there, however odd it is."
    )


def _what_that_means(fewest: int, scans: int, fdr: float) -> str:
    at = f"At FDR {percent(fdr)}"
    if scans == 1:
        return f"{at} this scan cannot be called abnormal, however odd it is."
    if fewest > scans:
        return f"{at} none of these {scans} scans can be called abnormal, however odd it is."
    return (
        f"{at} over {scans} scans none is called abnormal unless at least {fewest} are called "
        f"together; {fewest} scans that score above every normal subject are. A single abnormal "
        "scan goes unnoticed, however odd it is."
    )


def _what_it_takes(scans: int, fdr: float, normals: int, where: str) -> str:
    """Say with how many normal subjects one odd scan, and any scan at all, can be called."""
    alone = subjects_needed(float(exact(fdr) / scans))
    together = subjects_needed(fdr)
    there = " there" if where else ""
    needed = f"It takes {count(alone, 'normal subject')}{there} for one scan to be called by itself"
    if normals < together < alone and not where:
        needed += f", and {together} for any to be called if all {scans} are odd"
    return (
        f"{needed}. Calibrate on more, or look at the scans in the order of their scores in "
        "results.tsv."
    )


def _several_of_one(tested: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    subjects = {each["subject"] for each in tested.values()}
    if len(subjects) < len(tested):
        yield _note(
            "N_SUBJECTS",
            f"The {len(tested)} scans are of {count(len(subjects), 'subject')}. The FDR counts "
            "scans, not subjects, and takes them to be independent, which scans of one subject "
            "are not.",
        )


def _doubted(
    tested: Mapping[str, Mapping[str, Any]], doubts: Iterable[str]
) -> Iterator[dict[str, str]]:
    """Pass on what is known against the calibration: p-values rest on the same normal scans."""
    of_thresholds = (doubt for each in tested.values() for doubt in each["threshold"]["doubts"])
    known = dict.fromkeys([*of_thresholds, *doubts])
    if tested and known:
        yield _note("N_DOUBT", f"What speaks against these p-values: {' '.join(known)}")


def _note(code: str, text: str) -> dict[str, str]:
    return {"code": code, "text": text}
