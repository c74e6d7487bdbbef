"""How far a scan's appearance lies from that of the training scans, and whether it is too far.

Axes: s training scans, f figures of a scan's appearance, n calibration subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from wholesight.calibration.conformal import p_values

# Nine in ten of a normal distribution lie within so many deviations of its middle.
_WITHIN: Final = 0.9
_DEVIATIONS: Final = 1.6449
# A scan this many times as far as nine tenths of the normal ones is none of their kind. That it is
# merely the farthest happens to one in n + 1 normal scans, however few there are; and that one of
# those is none of the kind itself must not let all others pass.
TOO_FAR: Final = 1.5
# Of so few subjects it cannot be told which one is of another kind.
_FEW: Final = 5
# And at least so far, however alike a handful of calibration subjects are: 1 is usual.
LEAST_FAR: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Typical:
    """What training scans look like: the middle and the spread of each figure.

    names : of the figures, for messages. kinds : what of a scan each tells of. centre : their
    medians. spread : of a normal distribution with as much within nine tenths of the scans,
    whatever the tenth is like that is farther out; never less than the finest difference that
    counts.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(
        cls,
        figures: Float[np.ndarray, "s f"],
        *,
        names: Sequence[str],
        kinds: Sequence[str],
        finest: Sequence[float],
    ) -> Typical:
        """Learn it from s training scans."""
        centre = np.median(figures, axis=0)
        spread = np.quantile(np.abs(figures - centre), _WITHIN, axis=0) / _DEVIATIONS
        return cls(
            names=tuple(names),
            kinds=tuple(kinds),
            centre=tuple(centre.tolist()),
            spread=tuple(np.maximum(spread, finest).tolist()),
        )

    def deviations(self, figures: Float[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
        """Return by how many spreads each figure is off, with its sign."""
        return (figures - np.array(self.centre)) / np.array(self.spread)

    def by_kind(self, figures: Float[np.ndarray, " f"]) -> dict[str, float]:
        """Return the root mean square of the deviations of each kind: 1 is usual, more is odder."""
        squares = self.deviations(figures) ** 2
        kinds = np.array(self.kinds)
        return {kind: float(np.sqrt(squares[kinds == kind].mean())) for kind in self.kinds}

    def distance(self, figures: Float[np.ndarray, " f"]) -> float:
        """Return how odd the oddest kind of figure is: 1 is usual, more is odder.

        Kinds are not averaged: a scan of the wrong shape is not made usual by being as bright as
        the others.
        """
        return max(self.by_kind(figures).values())

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Typical:
        """Read what `to_json` wrote. Raises KeyError or TypeError."""
        return cls(**{name: tuple(told[name]) for name in ("names", "kinds", "centre", "spread")})


class Likeness(NamedTuple):
    """How like the training scans a scan is.

    verdict : fail for a scan that is too far from them to believe its result; unknown where there
    is nothing to compare with. distance : see `Typical`. p_value : of a normal scan being as far.
    oddest : the figure that is off most, of the oddest kind, and deviation, by how many spreads.
    """

    verdict: Literal["pass", "fail", "unknown"]
    distance: float | None = None
    p_value: float | None = None
    oddest: str | None = None
    deviation: float | None = None


def limit_of(normal: Float[np.ndarray, " n"]) -> float:
    """Return the distance beyond which a scan is too far. normal : see `likeness`.

    Of up to five subjects the largest is held to be usual; of more, one may be of another kind.
    """
    usual = float(np.quantile(normal, _WITHIN, method="lower" if normal.size > _FEW else "higher"))
    return max(LEAST_FAR, TOO_FAR * usual)


def likeness(
    typical: Typical | None,
    figures: Float[np.ndarray, " f"],
    normal: Float[np.ndarray, " n"] | None,
) -> Likeness:
    """Compare a scan with the training scans, and how far it is with n calibration subjects.

    normal : their distances, each subject's largest; None where there are none. The p-value is
    that of Bates et al. 2023 (see `conformal.p_values`), and says how rare the distance is; the
    verdict asks for more (`limit_of`), so that it does not fail one normal scan in n + 1.
    """
    if typical is None:
        return Likeness("unknown")
    off = typical.deviations(figures)
    kinds = typical.by_kind(figures)
    kind = max(kinds, key=kinds.__getitem__)
    worst = int(np.where(np.array(typical.kinds) == kind, np.abs(off), -1).argmax())
    distance = kinds[kind]
    verdict, p_value = "unknown", None
    if normal is not None and normal.size:
        p_value = float(p_values(normal, np.array([distance]))[0])
        verdict = "fail" if distance > limit_of(normal) else "pass"
    return Likeness(verdict, distance, p_value, typical.names[worst], float(off[worst]))
