"""Functional: how many of the top k features a shift can displace. Elementwise route."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust.noise import NoiseLaw

Array = NDArray[np.float64]


def displacement_shifts(
    means: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    count: int,
    law: NoiseLaw,
    dimension: int,
    *,
    known_top: bool = True,
    margin: float = 0.0,
) -> Array:
    r"""Shifts from which on 1, 2, 3, ... of the top ``count`` features may be displaced.

    Let :math:`X` be the top K of the means, :math:`l_{(n)}` the n-th smallest lower bound inside
    :math:`X` and :math:`u_{[n]}` the n-th largest upper bound outside. Then

    .. math:: |X \cap \mathrm{top}_K(h(\tilde x))| \ge K - \max\{n :
              \mathrm{lower}(l_{(n)}) \le \mathrm{upper}(u_{[n]})\}.

    Proof: if n features leave, n enter, and each that enters is at least each that leaves. Among n
    features that leave :math:`X` the largest lower bound is at least :math:`l_{(n)}`, among n that
    enter the smallest upper bound is at most :math:`u_{[n]}`; so
    :math:`\mathrm{lower}(l_{(n)}) \le \mathrm{upper}(u_{[n]})`. Conversely, where that holds the
    intervals admit the exchange: over the box of intervals the bound is exact, ties counting
    against it. Levine et al. (2019), Corollary 2, pairs rank i with 2K - i, one too strict; here it
    is 2K - i + 1.

    With ``known_top=False`` the top K of the expectation itself is compared, which is not known
    either: the bound then pairs the order statistics :math:`l_{[K-n+1]}` and :math:`u_{[K+n]}` of
    all features. Order statistics grow with every coordinate, so those of the expectation lie
    between those of its bounds, and the same argument applies to them.

    Args:
        means: averages ``(m,)`` in [0, 1]; ties go to the lower index.
        lower, upper: simultaneous bounds on their expectations, ``(m,)``.
        count: K, in [1, m].
        law: the noise law.
        dimension: number of input features.
        known_top: whether the top K at x is that of ``means`` or that of the expectations.
        margin: gap that has to remain between two means, >= 0.

    Returns:
        Non-decreasing shifts ``(min(K, m - K),)`` in standard deviations; the n-th is the least at
        which n features are not certified to stay. ``-inf`` where they are not at shift 0.

    Example:
        >>> from captum_robust.certificates import displacement_shifts
        >>> from captum_robust.noise import GaussianNoise
        >>> h = [0.95, 0.9, 0.1, 0.05]
        >>> displacement_shifts(h, h, h, 2, GaussianNoise(), 4).round(3)
        array([1.282, 1.645])
    """
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    exchanges = min(count, lower.size - count)
    if exchanges == 0:
        return np.empty(0)
    if known_top:
        inside = np.zeros(lower.size, dtype=bool)
        inside[top_indices(means, count)] = True
        leaving = np.sort(lower[inside])[:exchanges]
        entering = np.sort(upper[~inside])[::-1][:exchanges]
    else:
        leaving = np.sort(lower)[::-1][:count][::-1][:exchanges]
        entering = np.sort(upper)[::-1][count : count + exchanges]
    return law.separation(leaving, entering, dimension, margin)


def top_indices(means: ArrayLike, count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` largest, ties to the lower index, in no particular order."""
    means = np.asarray(means, float)
    threshold = np.partition(means, means.size - count)[means.size - count]
    above = np.flatnonzero(means > threshold)
    tied = np.flatnonzero(means == threshold)
    return np.concatenate([above, tied[: count - above.size]])
