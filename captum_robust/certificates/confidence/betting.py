"""Confidence bound on one mean by betting."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from captum_robust._base.numbers.bisect import bisect
from captum_robust.certificates.confidence.elementwise.confidence import DOWN, Array


def betting_lower(values: ArrayLike, alpha: float) -> float:
    r"""Lower bound on the expectation of one [0, 1]-valued variable, from its single values.

    For a candidate mean q a gambler bets the predictable share :math:`\lambda_t(q)` on each value
    being above it:

    .. math:: K_t(q) = \prod_{i \le t} (1 + \lambda_i(q)\,(x_i - q)), \qquad
              l = \inf\{q : \max_t K_t(q) < 1/\alpha\}

    Proof: for q at least the true mean :math:`K_t(q)` is a nonnegative supermartingale of start 1,
    so by Ville's inequality it ever reaches :math:`1/\alpha` with probability of at most
    :math:`\alpha`. Every factor falls with q, also where the share is capped at :math:`3/4q`, so
    the candidates not refuted form an interval. Waudby-Smith and Ramdas (2024), Theorem 3 and
    eq. 26, the plus side alone.

    Args:
        values: independent values in [0, 1], ``(N,)``, in the order drawn.
        alpha: probability that the bound fails.

    Returns:
        The bound, rounded down. For an upper bound take ``1 - betting_lower(1 - values, alpha)``.

    Example:
        >>> from captum_robust.certificates import betting_lower
        >>> 0.95 < betting_lower([1.0] * 100, alpha=0.05) < 0.05 ** (1 / 100)
        True
    """
    values = np.asarray(values, float)
    wanted = math.log(1.0 / alpha)
    shares = _betting_shares(values, wanted)

    def is_refuted(candidate: Array) -> bool:
        capped = np.minimum(shares, 0.75 / candidate)
        return np.cumsum(np.log1p(capped * (values - candidate))).max() >= wanted

    refuted, _ = bisect(is_refuted, 0.0, 1.0, steps=50)
    return max(0.0, float(refuted) - DOWN)


def _betting_shares(values: Array, wanted: float) -> Array:
    """The predictable plug-in shares: each depends on the values before it alone."""
    counts = np.arange(1, values.size + 1)
    means = (0.5 + np.cumsum(values)) / (counts + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (counts + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.sqrt(2.0 * wanted / (values.size * before))
