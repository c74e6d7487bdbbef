"""Numbers as a reader sees them: digits, per cent, intervals, p-values; a dash is undefined."""

from __future__ import annotations

import math
from typing import Final

from wholesight.metrics.registry import METRICS

# The share of false alarms among true null hypotheses that a report puts up with.
LEVEL: Final = 0.05

UNDEFINED: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_THIN: Final = "\N{NARROW NO-BREAK SPACE}"

# Shares that are small by nature read better in per cent.
_IN_PERCENT: Final = frozenset({"flagged_share", "normal_scan_flagged"})
_DIGITS: Final = {"": 3, "per scan": 1, "mm": 1, "ml": 1}


def figure(number: float | None, digits: int = 3) -> str:
    """Write a number.

    >>> figure(0.12345), figure(-0.5, 2), figure(None)
    ('0.123', '−0.50', '–')
    """
    if number is None:
        return UNDEFINED
    # Rounded first, so that there is no minus zero.
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", _MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share in per cent."""
    return UNDEFINED if share is None else f"{figure(100 * share, digits)}{_THIN}%"


def count(number: int) -> str:
    """Write a whole number in groups of three."""
    return f"{number:,}".replace(",", _THIN)


def value(metric: str, number: float | None) -> str:
    r"""Write a metric's value with the digits it deserves, without its unit.

    >>> value("dice", 0.5), value("flagged_share", 0.012), value("hd95_mm", 12.34)
    ('0.500', '1.2\u202f%', '12.3')
    """
    if metric in _IN_PERCENT:
        return percent(number)
    digits = _DIGITS.get(METRICS[metric].unit, 2)
    return figure(number, digits) if METRICS[metric].best != "zero" else signed(number, digits)


def interval(metric: str, ends: tuple[float, float] | None) -> str:
    """Write an interval; empty where there is none."""
    if ends is None:
        return ""
    low, high = (value(metric, end) for end in ends)
    low = low.removesuffix(f"{_THIN}%")
    return f"{low} to {high}" if METRICS[metric].best == "zero" else f"{low}\N{EN DASH}{high}"


def signed(number: float | None, digits: int = 3) -> str:
    """Write a difference, always with its sign.

    >>> signed(0.25), signed(-0.25), signed(0.0)
    ('+0.250', '−0.250', '0.000')
    """
    text = figure(number, digits)
    return f"+{text}" if number is not None and round(number, digits) > 0 else text


def signed_interval(ends: tuple[float, float] | None) -> str:
    """Write an interval of a difference; empty where there is none."""
    return "" if ends is None else f"{signed(ends[0])} to {signed(ends[1])}"


def p_value(number: float | None) -> str:
    """Write a p-value.

    >>> p_value(0.0004), p_value(0.0312), p_value(0.0497), p_value(0.25), p_value(None)
    ('< 0.001', '0.031', '< 0.05', '0.25', '–')
    """
    if number is None or math.isnan(number):
        return UNDEFINED
    if number < 0.001:
        return "< 0.001"
    if number < LEVEL <= round(number, 3):
        # Rounded, it would stand on the other side.
        return f"< {LEVEL:g}"
    return figure(number, 3 if number < 0.1 else 2)


def direction(metric: str) -> str:
    """Say which end of a metric is better."""
    return {"highest": "higher", "lowest": "lower", "zero": "near 0"}[METRICS[metric].best]


def listed(names: list[str]) -> str:
    """Join names as a sentence does.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
