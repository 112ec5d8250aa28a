"""The angle constant of a law from its bounds on means."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust._base.numbers.bisect import bisect

Array = NDArray[np.float64]
Lower = Callable[[ArrayLike, ArrayLike, int], Array]


def angle_by_lower(
    lower: Lower, shift: ArrayLike, dimension: int, nonnegative: bool = False
) -> Array:
    r"""The constant A of the cosine certificate, for maps of norm at most 1.

    .. math:: A = 1 - 2\,\mathrm{lower}(\tfrac12, t), \quad\text{and for maps without negative
              elements}\quad A = \sup_{0<a<1}\; a - (a+b)\,\mathrm{lower}(\tfrac a{a+b}, t),
              \quad b = \sqrt{1-a^2}

    for bounds that are each other's inverse: upper(p) <= q where p <= lower(q).

    Proof (ours): with :math:`w\cdot G` in [-a, b], :math:`s = (w\cdot G + a)/(a+b)` is
    [0, 1]-valued with mean :math:`p = (w\cdot h(x) + a)/(a+b)`. After the shift its mean is at most
    upper(p), which is at most a/(a+b), that is :math:`w\cdot h(x+\delta) \le 0`, as soon as
    :math:`p \le \mathrm{lower}(a/(a+b), t)`; solve for :math:`w\cdot h(x)`. Maps of either sign
    have a = b = 1. Dividing that form by :math:`\sqrt2` is no bound. Rounded up.

    Args:
        lower: of the law.
        shift: t >= 0, in standard deviations.
        dimension: number of features d.
        nonnegative: whether maps have no negative element.
    """
    shift = np.asarray(shift, float)
    if not nonnegative:
        return 1.0 - 2.0 * lower(0.5, shift, dimension)
    turns = np.linspace(0.0, math.pi / 2.0, 1001)[1:-1]
    best = turns[_of_split(lower, shift[..., None], dimension, turns).argmax(-1)][..., None]
    fine = best + np.linspace(-1.0, 1.0, 401) * (turns[1] - turns[0])
    fine = np.clip(fine, 1e-9, math.pi / 2.0 - 1e-9)
    largest = _of_split(lower, shift[..., None], dimension, fine).max(-1)
    return np.minimum(np.clip(largest, 0.0, None) + 1e-7, 1.0)


def _of_split(lower: Lower, shift: Array, dimension: int, turn: Array) -> Array:
    """The angle constant for one split a = sin(turn), b = cos(turn)."""
    negative, positive = np.sin(turn), np.cos(turn)
    length = negative + positive
    return negative - length * lower(negative / length, shift, dimension)


def inverse_angle(
    angle: Callable[[ArrayLike, int, bool], Array],
    constant: ArrayLike,
    dimension: int,
    nonnegative: bool,
) -> Array:
    """The largest shift up to 40 whose angle constant is at most ``constant``, by bisection.

    Rounded down; ``-inf`` where the constant is exceeded without a shift.
    """
    wanted = np.clip(np.asarray(constant, float), 0.0, 1.0)

    def fits(tried: Array) -> NDArray[np.bool_]:
        return angle(tried, dimension, nonnegative) <= wanted

    safe, _ = bisect(fits, np.zeros_like(wanted), 40.0, steps=50)
    return np.where(fits(np.zeros_like(wanted)), safe, -np.inf)
