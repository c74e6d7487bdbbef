"""How well a mask agrees with the truth, at the threshold that the method itself chose.

Arrays of any one shape, boolean. What is empty: nothing there and nothing found is NaN, left out
of a mean and counted; one of both empty is 0. `sensitivity` and `flagged_share` say their own.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool


def dice(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Twice the shared pixels over the pixels of both. 1 perfect, 0 worst.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    mask, truth = _booleans(mask, truth)
    return _share(2 * _count(mask & truth), _count(mask) + _count(truth))


def sensitivity(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the lesion that is flagged. 1 perfect, 0 worst; NaN without lesion."""
    mask, truth = _booleans(mask, truth)
    return _share(_count(mask & truth), _count(truth))


def precision(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the flagged pixels that are lesion. 1 perfect, 0 worst.

    A silent mask beside a lesion has precision 0, not NaN: silence must not raise a mean.
    """
    mask, truth = _booleans(mask, truth)
    flagged = _count(mask)
    return 0.0 if not flagged and truth.any() else _share(_count(mask & truth), flagged)


def flagged_share(mask: Bool[np.ndarray, "*n"], truth: Bool[np.ndarray, "*n"]) -> float:
    """Share of the lesion-free pixels that are flagged. 0 perfect, 1 worst.

    On a normal scan this is the share of the body that is flagged by mistake, the risk that a
    calibrated threshold bounds. NaN when every pixel is lesion, or there is none.
    """
    mask, truth = _booleans(mask, truth)
    return _share(_count(mask & ~truth), _count(~truth))


def _booleans(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} for truth {truth.shape}")
    return mask.astype(bool), truth.astype(bool)


def _count(flags: np.ndarray) -> int:
    return int(np.count_nonzero(flags))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
