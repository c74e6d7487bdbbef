"""The score of a whole scan: how odd its oddest part is."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

# The mean over this share of the pixels, the oddest ones: one noisy pixel does not decide, and a
# lesion of a few millilitres still does.
ODDEST_SHARE: Final = 0.01


def scan_score(values: Float[np.ndarray, " n"]) -> float:
    """Return the mean of the oddest ODDEST_SHARE of a scan's map values, at least one of them.

    values : in the body, any order, higher = odder. NaN when there are none.

    >>> scan_score(np.arange(200.0))
    198.5
    """
    if not values.size:
        return float("nan")
    odd = max(1, round(ODDEST_SHARE * values.size))
    return float(np.partition(values, values.size - odd)[-odd:].mean(dtype=np.float64))
