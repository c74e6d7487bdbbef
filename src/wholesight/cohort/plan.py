"""From what the user named to a list of jobs, all decided before the first is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from wholesight.cohort.inputs import case_folder, is_case_folder, left_out, plain_cases, scans_in
from wholesight.datasets import LAYOUTS, Case, open_dataset
from wholesight.datasets.split import known_as
from wholesight.errors import InputError, UsageError, nearest
from wholesight.io.dicom import is_dicom
from wholesight.io.formats import is_image, stem
from wholesight.io.outputs import Outputs, derivative, flat

# run.json beside the outputs records the run itself.
RESERVED: Final = "run"


class Job(NamedTuple):
    """One scan to segment: its case without the truth, and the stem of its outputs.

    bids : the BIDS data set that it is of, where the outputs are to be a derivative of it.
    """

    case: Case
    stem: str
    bids: Path | None = None

    def outputs(self, *, unit: bool) -> Outputs:
        """Return where its outputs go. unit : whether the model's maps lie in [0, 1]."""
        if self.bids is None:
            return flat(self.stem, self.case.image)
        return derivative(self.stem, unit=unit)


class Plan(NamedTuple):
    """What is to be segmented, and the files among the inputs that are no scans."""

    jobs: list[Job]
    left_out: list[Path]


def plan(
    inputs: Sequence[Path],
    *,
    subset: str = "all",
    participants: Sequence[str] = (),
    modality: str | None = None,
    site: str | None = None,
    volume: int | None = None,
    series: str | None = None,
) -> Plan:
    """Turn files, folders of files, case folders and data sets into jobs, in the order given.

    Masks and maps of a scan that is among the inputs or beside them are left out. subset : which
    split of a data set. participants : which subjects of it, all where none is named. modality :
    which image of a case. site : where those scans were acquired
    of which the data set does not say it. volume : which one of a series, of every scan of which
    the data set does not say it. series : likewise, which DICOM series of a folder. Raises
    InputError when nothing is there, UsageError when an option applies to nothing or two inputs
    would write the same output.

    Outputs are a derivative of BIDS where all scans are of one BIDS data set.
    """
    if not any(path.exists() for path in inputs):
        raise InputError(f"{inputs[0]}: no such file or folder.", code="E_NOT_FOUND")
    kinds = {path: _kind(path) for path in inputs}
    _refuse_idle_options(kinds, subset, participants, modality)
    files = [file for path, kind in kinds.items() for file in _FILES[kind](path)]
    dropped = left_out(files)
    cases = plain_cases([file for file in files if file not in dropped])
    jobs: list[Job] = []
    for path, kind in kinds.items():
        if kind == "data set":
            jobs += _of_dataset(path, subset, modality)
        elif kind == "case":
            case, others = case_folder(path, modality)
            dropped += others
            jobs.append(Job(case, stem(case.image)))
        else:
            jobs += [
                Job(cases[file], cases[file].id) for file in _FILES[kind](path) if file in cases
            ]
    _require_jobs(jobs, dropped)
    jobs = _of_participants(jobs, participants)
    if len({job.bids for job in jobs}) > 1:
        jobs = [job._replace(bids=None) for job in jobs]
    _refuse_collisions(jobs)
    return Plan(_chosen(_sited(jobs, site), volume, series), dropped)


def _kind(path: Path) -> str:
    """Return how an input is to be read: file, folder, case or data set.

    A folder with a DICOM series counts as a file: it is one scan.
    """
    if not path.is_dir() or (is_image(path) and not LAYOUTS["manifest"].fits(path)):
        # A missing file is a failed case of the cohort, with its own message, not its end.
        is_file = is_image(path) or not path.exists() or is_dicom(path)
        return "file" if is_file else "data set"
    scans = scans_in(path)
    if LAYOUTS["manifest"].fits(path) or not scans:
        return "data set"
    # Of a data set in folders `masks` may look like a DICOM series, and is no scan.
    if all(scan.is_dir() for scan in scans) and any(each.fits(path) for each in LAYOUTS.values()):
        return "data set"
    return "case" if is_case_folder(path) else "folder"


# The files that an input names by itself; of the other kinds a layout says which are scans.
_FILES: Final = {
    "file": lambda path: [path],
    "folder": scans_in,
    "case": lambda _: [],
    "data set": lambda _: [],
}


def _of_dataset(path: Path, subset: str, modality: str | None) -> list[Job]:
    found = open_dataset(path, modality=modality)
    # Over the whole set, so that a case's outputs are called alike whatever subset is asked for.
    by_id = _stems_mislead(found.cases)
    bids = path if found.layout == "bids" else None
    # Without its truth: a broken lesion mask is no reason not to segment, nor is it ever looked at.
    cases = [replace(case, mask=None, normal=False) for case in found.subset(subset)]
    return [Job(case, case.id if by_id else stem(case.image), bids) for case in cases]


def _of_participants(jobs: list[Job], named: Sequence[str]) -> list[Job]:
    """Keep the scans of some subjects. Raises UsageError for one that has none."""
    if not named:
        return jobs
    there = {job.case.subject for job in jobs}
    wanted = {known_as(name, there) for name in named}
    unknown = sorted(wanted - there)
    if unknown:
        raise UsageError(
            f"--participant-label {unknown[0]}: there is no scan of this subject. "
            f"{nearest(unknown[0], there)}"
        )
    return [job for job in jobs if job.case.subject in wanted]


def _sited(jobs: list[Job], site: str | None) -> list[Job]:
    """Name the site of the scans whose data set names none."""
    if site is None:
        return jobs
    if all(job.case.site is not None for job in jobs):
        raise UsageError(
            f"--site {site}: the data set names the site of every scan itself. Leave out --site."
        )
    return [job._replace(case=replace(job.case, site=job.case.site or site)) for job in jobs]


def _chosen(jobs: list[Job], volume: int | None, series: str | None) -> list[Job]:
    """Name the volume of the scans whose data set names none, and the series that is asked for."""
    return [
        job._replace(
            case=replace(
                job.case,
                volume=volume if job.case.volume is None else job.case.volume,
                # A slice stands for its series, unless another one is asked for.
                series=job.case.series if series is None else series,
            )
        )
        for job in jobs
    ]


def _stems_mislead(cases: Sequence[Case]) -> bool:
    """Whether two images share a file name, or one is called like another case."""
    stems = [stem(case.image) for case in cases]
    ids = {case.id for case in cases}
    own = {case.id: name for case, name in zip(cases, stems, strict=True)}
    return len(set(stems)) < len(stems) or any(
        name in ids and name != case for case, name in own.items()
    )


def _refuse_idle_options(
    kinds: dict[Path, str], subset: str, participants: Sequence[str], modality: str | None
) -> None:
    there = set(kinds.values())
    if participants and there != {"data set"}:
        raise UsageError(
            f"--participant-label {participants[0]}: an input is no data set, so nothing says "
            "whose scan it is. Give data sets alone, or leave it out."
        )
    if subset != "all" and "data set" not in there:
        raise UsageError(
            f"--subset {subset}: none of the inputs is a data set, so there are no splits to "
            "choose from. Give the data set's folder or its cases.tsv, or leave out --subset."
        )
    if modality is not None and not there & {"data set", "case"}:
        raise UsageError(
            f"--modality {modality}: the inputs are single scans, not a data set or the folder of "
            "a case. Name the files of this modality, or leave out --modality."
        )


def _require_jobs(jobs: Sequence[Job], dropped: Sequence[Path]) -> None:
    if jobs:
        return
    if dropped:
        raise UsageError(
            f"{dropped[0]}: by its name a mask or a map of the scan that lies beside it, as is "
            "everything that was named. Name the scans; rename a scan that is called like a mask."
        )
    raise InputError("No scan was named.", code="E_NO_CASES")


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    # A mask's name is the same whatever the model's maps are.
    masks = [job.outputs(unit=False).mask for job in jobs]
    twice = [name for name, count in Counter(masks).items() if count > 1]
    if twice:
        those = ", ".join(
            str(job.case.image) for job, mask in zip(jobs, masks, strict=True) if mask == twice[0]
        )
        raise UsageError(
            f"{len(twice)} output names would be written more than once, the first for {those}. "
            "Rename the files, or segment them into different --out folders."
        )
    reserved = next((job for job in jobs if job.stem.lower() == RESERVED), None)
    if reserved:
        raise UsageError(
            f"{reserved.case.image}: its results would be written to {RESERVED}.json, which "
            "records the run. Rename the scan."
        )
