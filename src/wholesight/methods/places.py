"""Places: pixels of slices of unlike size and position, brought together by the body's box.

Every slice's box, the smallest upright rectangle around its body, is mapped onto one square frame
of places. What stands at a place is then about the same part of the body in every slice: a crude
registration, but one that nothing has to be trained for and that cannot fail.

Axes: b slices, c channels, H W slice pixels, P P places, K K regions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample

# Between pixels of body and of background: less body than this is none.
_LEAST_BODY: Final = 0.25
# More than any slice has pixels along a side.
_MOST_PLACES: Final = 2048


class Boxes(NamedTuple):
    """Where pixel centres lie in their slice's box: 0 at its first edge, 1 at its last.

    rows (b, H), columns (b, W). heights, widths (b,): of the boxes, as a share of the slice's.
    tops, lefts (b,): of the boxes' first edges, likewise.
    """

    rows: Float[Tensor, "b H"]
    columns: Float[Tensor, "b W"]
    heights: Float[Tensor, " b"]
    widths: Float[Tensor, " b"]
    tops: Float[Tensor, " b"]
    lefts: Float[Tensor, " b"]

    @classmethod
    def around(cls, inside: Bool[Tensor, "b 1 H W"], dtype: torch.dtype) -> Boxes:
        """Return the boxes of the bodies; the box of a slice without body is the whole slice."""
        rows, tops, heights = _extent(inside.any(dim=3)[:, 0], dtype)
        columns, lefts, widths = _extent(inside.any(dim=2)[:, 0], dtype)
        return cls(rows, columns, heights, widths, tops, lefts)

    def into_frame(
        self, maps: Float[Tensor, "b c H W"], places: int
    ) -> Float[Tensor, "b c {places} {places}"]:
        """Read the maps at the centres of the places, bilinear; 0 lies around a slice."""
        centres = (torch.arange(places, device=maps.device, dtype=maps.dtype) + 0.5) / places
        rows = self.tops[:, None] + centres * self.heights[:, None]
        columns = self.lefts[:, None] + centres * self.widths[:, None]
        return _sampled(maps, rows, columns, padding="zeros")

    def out_of_frame(self, frames: Float[Tensor, "b c P P"]) -> Float[Tensor, "b c H W"]:
        """Read the frames at every slice pixel, bilinear; beyond the box its edge goes on."""
        return _sampled(frames, self.rows, self.columns, padding="border")

    def across(
        self, maps: Float[Tensor, "b 1 H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        """Read the maps across the box's upright midline, bilinear: left where right is.

        Where there is no body across, a pixel keeps its own value.
        """
        weight = inside.to(maps)
        rows = self.tops[:, None] + self.rows * self.heights[:, None]
        columns = self.lefts[:, None] + (1 - self.columns) * self.widths[:, None]
        total, share = (
            _sampled(part, rows, columns, padding="zeros") for part in (maps * weight, weight)
        )
        return torch.where(share >= _LEAST_BODY, total / share.clamp_min(_LEAST_BODY), maps)

    def region_means(
        self, maps: Float[Tensor, "b 1 H W"], inside: Bool[Tensor, "b 1 H W"], regions: int
    ) -> Float[Tensor, "b 1 {regions} {regions}"]:
        """Return the maps' means over the body in each of regions x regions parts of the box.

        A region that holds no body gets the mean over the slice's body, which is 0 without one.
        """
        across = _membership(self.rows, regions).transpose(1, 2)
        along = _membership(self.columns, regions)
        weight = inside[:, 0].to(maps)
        total, size = (across @ part @ along for part in (maps[:, 0] * weight, weight))
        overall = total.sum(dim=(1, 2)) / size.sum(dim=(1, 2)).clamp_min(1)
        means = torch.where(size > 0, total / size.clamp_min(1), overall[:, None, None])
        return means[:, None]


class PlaceStatistics(nn.Module):
    """Mean and spread (standard deviation) of a map at each place of normal slices.

    places : along each side of the frame. min_spread_share : a spread below this share of the mean
    spread over places counts as that share: the few slices that reach a rare place, in a corner of
    the box, may agree by chance, and z would explode there. A place that less than one slice in all
    reaches gets mean and spread over all places together. Where nothing ever varied there is no
    scale: the spread is then 1, and z is in the map's unit.

    Slices do not know their height in the head, so all heights share one frame: what is normal at
    the vertex and at the base widens the spread of both.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, *, places: int = 64, min_spread_share: float = 0.25) -> None:
        super().__init__()
        if not 2 <= places <= _MOST_PLACES:
            raise ValueError(f"places is {places}, legal is 2 to {_MOST_PLACES}")
        if not 0 < min_spread_share <= 1:
            raise ValueError(f"min_spread_share is {min_spread_share}, legal is 0 < share <= 1")
        self.places = places
        self.min_spread_share = min_spread_share
        self.register_buffer("mean", torch.zeros(places, places))
        self.register_buffer("spread", torch.ones(places, places))

    def note(self, maps: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and spread from normal slices: maps (b, 1, H, W) and bodies (b, 1, H, W).

        Moments are gathered, not values, so memory does not grow with the slices. Values and
        squares are interpolated, never interpolated values squared: interpolation averages, and
        the spread would come out smaller than that of the pixels it is held against.
        """
        moments = torch.zeros(
            3, self.places, self.places, device=self.mean.device, dtype=torch.double
        )
        for values, inside in maps:
            weight = inside.double()
            first = values.double() * weight
            powers = torch.cat([weight, first, first.square()], dim=1)
            boxes = Boxes.around(inside, torch.double)
            moments += boxes.into_frame(powers, self.places).sum(dim=0)
        mean, spread = self._summary(*moments)
        self.mean.copy_(mean)
        self.spread.copy_(spread)

    def standardised(
        self, maps: Float[Tensor, "b 1 H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        """Return z = (map - mean) / spread at each pixel's place, 0 outside the body."""
        frames = torch.stack([self.mean, self.spread]).to(maps)
        boxes = Boxes.around(inside, maps.dtype)
        mean, spread = boxes.out_of_frame(frames.expand(len(maps), -1, -1, -1)).split(1, dim=1)
        return torch.where(inside, (maps - mean) / spread, torch.zeros_like(maps))

    def _summary(
        self,
        weight: Float[Tensor, "P P"],
        first: Float[Tensor, "P P"],
        second: Float[Tensor, "P P"],
    ) -> tuple[Float[Tensor, "P P"], Float[Tensor, "P P"]]:
        """Return mean and spread from the summed weights, values and squares."""
        reached = weight >= 1
        seen = weight.clamp_min(1)
        mean = first / seen
        spread = (second / seen - mean.square()).clamp_min(0).sqrt()
        everything = weight.sum().clamp_min(1)
        overall = first.sum() / everything
        overall_spread = (second.sum() / everything - overall.square()).clamp_min(0).sqrt()
        mean = torch.where(reached, mean, overall)
        spread = torch.where(reached, spread, overall_spread)
        spread = spread.clamp_min(self.min_spread_share * spread.mean())
        return mean, torch.where(spread > 0, spread, torch.ones_like(spread))


def _extent(
    occupied: Bool[Tensor, "b n"], dtype: torch.dtype
) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Return pixel centres in the box (0 to 1), its first edge and its length, shares of n."""
    n = occupied.shape[1]
    index = torch.arange(n, device=occupied.device)
    empty = ~occupied.any(dim=1)
    first = torch.where(occupied, index, n).amin(dim=1).masked_fill(empty, 0)
    last = torch.where(occupied, index, -1).amax(dim=1).masked_fill(empty, n - 1)
    length = (last + 1 - first).to(dtype)
    centres = (index.to(dtype) + 0.5 - first.to(dtype)[:, None]) / length[:, None]
    return centres, first.to(dtype) / n, length / n


def _sampled(
    images: Float[Tensor, "b c h w"],
    rows: Float[Tensor, "b m"],
    columns: Float[Tensor, "b n"],
    *,
    padding: str,
) -> Float[Tensor, "b c m n"]:
    """Read images at (row, column), each a share of the image's side from edge to edge."""
    size = (len(images), rows.shape[1], columns.shape[1])
    points = (columns[:, None, :].expand(size), rows[:, :, None].expand(size))
    grid = torch.stack(points, dim=-1) * 2 - 1
    return grid_sample(images, grid.to(images), padding_mode=padding, align_corners=False)


def _membership(centres: Float[Tensor, "b n"], regions: int) -> Float[Tensor, "b n {regions}"]:
    """Return 1 where a pixel lies in a region, else 0; pixels beside the box are in none."""
    region = (centres * regions).floor()[:, :, None]
    return (region == torch.arange(regions, device=centres.device)).to(centres)
