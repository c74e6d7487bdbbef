"""The networks that a recipe may choose among, by name."""

from __future__ import annotations

from typing import Final

from wholesight.nn.autoencoder import Autoencoder
from wholesight.nn.coder import Coder
from wholesight.nn.vae import VAE

CODERS: Final[dict[str, type[Coder]]] = {"autoencoder": Autoencoder, "vae": VAE}
