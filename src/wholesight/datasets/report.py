"""What `check` found out about a data set: plain figures that print and that JSON can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from wholesight.datasets.finding import Finding

NO_SPLIT = "(none)"


@dataclass(frozen=True)
class Counts:
    """What one split holds, of its usable cases.

    slices : axial ones, whichever way the file stores them. normal_slices : those with no voxel
    marked abnormal. unmarked_slices : those of cases without a mask; `fit` takes them as normal.
    lesion_ml : sum over the cases.
    """

    cases: int
    subjects: int
    slices: int
    normal_slices: int
    unmarked_slices: int
    lesion_ml: float

    @property
    def abnormal_slices(self) -> int:
        """Slices with at least one voxel marked abnormal."""
        return self.slices - self.normal_slices - self.unmarked_slices


@dataclass(frozen=True)
class Report:
    """The result of `check`.

    Attributes
    ----------
    usable, unusable : number of cases whose files can all be read, and of the others.
    splits : by split, those that have a usable case.
    shapes, spacings_mm, orientations : how many usable cases have each; along i, j, k of the file.
    sites : how many usable cases come from each, of those whose site is known.
    findings : errors first.
    """

    root: str
    layout: str
    usable: int
    unusable: int
    splits: dict[str, Counts]
    shapes: dict[tuple[int, ...], int]
    spacings_mm: dict[tuple[float, ...], int]
    orientations: dict[str, int]
    sites: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """The findings that stand in the way."""
        return [finding for finding in self.findings if finding.level == "error"]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        content = asdict(self)
        content["findings"] = [finding._asdict() for finding in self.findings]
        for name in ("shapes", "spacings_mm"):
            content[name] = {" x ".join(map(str, key)): n for key, n in content[name].items()}
        return content
