"""`wholesight calibrate MODEL DATA`: set the threshold on normal slices, without a label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholesight.cli.options import (
    Alpha,
    By,
    Confidence,
    Data,
    Device,
    DeviceName,
    Level,
    MinLesion,
    Modality,
    Model,
    Rule,
    RuleName,
    Share,
    terms_of,
    the_modality,
)

if TYPE_CHECKING:
    from wholesight.calibration import Normals, Terms
    from wholesight.datasets import Case, DataSet
    from wholesight.detector import Detector
    from wholesight.detector.cost import Cost


def calibrate(
    model: Model,
    data: Data,
    rule: Rule = RuleName.crc,
    alpha: Alpha = 0.05,
    confidence: Confidence = None,
    share: Share = 0.0,
    level: Level = None,
    min_lesion: MinLesion = None,
    by: By = None,
    allow_training_subjects: Annotated[
        bool,
        typer.Option(
            "--allow-training-subjects",
            help="Take subjects that the model was trained on, too; nothing is promised then.",
        ),
    ] = False,
    cost: Annotated[
        bool,
        typer.Option(help="Say what the threshold costs: insert made-up lesions and count."),
    ] = True,
    modality: Modality = None,
    device: Device = DeviceName.auto,
) -> None:
    """Set the threshold of a model on the normal slices of the subjects of `calibration`.

    It says what it promises about new healthy subjects, and replaces what was set before.
    """
    from wholesight.cli.calibration_report import show
    from wholesight.datasets import open_dataset
    from wholesight.datasets.scans import file_hashes
    from wholesight.io.files import make_folder

    terms = terms_of(
        rule=rule,
        alpha=alpha,
        confidence=confidence,
        share=share,
        level=level,
        min_lesion=min_lesion,
    )
    cases = _cases(open_dataset(data, modality=the_modality(modality)), allow_training_subjects)
    from wholesight.detector import Detector, device_name
    from wholesight.detector.report import report_of, thresholds_before

    # A damaged threshold is no reason not to set another.
    detector = Detector.load(model, device=device_name(device.value), with_threshold=False)
    detector.require_comparable(terms)
    make_folder(model)  # a folder that cannot be written is no surprise for the end
    if not allow_training_subjects:
        detector.require_unseen_subjects(case.subject for case in cases)
    _require_enough(cases, terms, by_site=by is not None)
    with _keeping(model):
        files = file_hashes(cases, channels=detector.recipe.prep.channels)
        void = _of_training(detector, files, allowed=allow_training_subjects)
        normals, left_out = _summaries(detector, cases)
        with _naming(left_out):
            found = detector.with_normals(
                normals, terms, by_site=by is not None, void=void, files=files
            )
        used = [case for case in cases if case.id not in left_out]
        costs = _costs(found, used) if cost else None
    report = report_of(
        found, terms, costs=costs, replaced=thresholds_before(model), left_out=left_out
    )
    found.save_calibration(model, report.to_json())
    show(report, model, channels=detector.recipe.prep.channels)


@contextmanager
def _keeping(model: Path) -> Iterator[None]:
    """Say after Ctrl-C what holds now: nothing has been written yet."""
    from wholesight.errors import Interrupted

    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"Stopped. {model} is as it was before: the threshold that it had still holds, if it "
            "had one."
        ) from stop


def _cases(data: DataSet, allow_training_subjects: bool) -> list[Case]:
    """Return the cases of `calibration`, else, where that is allowed, of `train`."""
    from wholesight.errors import InputError

    there = {case.split for case in data.cases}
    if "calibration" in there:
        return data.subset("calibration")
    if allow_training_subjects and "train" in there:
        return data.subset("train")
    place = data.root if data.root.is_dir() else data.root.parent
    last_resort = (
        " To set a threshold on the subjects of train, without any promise: "
        "--allow-training-subjects."
        if "train" in there
        else ""
    )
    raise InputError(
        f"{data.root}: no subject is there for calibration. Name in {place / 'split.json'} normal "
        'subjects that the model was not trained on: {"calibration": ["subject", ...]}, or give '
        f"another data set that has some.{last_resort}",
        code="E_NO_CASES",
    )


def _of_training(
    detector: Detector, hashes: Mapping[str, Mapping[str, str]], *, allowed: bool
) -> str:
    """Refuse what served the training, or, where it is allowed, say how much did, in a sentence."""
    from wholesight.datasets.finding import some

    _require_different(hashes)
    if not allowed:
        detector.require_unseen(hashes)
        return ""
    seen = sorted(
        subject
        for subject, files in hashes.items()
        if subject in detector.trained_on or detector.seen_images({subject: files})
    )
    if not seen:
        return ""
    return (
        f"{len(seen)} of the {len(hashes)} calibration subjects served the training of this model "
        f"({some(seen)}): it knows them, and maps them more calmly than new ones."
    )


def _require_different(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse one scan under the names of two subjects: it would count as two of n."""
    from wholesight.errors import UsageError
    from wholesight.io.content import VOXELS

    first: dict[str, str] = {}
    for subject, files in hashes.items():
        for name, sha in files.items():
            if name.endswith(VOXELS) and first.setdefault(sha, subject) != subject:
                raise UsageError(
                    f"{name.removesuffix(VOXELS)}: the same image is there for subject "
                    f"{first[sha]}, and would count as two subjects. Leave one "
                    "of them out, or name it by one subject."
                )


def _require_enough(cases: Sequence[Case], terms: Terms, *, by_site: bool) -> None:
    """Say that subjects are too few before scans are mapped, which may take an hour."""
    from wholesight.calibration.choose import require_subjects
    from wholesight.calibration.sites import require_subjects_of_each_site

    if by_site:
        require_subjects_of_each_site(((case.subject, case.site) for case in cases), terms)
    else:
        require_subjects(len({case.subject for case in cases}), terms)


def _summaries(detector: Detector, cases: Sequence[Case]) -> tuple[Normals, list[str]]:
    """Return the normal scans in summary, and the cases without a normal slice."""
    from wholesight.calibration import Normals

    scans = {}
    with _progress("mapping normal scans", len(cases)) as one_done:
        for case in cases:
            scans[case.id] = detector.normal_scan(case.subject, case.site, case.read())
            one_done()
    left_out = [case for case, scan in scans.items() if scan is None]
    return Normals(scan for scan in scans.values() if scan is not None), left_out


@contextmanager
def _naming(left_out: Sequence[str]) -> Iterator[None]:
    """Let who is told that subjects are too few know which ones did not count."""
    from wholesight.datasets.finding import some
    from wholesight.errors import UsageError

    try:
        yield
    except UsageError as fault:
        if not left_out:
            raise
        raise UsageError(f"{fault} No slice is normal in: {some(left_out)}.") from fault


def _costs(detector: Detector, cases: Sequence[Case]) -> dict[str | None, list[Cost]]:
    """Insert lesions in the scans that a threshold, or that of each site, was set on."""
    from wholesight.detector.cost import MOST_SCANS, evenly_picked, sensitivity_cost

    parts = {
        site: [case for case in cases if site is None or case.site == site]
        for site in detector.by_site or [None]
    }
    scans = sum(len(evenly_picked(part, MOST_SCANS)) for part in parts.values())
    with _progress("inserting made-up lesions", scans) as one_done:
        return {
            site: sensitivity_cost(detector.at_site(site), part, one_done=one_done)
            for site, part in parts.items()
        }


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show progress on a terminal's error stream; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import Progress

    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
