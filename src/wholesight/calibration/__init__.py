"""Thresholds and p-values from normal scans alone. No argument of anything here carries a label."""

from __future__ import annotations

from wholesight.calibration.choose import RULES, SCREENING, threshold_of
from wholesight.calibration.conformal import benjamini_hochberg, p_values
from wholesight.calibration.normals import Normals, NormalScan, summarise
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import NO_PROMISE, Threshold

__all__ = [
    "NO_PROMISE",
    "RULES",
    "SCREENING",
    "NormalScan",
    "Normals",
    "Terms",
    "Threshold",
    "benjamini_hochberg",
    "p_values",
    "summarise",
    "threshold_of",
]
