"""Which calibration subjects stick out: incidental findings, or scans of another kind.

A calibration scan is taken to be normal. One that is not raises the threshold for everybody, so
the subjects to look at are named. Nobody is left out by it: leaving out who looks odd would make
every promise void.

Axes: n normal subjects.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from wholesight.calibration.normals import Normals

# Tukey's far out: this many interquartile ranges above the upper quartile.
FAR_OUT: Final = 3.0
# With fewer, the oddest one itself draws the fence out beyond it.
FEWEST: Final = 5
# Where half of the values are equal the quartiles are, too. This many mean absolute deviations
# from the median are an interquartile range in the normal distribution: 1.349 / sqrt(2 / pi).
_DEVIATIONS: Final = 1.69


class Odd(NamedTuple):
    """A subject that sticks out.

    score : of its oddest scan, higher = odder. times : how many interquartile
    ranges it lies above the upper quartile, more than 3.
    """

    subject: str
    score: float
    times: float


def sticking_out(normals: Normals) -> list[Odd]:
    """Return the subjects whose score is far out, the oddest first.

    Empty with fewer than five subjects, who have no fence, and where the scans have no score.
    """
    scores = normals.scores
    if scores is None or scores.size < FEWEST:
        return []
    times, subjects = far_out(scores), normals.subjects
    found = np.flatnonzero(times > FAR_OUT)
    by_oddness = found[np.argsort(-times[found], kind="stable")]
    return [Odd(subjects[at], float(scores[at]), float(times[at])) for at in by_oddness]


def far_out(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return how many interquartile ranges each value lies above the upper quartile.

    Above 3 it is far out (Tukey, Exploratory Data Analysis, 1977). Where the quartiles are equal,
    the mean absolute deviation from the median stands in for their range, as for the median
    deviation of zero in Iglewicz and Hoaglin (How to detect and handle outliers, 1993). All values
    equal: 0 each.

    >>> far_out(np.array([1.0, 2.0, 3.0, 4.0, 10.0]))
    array([-1.5, -1. , -0.5,  0. ,  3. ])
    """
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75))
    spread = upper - lower or _DEVIATIONS * np.abs(values - median).mean()
    return (values - upper) / spread if spread else np.zeros(values.shape)
