"""wholesight: segments anything abnormal in a medical image after seeing only normal ones.

The public names are loaded when they are first used: `import wholesight` does not import torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wholesight.detector import Detector, Segmentation
    from wholesight.errors import WholesightError
    from wholesight.recipe import Recipe
    from wholesight.volume import Scan, Volume

__version__ = metadata.version("wholesight")

# public name -> the module that defines it
_HOME = {
    "Detector": "wholesight.detector",
    "Recipe": "wholesight.recipe",
    "Scan": "wholesight.volume",
    "Segmentation": "wholesight.detector",
    "Volume": "wholesight.volume",
    "WholesightError": "wholesight.errors",
}

__all__ = ["Detector", "Recipe", "Scan", "Segmentation", "Volume", "WholesightError"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"wholesight has no public name '{name}'")
    return getattr(import_module(_HOME[name]), name)
