"""Methods made of methods: what is added is fitted on normal slices alone.

Every part keeps its own parameters, so that parts train side by side as each would by itself, but
for two things: they draw their noise from one source, and `gradient_clip` looks at the length of
all gradients together. The statistics that hold them together are taken after training, from the
training slices, on which a trained map is a little calmer than on normal slices it has never seen.

Axes: b slices, c channels, H W slice pixels, K K regions.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, cast

from jaxtyping import Bool, Float
from torch import Tensor, nn

from wholesight.methods.method import Batch, LossTerms, Method
from wholesight.methods.places import Boxes, PlaceStatistics
from wholesight.methods.surprisal import Surprisal


class Combination(Method, ABC):
    """What holds for any method made of others, its parts, by name."""

    needs: ClassVar[str] = "normal slices, and what its parts need"

    def __init__(self, parts: Mapping[str, Method]) -> None:
        super().__init__()
        shapes = {part.slice_shape for part in parts.values()} - {None}
        if len(shapes) > 1:
            raise ValueError(f"the parts take slices of {shapes}, legal is one shape for all")
        self.members = nn.ModuleDict(dict(parts))
        self.slice_shape = next(iter(shapes), None)
        self.one_channel = any(part.one_channel for part in parts.values())
        self.unit_range = any(part.unit_range for part in parts.values())

    @property
    def parts(self) -> dict[str, Method]:
        """The methods that this one is made of."""
        return cast(dict[str, Method], dict(self.members.items()))

    @property
    def last_start(self) -> float:
        return max(part.last_start for part in self.parts.values())

    @property
    def scaled_per_slice(self) -> bool:
        """Whether all parts are; one that is not still tells odd slices from healthy ones."""
        return all(part.scaled_per_slice for part in self.parts.values())

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        """Return the sum over the parts that train, 0 without; terms are logged as "term_part"."""
        terms = {
            name: part.loss(slices, inside, epoch)
            for name, part in self.parts.items()
            if part.trainable
        }
        total = sum((own.total for own in terms.values()), start=slices.new_zeros(()))
        logged = {f"{k}_{name}": v for name, own in terms.items() for k, v in own.parts.items()}
        rivals = {f"{k}_{name}": v for name, own in terms.items() for k, v in own.rivals.items()}
        return LossTerms(total, logged, rivals)

    def doubts(self, epochs: int) -> list[str]:
        return [doubt for part in self.parts.values() for doubt in part.doubts(epochs)]

    def observe(self, batches: Iterable[Batch]) -> None:
        for part in self.parts.values():
            part.observe(batches)


class Standardised(Combination):
    """A method's map in standard deviations from what it is on normal slices at the same place.

    (a - mean) / spread of the map a, by place (`methods.places`, which also says what places and
    min_spread_share are). A map that is always high at the rim, at the ventricles, or in the middle
    of the field says nothing there until that is taken off.
    """

    reference: ClassVar[str] = (
        "Any map as a voxel-wise normative model, as of intensities in Saase et al. 2020, "
        "arXiv 2011.12735."
    )

    def __init__(self, *, method: Method, places: int = 64, min_spread_share: float = 0.25) -> None:
        super().__init__({"method": method})
        self.normal = PlaceStatistics(places=places, min_spread_share=min_spread_share)

    def observe(self, batches: Iterable[Batch]) -> None:
        super().observe(batches)
        self.normal.note((self._raw(*batch), batch[1]) for batch in batches)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return self.normal.standardised(self._raw(slices, inside), inside)

    def _raw(self, slices: Tensor, inside: Tensor) -> Tensor:
        return self.parts["method"].anomaly_map(slices, inside)


class Gate(Combination):
    """s(map) F(gate): how surprising a pixel is, where its region is not a normal one.

    s is the surprisal of the map's value among those of normal bodies, 0 or more (see
    `methods.surprisal`), so that the product only ever weakens, whatever sign and unit the map has.
    F in [0, 1] is the share of normal regions whose mean of the gate's map is no higher. F of the
    median normal region is 1/2; nothing is left of a region calmer than every normal one.

    regions : along each side of the body's bounding box; 1 is one score for the slice. Between the
    regions' centres F is bilinear, so that no edge of a region shows.
    """

    reference: ClassVar[str] = (
        "A gate by regional normality times a pixel map, without a publication of its own; scores "
        "are turned into shares of normals as in rank-based tests."
    )

    def __init__(self, *, map: Method, gate: Method, regions: int = 1) -> None:
        super().__init__({"map": map, "gate": gate})
        if regions < 1:
            raise ValueError(f"regions is {regions}, legal is 1 or more")
        self.regions = regions
        self.surprisal = Surprisal()
        self.region_surprisal = Surprisal()

    def observe(self, batches: Iterable[Batch]) -> None:
        super().observe(batches)
        _note_maps(self.surprisal, self.parts["map"], batches)
        count = sum(len(inside) for _, inside in batches) * self.regions**2
        self.region_surprisal.note((self._regions(*batch).flatten() for batch in batches), count)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        odd = self.surprisal(self.parts["map"].anomaly_map(slices, inside))
        gate = self.region_surprisal.share_below(self._regions(slices, inside))
        return odd * Boxes.around(inside, gate.dtype).out_of_frame(gate) * inside

    def _regions(self, slices: Tensor, inside: Tensor) -> Float[Tensor, "b 1 K K"]:
        """Return the mean of the gate's map over the body in each region."""
        maps = self.parts["gate"].anomaly_map(slices, inside)
        return Boxes.around(inside, maps.dtype).region_means(maps, inside, self.regions)


class Average(Combination):
    """The mean over methods of how surprising a pixel is, in nats.

    Each method's map goes through the surprisal s = -log(1 - F) of its own values in normal bodies
    (see `methods.surprisal`), after which maps of any unit can be added. 1 - F is the p-value of a
    pixel, so the sum is Fisher's statistic for combining tests, halved. Its chi-squared law
    needs independent tests, which maps of one slice are not: read the map as a ranking, and leave
    the threshold to the calibration.

    methods : one or more, named 1, 2, ... in the log.
    """

    reference: ClassVar[str] = (
        "Fisher: Statistical Methods for Research Workers, 4th edition. 1932 (the combination of "
        "tests by the sum of log p)."
    )

    def __init__(self, *, methods: Sequence[Method]) -> None:
        if not methods:
            raise ValueError("methods is empty, legal are one or more")
        super().__init__({str(n): method for n, method in enumerate(methods, start=1)})
        self.surprisals = nn.ModuleList(Surprisal() for _ in methods)

    def observe(self, batches: Iterable[Batch]) -> None:
        super().observe(batches)
        for surprisal, method in self._pairs():
            _note_maps(surprisal, method, batches)

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        odd = [surprisal(part.anomaly_map(slices, inside)) for surprisal, part in self._pairs()]
        return sum(odd[1:], start=odd[0]) / len(odd) * inside

    def _pairs(self) -> list[tuple[Surprisal, Method]]:
        surprisals = cast(Sequence[Surprisal], list(self.surprisals))
        return list(zip(surprisals, self.parts.values(), strict=True))


def _note_maps(surprisal: Surprisal, method: Method, batches: Iterable[Batch]) -> None:
    """Note the values of a method's map in the bodies of all slices."""
    # Counted first: that takes no map, and says how many of the values can be kept.
    count = sum(int(inside.sum()) for _, inside in batches)
    surprisal.note((method.anomaly_map(*batch)[batch[1]] for batch in batches), count)
