"""Numbers as a reader sees them, rounded to the side on which the statement stays true."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "nothing"


def share(value: float) -> str:
    """A certified share in percent, rounded down.

    Example:
        >>> from captum_robust.audit.measure.rounding import share
        >>> share(0.9999), share(0.0)
        ('99.9 %', '0.0 %')
    """
    return f"{_floor(100 * value, 1):.1f} %"


def cosine(value: float) -> str:
    """A certified cosine, rounded down; a value of 0 or less certifies nothing.

    Example:
        >>> from captum_robust.audit.measure.rounding import cosine
        >>> cosine(0.98765), cosine(0.0)
        ('0.987', 'nothing')
    """
    return NONE if value <= 0 else f"{_floor(value, 3):.3f}"


def angle(value: float) -> str:
    """A certified angle, rounded up; 90 degrees or more certify nothing of nonnegative maps.

    Example:
        >>> from captum_robust.audit.measure.rounding import angle
        >>> angle(12.31), angle(90.0)
        ('12.4°', 'nothing')
    """
    return NONE if value >= 90 else f"{math.ceil(value * 10 - 1e-9) / 10:.1f}°"


def radius(value: float | None) -> str:
    """A certified radius, rounded down; ``None`` is no limit.

    Example:
        >>> from captum_robust.audit.measure.rounding import radius
        >>> radius(0.12349), radius(None)
        ('0.1234', 'any')
    """
    return "any" if value is None else f"{_floor(value, 4):.4f}"


def measured_share(value: float) -> str:
    """A share that an attack left, in percent, rounded up: a better attack may leave less.

    Example:
        >>> from captum_robust.audit.measure.rounding import measured_share
        >>> measured_share(0.6251), measured_share(1.0)
        ('62.6 %', '100.0 %')
    """
    return f"{math.ceil(1000 * value - 1e-9) / 10:.1f} %"


def estimate(value: float | None) -> str:
    """A measured value, rounded to the nearest.

    Example:
        >>> from captum_robust.audit.measure.rounding import estimate
        >>> estimate(0.1266), estimate(None)
        ('0.127', 'undefined')
    """
    return "undefined" if value is None else f"{value:.3f}"


def interval(ends: Sequence[float] | None) -> str:
    """The ends of an interval, or nothing where there are too few examples for one.

    Example:
        >>> from captum_robust.audit.measure.rounding import interval
        >>> interval([0.1, 0.2566]), interval(None)
        ('0.100-0.257', '')
    """
    return "" if ends is None else f"{ends[0]:.3f}-{ends[1]:.3f}"


def fact(value: object) -> str:
    """A fact of any JSON type; shares to four digits, counts with thousands apart.

    Example:
        >>> from captum_robust.audit.measure.rounding import fact
        >>> fact(0.97987), fact(7098)
        ('0.9799', '7,098')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _floor(value: float, digits: int) -> float:
    """Rounded down to so many digits; 1e-9 undoes the rounding of values such as 0.29 * 100."""
    return math.floor(value * 10**digits + 1e-9) / 10**digits
