"""Functional: how many of the top k features a map can lose by moving a given l2 distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust.certificates.functionals.overlap import top_indices

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
        >>> from captum_robust.certificates import ExchangeCosts
        >>> costs = ExchangeCosts([3.0, 2.0, 1.0, 0.0], count=2)
        >>> round(costs.cost(1), 6)  # 2 and 1 meet at 1.5
        0.707107
    """

    def __init__(self, means: ArrayLike, count: int) -> None:
        means = np.asarray(means, float)
        inside = np.zeros(means.size, dtype=bool)
        inside[top_indices(means, count)] = True
        self.most = min(count, means.size - count)
        leaving = np.sort(means[inside])[: self.most]
        entering = np.sort(means[~inside])[::-1][: self.most]
        # Sums of 2n values of a square of at most 5c^2 are off by less than 32 n eps c^2.
        margin = 1e-9 + 16.0 * self.most * np.finfo(float).eps
        costs = _least_distances(leaving, entering) * (1.0 - margin)
        # What rounding may have put out of order is put below, the safe side.
        self._costs = np.minimum.accumulate(costs[::-1])[::-1]

    def cost(self, exchanged: int) -> float:
        """c(n), rounded down, for n in [0, min(K, m - K)]."""
        return float(self._costs[exchanged])

    def displaced(self, distances: ArrayLike) -> NDArray[np.int64]:
        """The most features that a map can exchange by moving each distance."""
        return np.searchsorted(self._costs, distances, side="right") - 1


def _least_distances(leaving: Array, entering: Array) -> Array:
    r"""c(n) of the first n of each, for n = 0, 1, ..., by sums that all n share.

    ``leaving`` grows, ``entering`` falls, and no entry of the second is above one of the first, so
    a level leaves behind p entries of one of them at most. The others, of which there are 2n - p,
    meet at their mean: c(n)^2 is their scatter about it, :math:`\sum v^2 - (\sum v)^2/(2n-p)`.
    No digit is lost in the difference, since values v are taken from the middle between the two
    kinds: :math:`\sum v^2 \le 5c(n)^2`. If none is left behind, each of n pairs v >= 0 >= w adds at
    least :math:`(v-w)^2/2 \ge (v^2+w^2)/2` to it; else the n of the other kind are each at least
    the level's distance s from it, so :math:`ns^2 \le c(n)^2` and
    :math:`v^2 \le 2(v-s)^2 + 2s^2`.
    """
    if not leaving.size:
        return np.zeros(1)
    middle = (leaving[0] + entering[0]) / 2.0
    up, down = leaving - middle, middle - entering
    sums = np.stack([_running(up), -_running(down)])
    squares = np.stack([_running(up**2), _running(down**2)])
    passed = np.stack([_passed(up, *sums), _passed(down, *-sums[::-1])])
    chosen = np.arange(2)[:, None], passed
    active = 2 * np.arange(up.size + 1) - passed.sum(0)
    total = sums.sum(0) - sums[chosen].sum(0)
    scatter = squares.sum(0) - squares[chosen].sum(0) - total**2 / np.maximum(active, 1)
    return np.sqrt(np.maximum(scatter, 0.0))


def _running(values: Array) -> Array:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _passed(values: Array, sums: Array, others: Array) -> NDArray[np.int64]:
    r"""How many of the first n growing values lie below the level, for each n, by bisection.

    The cost grows in the level beyond :math:`v_p` if its derivative there,
    :math:`(2n-p)v_p - (\sum_{i \le n} v_i - \sum_{i \le p} v_i + \sum_{j \le n} w_j)`, is not
    negative; it does not fall in p.
    """
    count = np.arange(sums.size)
    low, high = np.zeros_like(count), count.copy()
    while (low < high).any():
        place = (low + high + 1) // 2
        value = values[np.maximum(place - 1, 0)]
        falls = (2 * count - place) * value < sums - sums[place] + others
        low, high = np.where(falls, place, low), np.where(falls, high, place - 1)
        high = np.maximum(low, high)
    return low
