"""Comparator: top-k overlap of maps that are distributions over features, by Renyi divergence."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust._base.checks import check_count, check_number
from captum_robust._base.numbers.bisect import bisect
from captum_robust.certificates.functionals.overlap import top_indices

Array = NDArray[np.float64]

# Orders tried; every order above 1 is valid, so a finite grid is safe.
ORDERS: Final = tuple(float(order) for order in 1.0 + np.geomspace(0.02, 12.0, 28))
_SMALLEST: Final = 1e-14  # shares are raised to it: safe outside the top, and powers stay finite


def renyi_threshold(
    means: ArrayLike, count: int, order: float, exchanges: int = 1, published: bool = False
) -> float:
    r"""Least Renyi divergence at which ``exchanges`` of the top ``count`` features can leave it.

    .. math:: \epsilon_\alpha = \min_q \{D_\alpha(q \,\|\, p) : q_i \le q_j
              \text{ for } i \in L,\, j \in E\} = -\ln\left(1 - \sum_{i \in P} (p_i - u)\right)

    with L the lowest n of the top K of p, E the highest n outside,
    :math:`P = \{i \in L : p_i > u\} \cup \{j \in E : p_j < u\}` and u the power mean of order
    :math:`1-\alpha` of p over P.

    Proof: for :math:`\alpha > 1` the sum :math:`\sum q^\alpha p^{1-\alpha}` is convex in q, and
    sorting q as p within the top and outside does not raise it, so L and E are the ones that
    exchange. Its Lagrangian leaves :math:`q \propto p` but for :math:`q_i = \min(p_i, u)` on L and
    :math:`\max(p_j, u)` on E, up to a common factor; stationarity in u is the power mean. The
    elements of P are then one atom of mass :math:`|P|u`, and Hoelder's inequality gives the value.

    Liu et al. (2022), Theorem 1, pool all 2n features, :math:`P = L \cup E`. That is the minimum
    for n = 1, but may lie **above** it for larger n, so it is not safe: p = (.6, .1, .1, .1, .1),
    K = n = 2, order 1.5 has minimum 0.4071 and 0.4293 printed.

    Args:
        means: the distribution p, ``(m,)``, >= 0, of sum at most 1; mass that is missing belongs
            to an extra outcome that is no feature, as where some maps are zero.
        count: K, in [1, m - 1].
        order: :math:`\alpha`, > 1.
        exchanges: n, in [1, min(K, m - K)].
        published: the printed formula.

    Returns:
        The divergence in nats; 0 where features are tied.

    Example:
        >>> from captum_robust.certificates import renyi_threshold
        >>> round(renyi_threshold([0.9, 0.05, 0.05], count=1, order=1.5), 4)
        1.1649
    """
    means = _distribution(means)
    check_number("order", order, low=1, open_low=True)
    most = min(check_count("count", count), means.size - count)
    if not 1 <= exchanges <= most:
        raise ValueError(f"`exchanges` must be in [1, {most}], got {exchanges}.")
    ranked = np.sort(np.maximum(means, _SMALLEST))[::-1]
    leaving = ranked[count - exchanges : count][::-1]
    entering = ranked[count : count + exchanges]
    gap = (_pooled_gaps if published else _gaps)(leaving, entering, order)[-1]
    return float(-np.log1p(-gap))


def renyi_displacement_shifts(
    means: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    count: int,
    *,
    known_top: bool = True,
    published: bool = False,
) -> Array:
    r"""Shifts from which on 1, 2, 3, ... of the top ``count`` features may be displaced.

    .. math:: t_n = \sup_{\alpha > 1} \sqrt{2\,\epsilon_\alpha(n) / \alpha}

    Assumes that the map of every single sample is a distribution over features (elements >= 0 of
    sum 1, or 0 everywhere) and Gaussian noise. Then drawing a sample and a feature from its map is
    a channel, so no Renyi divergence between the averages at :math:`\tilde x` and x exceeds that
    of the noise, :math:`D_\alpha = \alpha t^2/2` (data processing). Scaling the average alone
    would not do. Liu et al. (2022), Theorem 1, with the divergence of :func:`renyi_threshold`.

    Sampling error: :math:`\epsilon_\alpha` rises with every mean in L and falls with every mean in
    E where the mass in P alone counts, since the derivative of :math:`\sum_P (p_i - u)` in
    :math:`p_i` is :math:`1 - (u/p_i)^\alpha`; so lower bounds inside the top and upper bounds
    outside give the worst case over the box of intervals (exact where the remaining mass can make
    up the sum, else on the safe side), ties against it.

    Args:
        means: averages of the sum-normalised maps, ``(m,)``; ties go to the lower index.
        lower, upper: simultaneous bounds on their expectations, ``(m,)`` in [0, 1].
        count: K, in [1, m].
        known_top: whether the top K at x is that of ``means`` or that of the expectations.
        published: the printed formula, without sampling error and not safe beyond n = 1.

    Returns:
        Non-decreasing shifts ``(min(K, m - K),)`` in standard deviations, as
        :func:`~captum_robust.certificates.displacement_shifts` gives them; ``-inf`` where features
        are not certified to stay at shift 0.

    Example:
        >>> from captum_robust.certificates import renyi_displacement_shifts
        >>> h = [0.6, 0.3, 0.06, 0.04]
        >>> renyi_displacement_shifts(h, h, h, 2).round(3)
        array([0.438, 1.062])
    """
    means, lower, upper = (np.asarray(values, float) for values in (means, lower, upper))
    exchanges = min(check_count("count", count), means.size - count)
    if exchanges <= 0:
        return np.empty(0)
    if published:
        lower = upper = means
    gaps = _pooled_gaps if published else _gaps
    if known_top:
        inside = np.zeros(means.size, dtype=bool)
        inside[top_indices(means, count)] = True
        leaving = np.sort(lower[inside])[:exchanges]
        entering = np.sort(upper[~inside])[::-1][:exchanges]
    else:
        leaving = np.sort(lower)[::-1][:count][::-1][:exchanges]
        entering = np.sort(upper)[::-1][count : count + exchanges]
    leaving, entering = (np.clip(part, _SMALLEST, 1.0) for part in (leaving, entering))
    best = np.zeros(exchanges)
    for order in ORDERS:
        best = np.maximum(best, -np.log1p(-gaps(leaving, entering, order)) / order)
    return np.where(best > 0.0, np.sqrt(2.0 * best) * (1.0 - 1e-9), -np.inf)


def _gaps(leaving: Array, entering: Array, order: float) -> Array:
    r"""The mass :math:`\sum_P (p_i - u)` for 1, 2, ... exchanges, each >= 0, rounded down.

    Stationarity in u, a sum over L of :math:`(u^{1-\alpha} - p^{1-\alpha})_+` less one over E of
    :math:`(p^{1-\alpha} - u^{1-\alpha})_+`, falls with u, so its root is bisected; sums over
    sorted features are differences of cumulative ones. The set found then gives u itself.

    Args:
        leaving: ascending; the first n are L.
        entering: descending, as many; the first n are E.
        order: of the divergence.
    """
    power = 1.0 - order
    ends = np.arange(1, leaving.size + 1)
    shares = _RangeSums(leaving, entering)
    powers = _RangeSums(leaving**power, entering**power)

    def rises(level: Array) -> NDArray[np.bool_]:
        starts = _starts(leaving, entering, level)
        return shares.counts(starts, ends) * level**power > powers.between(starts, ends)

    # u lies between the n-th of each.
    low, high = bisect(rises, entering, leaving, 36, lambda low, high: np.sqrt(low * high))
    starts = _starts(leaving, entering, (low + high) / 2.0)
    pooled = shares.counts(starts, ends)
    power_mean = np.where(pooled > 0, powers.between(starts, ends) / np.maximum(pooled, 1), 1.0)
    gaps = shares.between(starts, ends) * (1.0 - 1e-11) - pooled * power_mean ** (1.0 / power)
    return np.where(leaving > entering, np.clip(gaps, 0.0, 1.0 - 1e-15), 0.0)


def _starts(leaving: Array, entering: Array, level: Array) -> tuple[NDArray[np.intp], ...]:
    """From which index on features that leave lie above a level, and those that enter below."""
    return (
        np.searchsorted(leaving, level, side="right"),
        np.searchsorted(-entering, -level, side="right"),
    )


class _RangeSums:
    """Sums over ranges of two sorted arrays, accumulated from the end with the smaller powers."""

    def __init__(self, leaving: Array, entering: Array) -> None:
        self._suffix = np.append(np.cumsum(leaving[::-1])[::-1], 0.0)
        self._prefix = np.append(0.0, np.cumsum(entering))

    @staticmethod
    def counts(starts: tuple[NDArray[np.intp], ...], ends: NDArray[np.intp]) -> NDArray[np.intp]:
        """Numbers of features in ``[start, end)`` of both arrays."""
        return sum((np.maximum(ends - start, 0) for start in starts), np.zeros_like(ends))

    def between(self, starts: tuple[NDArray[np.intp], ...], ends: NDArray[np.intp]) -> Array:
        """Sums over ``[start, end)`` of both arrays."""
        first, second = (np.minimum(start, ends) for start in starts)
        left = self._suffix[first] - self._suffix[ends]
        return left + self._prefix[ends] - self._prefix[second]


def _pooled_gaps(leaving: Array, entering: Array, order: float) -> Array:
    """As :func:`_gaps` with every feature that is exchanged in P, as printed."""
    pooled = 2.0 * np.arange(1, leaving.size + 1)
    powers = np.cumsum(leaving ** (1.0 - order) + entering ** (1.0 - order))
    mean = (powers / pooled) ** (1.0 / (1.0 - order))
    mass = np.cumsum(leaving + entering) * (1.0 - 1e-11)
    return np.clip(mass - pooled * mean, 0.0, 1.0 - 1e-15)


def _distribution(means: ArrayLike) -> Array:
    means = np.asarray(means, float)
    if not ((means >= 0.0).all() and means.sum() <= 1.0 + 1e-6):
        raise ValueError(
            "`means` must be a distribution over features (elements >= 0 of sum at most 1), got "
            f"elements from {means.min():g} and sum {means.sum():g}; normalise every sample's map."
        )
    return means
