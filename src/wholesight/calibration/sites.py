"""A threshold for each site: scanners differ, and a promise holds for scans of the same kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from wholesight.calibration.choose import require_subjects, threshold_of
from wholesight.calibration.normals import Normals
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import Threshold
from wholesight.errors import UsageError


def threshold_of_each_site(
    normals: Normals,
    terms: Terms,
    *,
    min_lesion_mm3: float,
    doubts: Sequence[str] = (),
    void: str = "",
) -> dict[str, Threshold]:
    """Return {site: threshold}, each worked out from the scans of its site alone.

    Every promise is of one site. The other arguments are those of `threshold_of`. Raises
    UsageError as `require_sites`, and when the subjects of one site are too few for the terms.
    """
    require_sites((scan.subject, scan.site) for scan in normals.scans)
    found: dict[str, Threshold] = {}
    for site in normals.sites:
        with _naming(site):
            found[site] = threshold_of(
                normals.of_site(site),
                terms,
                min_lesion_mm3=min_lesion_mm3,
                doubts=doubts,
                void=void,
            )
    return found


def require_subjects_of_each_site(places: Iterable[tuple[str, str | None]], terms: Terms) -> None:
    """Refuse terms that the subjects of some site are too few for.

    places : (subject, site) of every scan. Raises UsageError that names the site, and as
    `require_sites`.
    """
    places = list(places)
    require_sites(places)
    sites = Counter(site for _, site in dict.fromkeys(places))
    for site, subjects in sites.items():
        with _naming(site):
            require_subjects(subjects, terms)


@contextmanager
def _naming(site: str | None) -> Iterator[None]:
    try:
        yield
    except UsageError as fault:
        raise UsageError(
            f"site {site}: {fault} Or leave the scans of this site out of the calibration; its "
            "scans then have no threshold."
        ) from fault


def require_sites(places: Iterable[tuple[str, str | None]]) -> None:
    """Refuse scans that do not each lie at one site with all others of their subject.

    places : (subject, site) of every scan. Raises UsageError that names the first.
    """
    first: dict[str, str] = {}
    for subject, site in places:
        if site is None:
            raise UsageError(
                f"--by site: the site of a scan of subject {subject} is not known. Name it in the "
                "column 'site' of cases.tsv, or leave out --by."
            )
        if first.setdefault(subject, site) != site:
            raise UsageError(
                f"--by site: subject {subject} has scans of two sites, {first[subject]} and "
                f"{site}, and would count in both. Leave one of them out, or leave out --by."
            )
