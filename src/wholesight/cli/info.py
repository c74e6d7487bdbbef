"""`wholesight info`: what a model or a scan is, and which methods there are."""

from __future__ import annotations

import shutil
import textwrap
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wholesight.cli.options import Series
from wholesight.errors import InputError, UsageError

if TYPE_CHECKING:
    from wholesight.detector import Detector

_NARROWEST, _WIDEST = 72, 120


def info(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL|FILE]", help="Model folder, NIfTI file or DICOM folder."),
    ] = None,
    methods: Annotated[
        bool,
        typer.Option(
            "--methods", help="List every method: source, needs, its recipes and their cost."
        ),
    ] = False,
    volume: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Which volume of a 4-D file, from 0.")
    ] = None,
    series: Series = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a model was trained on and promises, how a scan lies in space, or what there is.

    A scan that cannot be used gets its code and what to do; what is odd about one that can is told.
    """
    if methods == (path is not None):
        raise UsageError("Name one thing: a model folder, a NIfTI file, or --methods.")
    if path is None:
        typer.echo(_methods())
        return
    from wholesight.io.formats import is_image

    if path.is_dir() and not is_image(path):
        _require_model(path)
        facts: dict[str, Any] = _model(path)
    elif json:
        _echo_json(path, volume, series)
        return
    else:
        facts = _told(_scan(path, volume, series))
    if json:
        typer.echo(dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


def _require_model(folder: Path) -> None:
    """Say what tells of other folders, rather than that this is no model."""
    from wholesight.cli.speech import command
    from wholesight.detector.folder import RECORD

    if any((folder / name).exists() for name in (RECORD, "training")):
        return
    raise UsageError(
        f"{folder}: is no model, and info tells of one model or one scan. Of a data set: "
        f"{command('check', folder)}. Of a scan: name its file, or the folder that holds the files "
        "of one DICOM series."
    )


def _echo_json(path: Path, volume: int | None, series: str | None) -> None:
    """Print what a scan is as JSON; of one that is refused, its code and message, exit 3."""
    try:
        told = {"refused": None, **_scan(path, volume, series)}
    except InputError as fault:
        told = {"refused": {"code": fault.code, "text": str(fault)}, "file": str(path)}
    typer.echo(dumps(told, indent=1))
    if told["refused"]:
        raise typer.Exit(InputError.exit_code)


def _methods() -> str:
    """Every method with its reference and needs; below it its recipes, cheapest first."""
    from wholesight.methods import METHODS
    from wholesight.recipe import COSTS, catalogue

    recipes = sorted(catalogue(), key=lambda recipe: (COSTS.index(recipe.cost), recipe.name))
    column = max(len(recipe.name) for recipe in recipes)
    blocks = []
    for kind, method in METHODS.items():
        own = [recipe for recipe in recipes if recipe.method == kind]
        lines = [kind, *_wrapped(method.reference), *_wrapped(f"needs: {method.needs}")]
        for recipe in own:
            lines += _wrapped(recipe.summary, f"{recipe.name:<{column}}  {recipe.cost:<8}")
            if recipe.reference != method.reference:
                lines += _wrapped(f"source: {recipe.reference}", " " * (column + 10))
        blocks.append("\n".join(lines))
    legend = _wrapped(
        "Every method with its source and needs; below it its recipes for wholesight fit --recipe: "
        "name, how long training takes on two CPU cores, what it is."
    )
    return "\n\n".join(["\n".join(line.lstrip() for line in legend), *blocks])


def _wrapped(text: str, before: str = "") -> list[str]:
    """Lines of text, indented under what stands before the first of them."""
    first = f"  {before}  " if before else "  "
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first))


def _model(path: Path) -> dict[str, str]:
    from wholesight.detector import Detector

    detector = Detector.load(path)
    record = detector.record
    return {
        "model": detector.digest,
        "recipe": f"{detector.recipe.name}: {detector.recipe.summary}",
        "source": detector.recipe.reference,
        "trained": f"{record.get('started', '?')}, {record.get('normal_slices', '?')} normal "
        f"slices of {len(record.get('data', {}).get('subjects', []))} subjects, "
        f"seed {record.get('seed', '?')}",
        "wholesight": record.get("versions", {}).get("wholesight", "?"),
        **_thresholds(detector),
        **_costs(path, detector),
    }


def _thresholds(detector: Detector) -> dict[str, str]:
    """Every threshold with what it promises, and why it may not hold; a site's with its name."""
    from wholesight.calibration.wording import in_mm3

    if detector.by_site:
        found = {f" of {site}": threshold for site, threshold in detector.by_site.items()}
    elif detector.threshold:
        found = {"": detector.threshold}
    else:
        return {"threshold": "none: run wholesight calibrate"}
    told = {}
    for of, threshold in found.items():
        told[f"threshold{of}"] = f"{threshold.value:.6g}"
        told[f"smallest lesion{of}"] = in_mm3(threshold.min_lesion_mm3)
        told[f"statement{of}"] = threshold.statement
        if threshold.doubts:
            told[f"doubts{of}"] = " ".join(threshold.doubts)
    return told


def _costs(path: Path, detector: Detector) -> dict[str, str]:
    """Say what the threshold finds of made-up lesions, where calibrating has tried it."""
    from wholesight.detector.folder import read_report

    report = read_report(path, detector.digest)
    told = {}
    for site, group in (report or {}).get("groups", {}).items():
        tried = [cost for cost in group.get("cost") or () if cost["scans"]]
        if tried:
            best = max(tried, key=lambda cost: cost["found"])
            silent = " Silent detector: it keeps its promise by flagging next to nothing."
            told["made-up lesions" + (f" of {site}" if detector.by_site else "")] = (
                f"found at best in {100 * best['found']:.0f} % of {best['scans']} scans "
                f"({best['volume_ml']:g} ml, contrast {best['contrast']:+.0%})."
                f"{silent if group.get('silent') else ''}"
            )
    return told


def _scan(path: Path, volume: int | None, series: str | None) -> dict[str, Any]:
    """What a scan is, and the notes on it. Raises InputError where it would be refused."""
    from nibabel.orientations import aff2axcodes

    from wholesight.io.dicom import whole_scans
    from wholesight.io.reading import read_image

    ((image, own),) = whole_scans([path])  # of a slice the whole series
    found = read_image(image, volume=volume, series=series or own)
    return {
        "file": str(path),
        "voxels": list(found.shape),
        "spacing_mm": [float(f"{mm:.4g}") for mm in found.spacing_mm],
        "orientation": "".join(str(code) for code in aff2axcodes(found.affine)),
        "values": [float(found.voxels.min()), float(found.voxels.max())],
        "not_zero_percent": round(100 * float((found.voxels != 0).mean()), 1),
        "notes": [each._asdict() for each in found.notes],
    }


def _told(scan: dict[str, Any]) -> dict[str, str]:
    """What a scan is, in words."""
    low, high = scan["values"]
    notes = {each["code"]: f"{scan['file']}: {each['text']}" for each in scan["notes"]}
    return {
        "file": scan["file"],
        "voxels": " x ".join(map(str, scan["voxels"])),
        "spacing": " x ".join(f"{mm:g}" for mm in scan["spacing_mm"]) + " mm",
        "orientation": scan["orientation"],
        "values": f"{low:g} to {high:g}",
        "not zero": f"{scan['not_zero_percent']} %",
        **notes,
        "can be used": "yes, with notes" if notes else "yes",
    }
