"""A threshold with the statement of what it promises."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A map value above which a voxel is called abnormal.

    value : in the map's unit, higher = odder; the test is strictly above. rule : its name.
    alpha : the share of healthy body that the rule aims at. subjects, slices, voxels : how many
    normal ones it was set on. statement : in words, what is promised and what is not.
    """

    value: float
    rule: str
    alpha: float
    subjects: int
    slices: int
    voxels: int
    statement: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, float) or not math.isfinite(self.value):
            raise ValueError(f"the threshold's value is {self.value!r}, a finite number is needed")

    def to_json(self) -> dict[str, Any]:
        """Return the plain dict that threshold.json holds."""
        return asdict(self)
