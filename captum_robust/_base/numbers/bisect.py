"""Bisection between an end that is safe and one that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def halfway(first: Array, second: Array) -> Array:
    """The arithmetic mean, element by element."""
    return (first + second) / 2.0


def bisect(
    holds: Callable[[Array], Any],
    safe: ArrayLike,
    unsafe: ArrayLike,
    steps: int,
    middle: Callable[[Array, Array], Array] = halfway,
) -> tuple[Array, Array]:
    """Narrows brackets element by element; returns their safe and their unsafe ends.

    The safe end is never moved to where ``holds`` is false, so it errs on the safe side at any
    number of steps.

    Args:
        holds: which of the tried values hold.
        safe: ends taken to hold.
        unsafe: ends taken not to hold, on either side.
        steps: halvings.
        middle: the point tried between two ends.

    Example:
        >>> from captum_robust._base.numbers.bisect import bisect
        >>> safe, unsafe = bisect(lambda t: t**2 <= 2.0, 0.0, 2.0, steps=40)
        >>> float(safe.round(6)), bool(safe**2 <= 2.0)
        (1.414214, True)
    """
    safe, unsafe = np.broadcast_arrays(np.asarray(safe, float), np.asarray(unsafe, float))
    for _ in range(steps):
        tried = middle(safe, unsafe)
        good = holds(tried)
        safe, unsafe = np.where(good, tried, safe), np.where(good, unsafe, tried)
    return safe, unsafe
