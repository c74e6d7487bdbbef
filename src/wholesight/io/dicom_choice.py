"""Which of the slices that lie in one folder are the scan.

Slices of one series and one orientation belong together. Of what lies in the folder exactly one
such group may be a volume, or the user says which; what else is there, such as a localiser or a
report, is told in a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wholesight.errors import InputError
from wholesight.io.dicom import mark
from wholesight.io.dicom_instance import Instance, Slice
from wholesight.io.dicom_stack import places_of
from wholesight.volume import Note


class Group(NamedTuple):
    """Parallel slices of one series. known_by : the marks that choose it; the first alone is its.

    series : its UID. number : of the series, for a message.
    """

    series: str
    known_by: tuple[str, ...]
    number: str
    slices: list[Slice]

    @property
    def is_stack(self) -> bool:
        """Whether its slices lie at several places."""
        return len(places_of([each.plane for each in self.slices])) > 1


def choose(
    instances: Sequence[Instance], series: str | None
) -> tuple[list[Slice], tuple[Note, ...]]:
    """Return the slices of the scan, in the order of the files, and what is to be told.

    series : the mark of a series, or of one of its orientations. Raises InputError, without a path,
    when nothing is a volume or several things are.
    """
    groups = _groups(instances)
    stacks = [group for group in groups if group.is_stack]
    if series is not None:
        stacks = [group for group in stacks if series in group.known_by]
    if len(stacks) > 1 or (series is not None and not stacks):
        raise _undecided(stacks or groups, asked=series)
    if not stacks:
        raise _nothing(groups, instances)
    (chosen,) = stacks
    _refuse_broken(chosen, instances)
    # Who names a series knows of the others, and not of slices of it that lie otherwise.
    counted = [each for each in groups if series is None or each.series == chosen.series]
    unfit = sum(each.unfit is not None for each in instances) if series is None else 0
    return chosen.slices, tuple(_left_out(len(counted) - 1, unfit))


def _groups(instances: Sequence[Instance]) -> list[Group]:
    """Group slices by series and orientation, in the order in which they come."""
    by_series: dict[str, list[list[Slice]]] = {}
    numbers: dict[str, str] = {}
    for instance in instances:
        parallel = by_series.setdefault(instance.series, []) if instance.slices else []
        numbers[instance.series] = instance.number
        for each in instance.slices:
            own = next((g for g in parallel if g[0].plane.parallel_to(each.plane)), None)
            if own is None:
                parallel.append([each])
            else:
                own.append(each)
    return [
        Group(series, _known_by(series, len(parallel), at), numbers[series], slices)
        for series, parallel in by_series.items()
        for at, slices in enumerate(parallel)
    ]


def _known_by(series: str, orientations: int, at: int) -> tuple[str, ...]:
    whole = mark(series)
    return (whole,) if orientations == 1 else (f"{whole}-{at + 1}", whole)


def _undecided(groups: Sequence[Group], *, asked: str | None) -> InputError:
    listed = "; ".join(
        f"series {group.number}, {len(group.slices)} slices: --series {group.known_by[0]}"
        for group in groups
    )
    what = (
        f"no volume here is of series {asked}. There are"
        if asked is not None and not any(asked in group.known_by for group in groups)
        else "several volumes lie here"
    )
    return InputError(
        f"{what}: {listed or 'none'}. Choose one of them (the UID of a series does too; in a "
        "manifest, the column 'series'), or put each into a folder of its own.",
        code="E_SERIES",
    )


def _nothing(groups: Sequence[Group], instances: Sequence[Instance]) -> InputError:
    if groups:
        return InputError(
            "one slice alone, or slices that all lie at one place, are no volume. Name the folder "
            "of the whole series.",
            code="E_ONE_SLICE",
        )
    unfit = [each.unfit for each in instances if each.unfit is not None]
    first = max(unfit, key=unfit.count)
    of = f" ({unfit.count(first)} of {len(instances)} files)" if len(instances) > 1 else ""
    return InputError(f"{first.text.rstrip('.')}{of}. {first.remedy}", code=first.code)


def _refuse_broken(chosen: Group, instances: Sequence[Instance]) -> None:
    """Refuse a series of which some images cannot be used; of another kind of object some may be.

    Left out, a broken image at the end of the stack would shorten the scan.
    """
    for each in instances:
        if each.series == chosen.series and each.unfit and each.unfit.code != "E_SOP_CLASS":
            raise _nothing([], [each])


def _left_out(others: int, unfit: int) -> list[Note]:
    if not others + unfit:
        return []
    text = (
        f"the folder also holds slices that are no volume ({others} groups) or other objects "
        f"({unfit} files); they are not read. If you mean another series than the one that is, "
        "give it a folder of its own."
    )
    return [Note("N_SERIES", text)]
