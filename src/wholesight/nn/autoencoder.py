"""An autoencoder with a dense code, built of the same parts as the VAE.

Axes: b slices, c channels, z latent dimensions, H W slice pixels.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm
from wholesight.nn.coder import Coder, Coding, require_latent
from wholesight.nn.decoder import ResidualDecoder
from wholesight.nn.dropout import ChannelDropout
from wholesight.nn.encoder import ResNetEncoder, Stem


class Autoencoder(Coder):
    """Encoder, dense code, decoder; options as of the `VAE`."""

    def __init__(
        self,
        *,
        size: int,
        channels: int = 1,
        width: int = 64,
        latent: int = 32,
        width_top: int = 256,
        stem: Stem = "conv-pool",
        norm: Norm = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_latent(latent)
        self.slice_shape = (channels, size, size)
        self.dropout = dropout
        self.encoder = ResNetEncoder(channels=channels, width=width, stem=stem, norm=norm)
        self.code = nn.Linear(self.encoder.channels_out * self.encoder.top(size) ** 2, latent)
        self.drop = ChannelDropout(self.encoder.channels_out, dropout)
        self.decoder = ResidualDecoder.mirror(
            self.encoder,
            size=size,
            channels=channels,
            latent=latent,
            width_top=width_top,
            dropout=dropout,
        )

    def forward(self, slices: Float[Tensor, "b c H W"]) -> Coding:
        code = self.encode(slices)
        return Coding(self.decoder(code), code, None)

    def encode(self, slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b z"]:
        """Return the code."""
        return self.code(self.drop(self.encoder(slices).fourth).flatten(1))
