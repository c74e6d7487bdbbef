"""The methods by the name a recipe gives them."""

from __future__ import annotations

from typing import Final

from wholesight.methods.anovaegan import AnoVAEGAN
from wholesight.methods.autoencoder import Autoencoding
from wholesight.methods.combine import Average, Gate, Standardised
from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.methods.context import ContextEncoding
from wholesight.methods.contrasted_vae import ContrastedVAE
from wholesight.methods.denoise import DenoisingUNet
from wholesight.methods.diffusion import Diffusion
from wholesight.methods.fanogan import FAnoGAN
from wholesight.methods.intensity import SmoothedIntensity
from wholesight.methods.method import Method
from wholesight.methods.normative import Normative
from wholesight.methods.restoration import Restoration
from wholesight.methods.synthetic import SyntheticLesions

METHODS: Final[dict[str, type[Method]]] = {
    "anovaegan": AnoVAEGAN,
    "autoencoder": Autoencoding,
    "average": Average,
    "constrained-vae": ConstrainedVAE,
    "context-encoding": ContextEncoding,
    "contrasted-vae": ContrastedVAE,
    "denoise": DenoisingUNet,
    "diffusion": Diffusion,
    "f-anogan": FAnoGAN,
    "gate": Gate,
    "intensity": SmoothedIntensity,
    "normative": Normative,
    "restoration": Restoration,
    "standardised": Standardised,
    "synthetic": SyntheticLesions,
}
