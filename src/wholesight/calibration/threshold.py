"""A threshold with the statement of what it promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

NO_PROMISE: Final = "none"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A map value above which a voxel is called abnormal, and the smallest place that is kept.

    value : in the map's unit, higher = odder; the test is strictly above. min_lesion_mm3 : smaller
    connected places are dropped. rule : its name. alpha, confidence, share : what was asked of it,
    None where the rule has no such thing. subjects, scans, slices, voxels : how many normal ones it
    was set on. finest : the smallest alpha that so many subjects can support, by its rule.
    guarantee : in a sentence, or "none". statement : in words, what is promised and what is not.
    doubts : why it may not hold, each a sentence. void : the doubt for which
    nothing is promised, by whatever rule.
    """

    value: float
    min_lesion_mm3: float
    rule: str
    alpha: float | None
    confidence: float | None
    share: float | None
    subjects: int
    scans: int
    slices: int
    voxels: int
    finest: float
    guarantee: str
    statement: str
    doubts: tuple[str, ...] = ()
    void: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "min_lesion_mm3"):
            number = getattr(self, name)
            if not isinstance(number, float) or not math.isfinite(number):
                raise ValueError(f"the threshold's {name} is {number!r}, a finite number is needed")

    def to_json(self) -> dict[str, Any]:
        """Return the plain dict that threshold.json holds."""
        return {**asdict(self), "doubts": list(self.doubts)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Threshold:
        """Return the threshold that `to_json` wrote. Raises TypeError, ValueError or KeyError."""
        return cls(**{**content, "doubts": tuple(content["doubts"])})
