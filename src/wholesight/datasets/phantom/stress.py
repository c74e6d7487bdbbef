"""A cohort of phantom heads with lesions of given size and contrast, for sensitivity curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wholesight.datasets import manifest
from wholesight.datasets.phantom.cohort import case_stream
from wholesight.datasets.phantom.compose import DEFAULT_GRID, phantom_head
from wholesight.datasets.phantom.field import Grid
from wholesight.datasets.phantom.output import (
    check_seed_and_spacing,
    image_path,
    mask_path,
    whole_folder,
    write_head,
    write_record,
)
from wholesight.datasets.phantom.stress_head import StressHead, stress_head
from wholesight.errors import UsageError
from wholesight.io.files import write_text

# Half a voxel is then at most an eighth of the volume.
_FEWEST_VOXELS = 4
# As large as those of `write_phantom`; a larger one would grow into the other hemisphere.
_LARGEST_ML = 60.0
# A weaker change would drown in the whole numbers of the file in some voxel of the lesion; a
# darker one would reach 0, which is the background.
WEAKEST, DARKEST, BRIGHTEST = 0.05, -0.6, 2.0

_WHAT = "made-up heads, some with a made-up lesion of given size and contrast; not scans of anyone"
_COLUMNS = ("case", "subject", "image", "mask", "split")


def write_stress(
    out: Path,
    *,
    normal: int,
    volumes_ml: Sequence[float],
    contrasts: Sequence[float],
    repeats: int,
    seed: int,
    spacing_mm: tuple[float, float, float] = DEFAULT_GRID.spacing_mm,
) -> list[str]:
    """Write `normal` healthy heads, and for each repeat one head with every lesion asked for.

    A repeat is one subject: one head, one place and one shape. It has a case for each volume and
    contrast, alike outside the lesion voxel by voxel. All contrasts of a volume have one mask;
    a larger volume holds the smaller ones. Nothing else varies: no rim, no mass effect.

    volumes_ml : nominal, from 4 voxels to 60 ml; the mask has it to half a voxel (at most 13 %).
    contrasts : signal relative to the healthy one, less 1, on average over the lesion: +0.5 is
    half as bright again. From -0.6 to 2, and 0.05 at least either way.

    Files: as `write_phantom`, but cases.tsv in place of split.json, because it can name the subject
    of a case. In phantom.json each case of a lesion also has `subject`, `volume_ml`, `contrast` and
    `realised_ml`. Healthy heads are those of `write_phantom` with this seed.

    A case depends on the seed, its repeat, volume and contrast (or its number), not on what else is
    asked for; so does its part of the split. Of every 12 healthy heads 7 are in train, 3 in
    calibration and 2, the fifth and the eleventh, in test. All lesions are in test.

    Returns the names of the cases, healthy ones first, the others by repeat, volume and contrast.
    Raises UsageError for a request that makes no sense and when nilearn, which carries the maps, is
    missing; OutputError when the folder is taken.
    """
    grid = Grid(spacing_mm)
    check_seed_and_spacing(seed, spacing_mm)
    _check_request(normal, repeats)
    _check_volumes(volumes_ml, grid)
    _check_contrasts(contrasts)
    with whole_folder(out) as unfinished:
        facts, rows = _write_normal(unfinished, normal, seed, grid)
        for number in range(repeats):
            head = stress_head(case_stream(seed, "stress", number), grid)
            mine = _write_repeat(unfinished, head, number, sorted(volumes_ml), sorted(contrasts))
            facts |= mine
            rows += [_row(case, _subject(number), "test") for case in mine]
        lines = ["\t".join(row) for row in (_COLUMNS, *rows)]
        write_text(unfinished / manifest.FILE, "\n".join(lines) + "\n")
        write_record(unfinished, what=_WHAT, seed=seed, grid=grid, cases=facts)
    return list(facts)


def _check_request(normal: int, repeats: int) -> None:
    if normal < 0 or repeats < 1:
        raise UsageError(
            f"A stress phantom of {normal} normal heads and {repeats} repeats cannot be made. "
            "Ask for at least one repeat, for example normal=24, repeats=3."
        )


def _check_volumes(volumes_ml: Sequence[float], grid: Grid) -> None:
    least_ml = _FEWEST_VOXELS * grid.voxel_ml
    for volume_ml in volumes_ml:
        if not least_ml <= volume_ml <= _LARGEST_ML:
            raise UsageError(
                f"A lesion of {volume_ml:g} ml cannot be made. With these voxels, give volumes "
                f"from {least_ml:.3g} ml ({_FEWEST_VOXELS} voxels) to {_LARGEST_ML:g} ml."
            )
    _check_distinct("volumes_ml", [_cubic_mm(volume_ml) for volume_ml in volumes_ml], "mm3")


def _check_contrasts(contrasts: Sequence[float]) -> None:
    for contrast in contrasts:
        if not (DARKEST <= contrast <= BRIGHTEST and abs(contrast) >= WEAKEST):
            raise UsageError(
                f"A lesion of contrast {contrast:g} cannot be made: 0 is no lesion, +0.5 half as "
                f"bright again, -0.5 half as bright. Give contrasts from {DARKEST:g} to "
                f"{-WEAKEST:g} and from {WEAKEST:g} to {BRIGHTEST:g}."
            )
    _check_distinct("contrasts", [_percent(contrast) for contrast in contrasts], "percent")


def _check_distinct(name: str, values: Sequence[int], unit: str) -> None:
    """Refuse none at all, and two that would give cases of one name."""
    if not values:
        raise UsageError(f"{name} is empty: no lesion would be made. Give at least one.")
    if len(set(values)) < len(values):
        raise UsageError(f"{name}: two of them are alike to 1 {unit}. Leave one out.")


def _cubic_mm(volume_ml: float) -> int:
    return round(1000 * volume_ml)


def _percent(contrast: float) -> int:
    """Level of the lesion in percent of the healthy signal."""
    return round(100 * (1 + contrast))


def _part(number: int) -> str:
    """Part of the split of a healthy head; see `write_stress`."""
    if number % 6 == 4:
        return "test"
    return "calibration" if number % 4 == 1 else "train"


def _subject(repeat: int) -> str:
    return f"stress-{repeat:03d}"


def _case(repeat: int, volume_ml: float, contrast: float) -> str:
    """Name a case by whole numbers, so that names sort by volume, then from dark to bright."""
    return f"{_subject(repeat)}-{_cubic_mm(volume_ml):06d}mm3-level{_percent(contrast):03d}"


def _row(case: str, subject: str, part: str) -> tuple[str, ...]:
    """One line of the manifest, in the order of _COLUMNS."""
    return case, subject, image_path(case), mask_path(case), part


def _write_normal(
    out: Path, normal: int, seed: int, grid: Grid
) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """Write the healthy heads; return what was drawn for each, and its line of the manifest."""
    facts, rows = {}, []
    for number in range(normal):
        case = f"phantom-normal-{number:03d}"
        head = phantom_head(case_stream(seed, "normal", number), lesion=False, grid=grid)
        facts[case] = write_head(out, case, head, grid)
        rows.append(_row(case, case, _part(number)))
    return facts, rows


def _write_repeat(
    out: Path, head: StressHead, number: int, volumes_ml: list[float], contrasts: list[float]
) -> dict[str, Any]:
    """Write every lesion of one head; return what was drawn for each."""
    facts = {}
    for volume_ml in volumes_ml:
        weight = head.weight(volume_ml)
        for contrast in contrasts:
            case = _case(number, volume_ml, contrast)
            drawn = write_head(out, case, head.with_lesion(weight, contrast), head.grid)
            facts[case] = {
                "subject": _subject(number),
                "volume_ml": float(volume_ml),
                "contrast": float(contrast),
                **drawn,
            }
    return facts
