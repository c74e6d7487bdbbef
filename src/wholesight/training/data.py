"""The normal slices that a method learns from, in an order that follows from seed and epoch.

Axes: n slices, c channels, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from wholesight.calibration.typical import Typical
from wholesight.errors import InputError
from wholesight.prep.appearance import FEATURES, appearance
from wholesight.prep.chain import Prep
from wholesight.prep.orient import canonical
from wholesight.volume import Scan, Volume


class NormalSlices(NamedTuple):
    """Prepared normal slices of all training scans: pixels (n, c, H, W), inside (n, 1, H, W).

    spacing_mm, body_ml : the smallest and the largest of the scans, {"low": ..., "high": ...};
    spacing along canonical axes [x, y, z]. typical : what the scans look like.
    """

    pixels: Tensor
    inside: Tensor
    spacing_mm: dict[str, list[float]]
    body_ml: dict[str, float]
    typical: Typical

    @classmethod
    def of(cls, prep: Prep, scans: Iterable[Scan], *, min_body_share: float) -> NormalSlices:
        """Prepare the scans and keep normal slices whose body fills enough of the field.

        Raises InputError E_NO_NORMAL when none is left.
        """
        pixels, inside, spacings, bodies_ml, looks = [], [], [], [], []
        for scan in scans:
            prepared = prep.forward(scan)
            enough = prepared.inside.mean(axis=(1, 2, 3)) > min_body_share
            keep = prepared.normal & enough
            pixels.append(prepared.pixels[keep])
            inside.append(prepared.inside[keep])
            turned = canonical(scan.image.voxels, scan.image.affine)
            spacings.append(Volume(turned.voxels, turned.affine).spacing_mm)
            bodies_ml.append(float(prepared.body.sum()) * scan.image.voxel_mm3 / 1000)
            looks.append(appearance(prepared, scan.image))
        if not sum(len(part) for part in pixels):
            raise InputError(
                "No normal slice is left to train on: every slice of the training scans has an "
                "abnormal voxel or hardly any body. Add scans, or see wholesight check DATA.",
                code="E_NO_NORMAL",
            )
        low, high = np.min(spacings, axis=0), np.max(spacings, axis=0)
        return cls(
            torch.from_numpy(np.concatenate(pixels)),
            torch.from_numpy(np.concatenate(inside)),
            {"low": low.round(4).tolist(), "high": high.round(4).tolist()},
            {"low": round(min(bodies_ml), 1), "high": round(max(bodies_ml), 1)},
            Typical.of(
                np.array(looks),
                names=[feature.name for feature in FEATURES],
                kinds=[feature.kind for feature in FEATURES],
                finest=[feature.finest for feature in FEATURES],
            ),
        )

    def batches(self, *, batch: int, device: str) -> Batches:
        """Return all slices in batches, in their own order, to be gone through at will."""
        return Batches(self, batch, device)

    def loader(self, *, batch: int, seed: int) -> DataLoader:
        """Return a loader of full batches, in an order that follows from seed and epoch."""
        dataset = TensorDataset(self.pixels, self.inside)
        order = EpochShuffle(len(dataset), seed=seed)
        batch = min(batch, len(dataset))
        # A generator of its own: starting an epoch must not use up the noise's random numbers.
        own = torch.Generator()
        return DataLoader(dataset, batch, sampler=order, drop_last=True, generator=own)


class Batches:
    """All normal slices as batches (pixels, inside); each pass gives the same."""

    def __init__(self, slices: NormalSlices, batch: int, device: str) -> None:
        self.slices = slices
        self.batch = batch
        self.device = device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.slices.pixels), self.batch):
            part = slice(start, start + self.batch)
            yield (
                self.slices.pixels[part].to(self.device),
                self.slices.inside[part].to(self.device),
            )


class EpochShuffle(Sampler[int]):
    """A new order every epoch, the same whether training was resumed or not."""

    def __init__(self, length: int, *, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        return iter(rng.permutation(self.length).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; Lightning calls this before each epoch."""
        self.epoch = epoch
