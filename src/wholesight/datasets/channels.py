"""Which channels are meant by modalities that a user names one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wholesight.datasets.case import Case
from wholesight.errors import UsageError, nearest


def channels_of(cases: Iterable[Case], layout: str, modalities: Sequence[str]) -> list[str]:
    """Return the channels of several modalities, as the data set calls them; none of one alone.

    Of BIDS the first may have entities: they say which images are meant, and the others of a case
    have the same. Raises UsageError for a name that no case has.
    """
    if not modalities[1:]:
        return []
    first, *others = modalities
    there = {name for case in cases for name, _ in case.modalities}
    by_name = {name.casefold(): name for name in there}
    names = []
    for name in (first.rpartition("_")[2] if layout == "bids" else first, *others):
        if name.casefold() not in by_name:
            legal = nearest(name, there) if there else "The cases have one image each."
            raise UsageError(f"--modality {name}: no case has a channel of this name. {legal}")
        names.append(by_name[name.casefold()])
    return names
