"""Rules that set a threshold from normal scores alone, by name."""

from __future__ import annotations

from typing import Final

from wholesight.calibration.percentile import percentile
from wholesight.calibration.threshold import Threshold

RULES: Final = {"percentile": percentile}

__all__ = ["RULES", "Threshold"]
