"""The methods by the name a recipe gives them."""

from __future__ import annotations

from typing import Final

from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.methods.intensity import SmoothedIntensity
from wholesight.methods.method import Method

METHODS: Final[dict[str, type[Method]]] = {
    "constrained-vae": ConstrainedVAE,
    "intensity": SmoothedIntensity,
}
