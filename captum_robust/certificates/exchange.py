"""Functional: how many of the top k features a map can lose by moving a given l2 distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust.certificates.overlap import top_indices

Array = NDArray[np.float64]


class ExchangeCosts:
    r"""The least l2 distance a map must move for n of its top K features to be exchanged.

    .. math:: c(n) = \min_s \Big[\sum_{i \in X_n} (\hat h_i - s)_+^2
              + \sum_{j \in O_n} (s - \hat h_j)_+^2\Big]^{1/2}

    with :math:`X_n` the n lowest of the top K and :math:`O_n` the n highest of the rest. Proof
    (ours): if n features leave and n enter, some level s lies between: those that leave are at most
    s and those that enter at least s. Moving each to s is the cheapest way, and exchanging the
    lowest of X with the highest outside costs least. A larger exchange contains a smaller one, so
    c does not decrease and all maps within a distance D keep at least
    :math:`K - \max\{n : c(n) \le D\}`.

    Args:
        means: the map ``(m,)``; ties go to the lower index.
        count: K, in [1, m].

    Example:
        >>> costs = ExchangeCosts([3.0, 2.0, 1.0, 0.0], count=2)
        >>> float(costs.cost(1).round(6))  # 2 and 1 meet at 1.5
        0.707107
    """

    def __init__(self, means: ArrayLike, count: int) -> None:
        means = np.asarray(means, float)
        inside = np.zeros(means.size, dtype=bool)
        inside[top_indices(means, count)] = True
        self.most = min(count, means.size - count)
        self._leaving = np.sort(means[inside])[: self.most]
        self._entering = np.sort(means[~inside])[::-1][: self.most]

    def cost(self, exchanged: int) -> Array:
        """c(n), rounded down, for n in [0, min(K, m - K)]."""
        leaving, entering = self._leaving[:exchanged], self._entering[:exchanged]
        level = _cheapest_level(leaving, entering)
        above, below = np.clip(leaving - level, 0.0, None), np.clip(level - entering, 0.0, None)
        return np.sqrt(above @ above + below @ below) * (1.0 - 1e-9)

    def displaced(self, distance: float) -> int:
        """The most features that a map can exchange by moving ``distance``."""
        kept, lost = 0, self.most + 1
        while lost - kept > 1:
            middle = (kept + lost) // 2
            if self.cost(middle) <= distance:
                kept = middle
            else:
                lost = middle
        return kept


def _cheapest_level(leaving: Array, entering: Array) -> float:
    """The level that minimises the cost.

    The derivative, the sum of (s - h_j)+ less the sum of (h_i - s)+, grows piecewise linearly with
    kinks at the values. Between the kinks it is slope * s - offset; its root is exact, and any
    other level would over-state the cost, which is the unsafe side.
    """
    kinks = np.sort(np.concatenate([leaving, entering]))
    if not kinks.size:
        return 0.0
    rising = np.sort(entering)
    below = np.searchsorted(rising, kinks, side="right")
    above = leaving.size - np.searchsorted(leaving, kinks, side="right")
    sums_below = np.concatenate([[0.0], np.cumsum(rising)])[below]
    sums_above = np.concatenate([[0.0], np.cumsum(leaving[::-1])])[above]
    slope, offset = below + above, sums_below + sums_above
    derivative = slope * kinks - offset
    place = int(np.searchsorted(derivative, 0.0, side="right")) - 1
    place = max(place, 0)
    if slope[place] == 0:
        return float(kinks[place])
    return float(offset[place] / slope[place])
