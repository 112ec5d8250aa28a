"""Functional: the worst rank that a shift can give each feature."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]


def certified_ranks(lower: ArrayLike, upper: ArrayLike) -> Ranks:
    r"""Worst rank of each feature, from bounds that hold at the perturbed input.

    .. math:: \mathrm{rank}_j \le \#\{i : u_i \ge l_j\}

    j itself is counted. Proof: every feature that ranks at or above j has a value of at least
    :math:`h_j \ge l_j`, so its upper bound is at least that. Levine et al. (2019), section 3.

    Args:
        lower, upper: simultaneous bounds on the features' values after the shift, ``(m,)``.

    Returns:
        Ranks ``(m,)`` in [1, m]; 1 is the largest.

    Example:
        >>> from captum_robust.certificates import certified_ranks
        >>> certified_ranks([0.8, 0.4, 0.1], [0.9, 0.5, 0.4])
        array([1, 3, 3])
    """
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    below = np.searchsorted(np.sort(upper), lower, side="left")
    return (upper.size - below).astype(np.int64)


def conserved_ranks(lower: ArrayLike, total: float) -> Ranks:
    r"""Worst rank of each feature of a nonnegative map whose elements sum to at most ``total``.

    .. math:: \mathrm{rank}_j \le \lfloor T / l_j \rfloor

    Proof (ours): if j has rank r, then r features are at least :math:`h_j \ge l_j` and the rest are
    not negative, so :math:`r\,l_j \le \sum_i h_i \le T`. Sparsified maps sum to at most the number
    of features kept at *every* input, so the bound needs no other feature.

    Args:
        lower: bounds on the features' values after the shift, in units of the map, ``(m,)``.
        total: T, proven for the map at every input.

    Returns:
        Ranks ``(m,)`` in [1, m].

    Example:
        >>> from captum_robust.certificates import conserved_ranks
        >>> conserved_ranks([0.5, 0.0, 0.9], total=2.0)
        array([3, 3, 2])
    """
    lower = np.asarray(lower, float)
    with np.errstate(divide="ignore"):
        bound = np.where(lower > 0, total / lower * (1.0 + 1e-12), np.inf)
    return np.clip(np.floor(np.minimum(bound, lower.size)), 1, lower.size).astype(np.int64)


def median_rank_bound(
    median_rank: int, rank_values: ArrayLike, ratio: float, half_width: float
) -> float:
    r"""Worst rank of a feature from its median rank over samples, Gaussian noise.

    .. math:: \mathrm{rank} \le \left\lceil \frac{\sum_k f(k)}{\hat L(f(T)/2)} \right\rceil,\quad
              \hat L(z) = \Phi(\Phi^{-1}(z - c) - 2\epsilon/\sigma) - c

    for a feature whose rank is at most T in half of the samples. Levine et al. (2019), Theorem 2,
    is the case :math:`f(k) = 1[k \le T]`, which gives :math:`\lceil T/\hat L(1/2)\rceil`; the
    general case is ours: the map averages :math:`f(\text{rank})`, so the feature's value is at
    least :math:`f(T)/2`, and :func:`conserved_ranks` does the rest.

    Args:
        median_rank: T, in [1, m].
        rank_values: :math:`f(1), \ldots, f(m)`, in [0, 1], not increasing.
        ratio: perturbation size over noise level, :math:`\epsilon/\sigma`, >= 0.
        half_width: Hoeffding's c, see :func:`~captum_robust.certificates.hoeffding`.

    Returns:
        The rank, or infinity where nothing is certified.

    Example:
        >>> from captum_robust.certificates import median_rank_bound
        >>> sparsified = [1.0] * 100 + [0.0] * 900
        >>> median_rank_bound(100, sparsified, ratio=0.2, half_width=0.0)
        291.0
    """
    values = np.asarray(rank_values, float)
    if not 1 <= median_rank <= values.size:
        raise ValueError(f"`median_rank` must be in [1, {values.size}], got {median_rank}.")
    share = values[median_rank - 1] / 2.0 - half_width
    if share <= 0.0:
        return math.inf
    floor = float(special.ndtr(special.ndtri(share) - 2.0 * ratio)) - half_width
    return float(math.ceil(values.sum() / floor - 1e-9)) if floor > 0.0 else math.inf
