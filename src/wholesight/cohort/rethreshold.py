"""Another threshold for maps that are there: new masks, without network, scans and model.

The result is a full run, as `segment` would have written it: masks, JSONs, tables, run.json, and
the maps. These are hard links to the source's, so they take no room, `evaluate` judges ranking and
masks together, and yet another threshold may start from here; where links cannot be, they are
copied. The source is never written to, and either folder can be removed without the other.

The body is not stored, and needs not be: a map is exactly 0 outside it. What is exactly 0 within it
cannot lie above a threshold of 0 or more either. For the two cases where it could matter, a
threshold below 0 and holes to fill, the number of the body's voxels in the case's JSON says whether
any is 0; then the case fails rather than come out otherwise than segment's.

Axes: i j k file voxels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wholesight.calibration import SCREENING, Normals, Terms, Threshold, threshold_of
from wholesight.calibration.sites import threshold_of_each_site
from wholesight.cleanup import Cleanup
from wholesight.cohort.decision import NO_P
from wholesight.cohort.derivative import (
    OF_A_DERIVATIVE,
    copy_sidecar,
    describe_again,
    unlinked,
)
from wholesight.cohort.ledger import FAILURES, RESULTS
from wholesight.cohort.notes import ON_MASK, notes_on_mask
from wholesight.cohort.run import Ended, Log, Tell, conclude
from wholesight.cohort.run_file import RUN, facts_with
from wholesight.cohort.source import Mapped, Source, read_case
from wholesight.cohort.worker import mask_facts, rarity
from wholesight.detector import NORMALS, Segmentation
from wholesight.errors import InputError, UsageError, nearest
from wholesight.io.files import make_folder, require_new, sha256, write_bytes, write_json
from wholesight.io.formats import FORMATS, ROLES, format_of
from wholesight.io.outputs import derivative


class Group(NamedTuple):
    """A threshold and the normals that it and the p-values come from; of one site or of all."""

    threshold: Threshold
    normals: Normals


Groups = Mapping[str | None, Group]


def set_thresholds(source: Source, terms: Terms, *, by_site: bool) -> Groups:
    """Set the threshold on the run's normals, or one for each site; the key None is for all sites.

    Raises UsageError when the terms ask for more than the normals give, and for a promise on maps
    that are scaled slice by slice.
    """
    normals, void, doubts = source.calibration
    least = source.cleanup.min_lesion_mm3
    # Normals have scores where maps of two scans can be compared.
    if terms.rule in SCREENING and normals.scores is None:
        raise UsageError(
            f"--rule {terms.rule}: {source.run['recipe']} scales the map of every slice by itself, "
            "so no threshold can promise anything about a healthy scan. Choose --rule percentile "
            "or fixed, which promise nothing."
        )
    if not by_site:
        found = threshold_of(normals, terms, min_lesion_mm3=least, doubts=doubts, void=void)
        return {None: Group(found, normals)}
    if any(scan.site is None for scan in normals.scans):
        raise UsageError(
            "--by site: of some calibration scans the site was not known when the model was "
            "calibrated. Name it in the column 'site' of cases.tsv, then: wholesight calibrate "
            "MODEL DATA --by site"
        )
    each = threshold_of_each_site(normals, terms, min_lesion_mm3=least, doubts=doubts, void=void)
    return {site: Group(found, normals.of_site(site)) for site, found in each.items()}


def rethreshold(source: Source, groups: Groups, out: Path, *, fdr: float, tell: Tell) -> Ended:
    """Write the masks that the thresholds give into a new folder, and decide over all cases.

    Scans that have no map in the source failed there; they stay listed as they were.

    tell : called with (case, what became of it) after each. What cannot be finished, by Ctrl-C or
    a full disk, leaves nothing behind. Raises UsageError when `out` holds anything, OutputError.
    """
    require_new(out)
    log = Log(failures=list(source.failures))
    with _all_or_nothing(out, source):
        make_folder(out)
        content = source.calibration.normals.to_bytes()
        write_bytes(out / NORMALS, content)
        linked = source.is_bids and describe_again(out, source.folder)
        for case in source.cases:
            with log.isolated(case, source.record_of(case)):
                log.records[case] = _case(source, groups, case, out, linked=linked)
            tell(case, log.spoken(case))
        facts = _facts(source, groups, hashlib.sha256(content).hexdigest())
        normals = [group.normals for group in groups.values()]
        scans = len(source.cases) + source.missing
        return conclude(out, log, facts, normals, scans=scans, fdr=fdr)


def _case(source: Source, groups: Groups, case: str, out: Path, *, linked: bool) -> dict[str, Any]:
    """Write mask, map and JSON of one case. Returns the JSON's content.

    linked : whether a derivative data set says where the scans are, so that it may point at them.
    """
    clock = time.monotonic()
    mapped = read_case(source, case)
    read_s = time.monotonic() - clock
    group = _group(groups, mapped)
    found = _segmented(mapped, source.cleanup, group.threshold)
    outputs = mapped.outputs
    if outputs.sidecar:
        make_folder((out / outputs.record).parent)
        copy_sidecar(source.folder / outputs.sidecar, out / outputs.sidecar, linked=linked)
    format_of(mapped.path).write(found.mask, out / outputs.mask, mapped.path)
    _link(mapped.path, out / outputs.anomaly)
    rare = rarity(group.normals, found.score)
    record = {
        **(mapped.record if linked else unlinked(mapped.record)),
        "threshold": group.threshold.to_json(),
        **mask_facts(found.mask),
        **rare,
        "outputs": {name: sha256(out / name) for name in outputs.before_record},
        "notes": _notes(mapped, group.threshold, found, rare),
        "seconds": {"read": round(read_s, 3), "total": round(time.monotonic() - clock, 3)},
    }
    write_json(out / outputs.record, record)
    return record


def _segmented(mapped: Mapped, cleanup: Cleanup, threshold: Threshold) -> Segmentation:
    anomaly = mapped.anomaly
    body = anomaly.voxels != 0
    hidden = mapped.record["body_voxels"] - int(np.count_nonzero(body))
    if hidden and (threshold.value < 0 or cleanup.fill_holes):
        raise InputError(
            f"{mapped.path}: {hidden} voxels of the body are exactly 0, as is all outside it, and "
            "with a threshold below 0, or holes to fill, it matters which. Set this threshold by "
            "wholesight calibrate, and segment the scan again.",
            code="E_BODY",
        )
    mask = cleanup.dropping_below(threshold.min_lesion_mm3)(
        anomaly.voxels, body, threshold=threshold.value, voxel_mm3=anomaly.voxel_mm3
    )
    return Segmentation(anomaly, anomaly.like(mask), anomaly.like(body), mapped.record["score"])


def _group(groups: Groups, mapped: Mapped) -> Group:
    """Return what holds at the case's site."""
    if None in groups:
        return groups[None]
    site = mapped.record["site"]
    if site in groups:
        return groups[site]
    sites = [name for name in groups if name is not None]
    what = "no site is named for this scan" if site is None else f"site '{site}' is none of them"
    raise InputError(
        f"{mapped.path}: the normal scans give a threshold for each site, and {what}. "
        f"{nearest(str(site), sites)} Leave out --by, or segment the scan again with its site.",
        code="E_SITE",
    )


def _notes(
    mapped: Mapped, threshold: Threshold, found: Segmentation, rare: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return the notes on the new mask, and those that another threshold does not change."""
    new = notes_on_mask(threshold, found, body_voxels=mapped.record["body_voxels"])
    gone = {*ON_MASK, *([] if rare["p_value"] is None else [NO_P])}
    return [*new, *(note for note in mapped.record["notes"] if note["code"] not in gone)]


def _facts(source: Source, groups: Groups, normals: str) -> dict[str, Any]:
    """Return what run.json says: that of the source, with other thresholds, and which source."""
    return {
        **facts_with(source.run, {site: group.threshold for site, group in groups.items()}),
        "normals": normals,
        "maps": {"folder": source.folder.resolve().name, "started": source.run.get("started")},
    }


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where that cannot be."""
    # A link to a link would point to nothing in another folder.
    if not source.is_symlink():
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system, one without links, or a file of somebody else
        else:
            return
    write_bytes(target, source.read_bytes())


@contextlib.contextmanager
def _all_or_nothing(out: Path, source: Source) -> Iterator[None]:
    """Take away what was written when not all of it was, Ctrl-C included."""
    was_there = out.exists()
    try:
        yield
    except BaseException:
        names = [name for case in source.cases for name in _possible(case, bids=source.is_bids)]
        with contextlib.suppress(OSError):
            for name in (*names, NORMALS, RESULTS, FAILURES, RUN, *OF_A_DERIVATIVE):
                (out / name).unlink(missing_ok=True)
            # The deepest first; "." is the folder itself.
            for folder in sorted({place for name in names for place in Path(name).parents})[:0:-1]:
                if (out / folder).is_dir():
                    (out / folder).rmdir()
            if not was_there:
                out.rmdir()
        raise


def _possible(case: str, *, bids: bool) -> list[str]:
    """Return every file that may be written for a case."""
    if bids:
        return [name for unit in (True, False) for name in derivative(case, unit=unit).all]
    endings = {each.outputs[role] for each in FORMATS.values() for role in ROLES}
    outputs = [f"_{role}{end}" for role in ROLES for end in sorted(endings)]
    return [f"{case}{end}" for end in (*outputs, ".json")]
