"""Values of all examples in a few numbers, in JSON types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def summary(values: Sequence[float | None], upper: bool = False) -> dict[str, Any]:
    """The values of all examples, None for infinity, and their quartiles on the safe side."""
    numbers = [math.inf if value is None else value for value in values]
    low, median, high = (finite(float(value)) for value in safe_quartiles(numbers, upper))
    return {
        "values": [finite(number) for number in numbers],
        "median": median,
        "quartiles": [low, high],
    }


def safe_quartiles(values: Any, upper: bool = False) -> Any:
    """Lower quartile, median and upper quartile along the first axis, each a value that occurs.

    Where a quartile falls between two examples the weaker of both is taken, the smaller, or the
    larger for an ``upper`` bound: interpolation would claim more than an example has.
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=0)
    last = len(ordered) - 1
    rounded = math.ceil if upper else math.floor
    return np.stack([ordered[rounded(share * last)] for share in (0.25, 0.5, 0.75)])


def finite(value: float) -> float | None:
    """The value, or ``None`` in the place of an infinity, which JSON lacks."""
    return value if math.isfinite(value) else None
