"""What is in a data set and what is wrong with it: every file read, everything collected."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.orientations import aff2axcodes

from wholesight.datasets.case import Case
from wholesight.datasets.channels import channels_of
from wholesight.datasets.dataset import survey
from wholesight.datasets.finding import Finding, count, error, note, some
from wholesight.datasets.report import NO_SPLIT, Counts, Report
from wholesight.datasets.split import SPLITS
from wholesight.errors import InputError
from wholesight.prep.chain import require_channels
from wholesight.prep.intensity import negative_share
from wholesight.prep.orient import axial_axis
from wholesight.volume import Scan, Volume


class _Facts(NamedTuple):
    """What is kept of a case after its voxels are gone."""

    case: Case
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    orientation: str
    slices: int
    normal_slices: int
    lesion_ml: float
    lesion_outside: bool
    negative: bool
    digest: str


def check(
    path: Path,
    modalities: Sequence[str] = (),
    *,
    on_case: Callable[[int, int], None] | None = None,
) -> Report:
    """Read every file of a data set, strictly, and report.

    modalities : the image of each case, and others that are to be channels beside it.
    `on_case(done, all)` is called after each case. Raises UsageError when the modality must be
    chosen, and InputError when there is no data set here at all.
    """
    found = survey(path, modality=modalities[0] if modalities else None)
    channels = channels_of(found.cases, found.layout, modalities)
    facts: list[_Facts] = []
    findings = list(found.findings)
    for done, case in enumerate(found.cases, 1):
        scan, faults = case.attempt()
        if scan:
            faults = _unfit(scan, channels)
            facts.append(_facts(case, scan))
            findings += [
                note(each.code, case.id, f"{case.image}: {each.text}") for each in scan.image.notes
            ]
        findings += [error(fault.code, case.id, str(fault)) for fault in faults]
        if on_case:
            on_case(done, len(found.cases))
    findings += [*_leaks(facts), *_masks(facts), *_negative(facts), *_nothing_normal(facts)]
    return Report(
        root=str(path),
        layout=found.layout,
        usable=len(facts),
        unusable=len(found.cases) - len(facts),
        splits=_splits(facts),
        shapes=_counted(fact.shape for fact in facts),
        spacings_mm=_counted(fact.spacing_mm for fact in facts),
        orientations=_counted(fact.orientation for fact in facts),
        sites=_counted(fact.case.site for fact in facts if fact.case.site),
        findings=tuple(sorted(findings, key=lambda finding: finding.level)),
    )


def _unfit(scan: Scan, channels: Sequence[str]) -> list[InputError]:
    try:
        require_channels(scan, channels)
    except InputError as fault:
        return [fault]
    return []


def _facts(case: Case, scan: Scan) -> _Facts:
    image, inside, mask, _ = scan
    axis = axial_axis(image.affine)
    abnormal = mask.voxels if mask else np.zeros(image.shape, bool)
    across = tuple(other for other in range(3) if other != axis)
    normal = image.shape[axis] - int(abnormal.any(axis=across).sum()) if mask else 0
    return _Facts(
        case=case,
        shape=image.shape,
        spacing_mm=tuple(round(mm, 3) for mm in image.spacing_mm),
        orientation="".join(aff2axcodes(image.affine)),
        slices=image.shape[axis],
        normal_slices=normal,
        lesion_ml=float(abnormal.sum() * image.voxel_mm3 / 1000),
        lesion_outside=bool(inside and (abnormal & ~inside.voxels).any()),
        negative=negative_share(image.voxels) > 0,
        digest=_digest(image),
    )


def _digest(volume: Volume) -> str:
    """Hash the voxels, so that a copy that was compressed again is found too."""
    content = hashlib.sha256(repr(volume.shape).encode())
    content.update(np.ascontiguousarray(volume.voxels.T).data)
    return content.hexdigest()


def _splits(facts: list[_Facts]) -> dict[str, Counts]:
    by_split: dict[str, list[_Facts]] = defaultdict(list)
    for fact in facts:
        by_split[fact.case.split or NO_SPLIT].append(fact)
    return {name: _counts(by_split[name]) for name in (*SPLITS, NO_SPLIT) if name in by_split}


def _counts(facts: list[_Facts]) -> Counts:
    return Counts(
        cases=len(facts),
        subjects=len({fact.case.subject for fact in facts}),
        slices=sum(fact.slices for fact in facts),
        normal_slices=sum(fact.normal_slices for fact in facts),
        unmarked_slices=sum(fact.slices for fact in facts if not fact.case.has_truth),
        lesion_ml=round(sum(fact.lesion_ml for fact in facts), 3),
    )


def _counted(values: Iterable[Any]) -> dict[Any, int]:
    return dict(sorted(Counter(values).items()))


def _leaks(facts: list[_Facts]) -> list[Finding]:
    """Find images that are one and the same under different names."""
    same: dict[str, list[Case]] = defaultdict(list)
    for fact in facts:
        same[fact.digest].append(fact.case)
    findings = []
    for first, *others in same.values():
        if not others:
            continue
        names = some(case.id for case in (first, *others))
        # A subject in two splits is found elsewhere, whatever its images.
        if any(case.subject != first.subject for case in others):
            text = (
                f"{names}: the same voxels as different subjects, so a network may be judged on "
                "what it learnt from. Keep one of them."
            )
            findings.append(error("E_LEAK", first.id, text))
        else:
            findings.append(note("N_DUPLICATE", first.id, f"{names}: the same voxels."))
    return findings


def _masks(facts: list[_Facts]) -> list[Finding]:
    without: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        if not fact.case.has_truth and fact.case.split:
            without[fact.case.split].append(fact.case.id)
    findings = [
        note(
            "N_NO_MASK",
            split,
            f"{count(len(without[split]), 'case')} of {split} without a mask "
            f"({some(without[split])}): {_MEANS[split]}.",
        )
        for split in SPLITS
        if split in without
    ]
    outside = [fact.case.id for fact in facts if fact.lesion_outside]
    if outside:
        text = (
            f"{count(len(outside), 'case')} with abnormal voxels outside the body mask "
            f"({some(outside)}): they are not scored. Are the body masks right?"
        )
        findings.append(note("N_OUTSIDE", "inside", text))
    return findings


# What a missing mask means, by split.
_MEANS = {
    "train": "every slice is taken as normal",
    "calibration": "every slice is taken as normal",
    "validation": "nothing to score against",
    "test": "nothing to score against",
}


def _negative(facts: list[_Facts]) -> list[Finding]:
    names = [fact.case.id for fact in facts if fact.negative]
    if not names:
        return []
    text = (
        f"{count(len(names), 'case')} with values below 0 ({some(names)}). If they were "
        "standardised, 0 is not black in them: body 'nonzero' and intensity 'mode' refuse such "
        "scans. Use those from before that, or give body masks and choose intensity 'percentile'."
    )
    return [note("N_NEGATIVE", "image", text)]


def _nothing_normal(facts: list[_Facts]) -> list[Finding]:
    return [
        error(
            "E_NO_NORMAL",
            split,
            f"{split}: every slice is marked abnormal, so there is nothing to learn from. "
            "Add normal scans, or scans with normal slices.",
        )
        for split, counts in _splits(facts).items()
        if split in ("train", "calibration") and counts.slices == counts.abnormal_slices
    ]
