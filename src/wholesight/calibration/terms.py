"""What somebody asks of a threshold: the rule and what it is to promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wholesight.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A rule with its options, all of them legal.

    rule : its name in `RULES`. alpha : what may go wrong in normal scans; each rule says what it
    counts. confidence : of `tolerance`, over calibration sets. share : of `fwe` and `tolerance`,
    how much of a body may lie above the level in a scan that still counts as right. level : of
    `fwe` in its cluster form, a map value that is given; the smallest lesion follows.
    min_lesion_mm3 : places under it are dropped; None takes the recipe's, "normals" sets it on half
    of the subjects and the level on the other half. Raises UsageError.
    """

    rule: str = "crc"
    alpha: float = 0.05
    confidence: float = 0.95
    share: float = 0.0
    level: float | None = None
    min_lesion_mm3: float | Literal["normals"] | None = None

    def __post_init__(self) -> None:
        _require_share("--alpha", self.alpha, "0.05")
        _require_share("--confidence", self.confidence, "0.95")
        if not 0 <= self.share < 1:
            raise UsageError(f"--share {self.share:g}: legal is 0 <= share < 1, for instance 0.01.")
        if self.share and self.rule not in ("fwe", "tolerance"):
            raise UsageError(f"--share is of the rules fwe and tolerance, {self.rule} has none.")
        if self.level is not None and self.rule != "fwe":
            raise UsageError(f"--level is of the rule fwe, {self.rule} finds its level by itself.")
        if self.level is not None and not math.isfinite(self.level):
            raise UsageError(f"--level {self.level}: a map value is needed, a finite number.")
        if self.level is not None and (self.share or self.min_lesion_mm3 == "normals"):
            raise UsageError(
                "--level: the smallest lesion follows from the level, so neither --share nor "
                "--min-lesion normals goes with it."
            )
        least = self.min_lesion_mm3
        known = least is None or least == "normals"
        if not known and not (isinstance(least, float | int) and 0 <= least < math.inf):
            raise UsageError(f"--min-lesion {least}: legal is 0 or more, in mm3, or normals.")


def _require_share(option: str, value: float, instance: str) -> None:
    if not 0 < value < 1:
        raise UsageError(
            f"{option} {value:g}: legal is 0 < {option[2:]} < 1, for instance {instance}."
        )
