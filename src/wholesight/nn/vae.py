"""A variational autoencoder whose encoder can be looked into.

Axes: b slices, c channels, z latent dimensions, H W slice pixels.
Reference: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wholesight.nn.blocks import Norm
from wholesight.nn.coder import Coder, Coding, require_latent
from wholesight.nn.decoder import ResidualDecoder, UpBlocks
from wholesight.nn.dropout import ChannelDropout
from wholesight.nn.encoder import ResNetEncoder, Stages, Stem


class Encoding(NamedTuple):
    """q(z|x) as mean and log variance, and the encoder's stages that led to it."""

    stages: Stages
    mean: Float[Tensor, "b z"]
    log_variance: Float[Tensor, "b z"]


class VAE(Coder):
    """Encoder, dense latent, decoder.

    size : pixels along a slice's side, a multiple of the encoder's stride (32 with the stems that
    pool, 16 without). channels : of a slice. width : channels of the first stage, 64 as published.
    latent : dimensions, 32 as published. width_top : maps at the decoder's top, 256 as published.
    stem : see `nn.encoder`. norm : "batch" as published, or "group" (see `nn.blocks`). up : the
    decoder's blocks, "residual", or those of a published program (see `nn.decoder`). dropout :
    share of channels that are dropped on both sides of the latent (see `nn.dropout`).
    """

    variational = True

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
        up: UpBlocks = "residual",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_latent(latent)
        self.slice_shape = (channels, size, size)
        self.dropout = dropout
        self.encoder = ResNetEncoder(channels=channels, width=width, stem=stem, norm=norm)
        dense = self.encoder.channels_out * self.encoder.top(size) ** 2
        self.mean = nn.Linear(dense, latent)
        self.log_variance = nn.Linear(dense, latent)
        self.drop = ChannelDropout(self.encoder.channels_out, dropout)
        self.decoder = ResidualDecoder.mirror(
            self.encoder,
            size=size,
            channels=channels,
            latent=latent,
            width_top=width_top,
            up=up,
            dropout=dropout,
        )

    def forward(self, slices: Float[Tensor, "b c H W"]) -> Coding:
        """Encode, sample (the mean in eval mode), decode."""
        encoding = self.encode(slices)
        return Coding(self.decode(self.sample(encoding)), encoding.mean, encoding.log_variance)

    def reconstruct(self, slices: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        """Return the logits from the latent's mean, in training as in eval mode."""
        return self.decode(self.encode(slices).mean)

    def encode(self, slices: Float[Tensor, "b c H W"]) -> Encoding:
        """Return q(z|x) and the stages' features, connected in the graph."""
        stages = self.encoder(slices)
        flat = self.drop(stages.fourth).flatten(1)
        return Encoding(stages, self.mean(flat), self.log_variance(flat))

    def decode(self, latent: Float[Tensor, "b z"]) -> Float[Tensor, "b c H W"]:
        """Return logits of the reconstruction."""
        return self.decoder(latent)

    def sample(self, encoding: Encoding) -> Float[Tensor, "b z"]:
        """Draw z ~ q(z|x) with the reparametrisation; the mean itself in eval mode."""
        if not self.training:
            return encoding.mean
        spread = torch.exp(0.5 * encoding.log_variance)
        return encoding.mean + spread * torch.randn_like(spread)
