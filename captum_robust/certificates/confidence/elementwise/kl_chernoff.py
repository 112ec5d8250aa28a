"""Chernoff's bound by the Kullback-Leibler divergence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from captum_robust._base.numbers.bisect import bisect
from captum_robust.certificates.budget import per_side
from captum_robust.certificates.confidence.elementwise.confidence import DOWN, Array, Confidence


def kl_chernoff(
    means: ArrayLike, samples: int, alpha: float, comparisons: int
) -> tuple[Array, Array]:
    r"""Simultaneous bounds on expectations of [0, 1]-valued means, never wider than Hoeffding's.

    .. math:: l = \inf\{q : \mathrm{kl}(\hat h \,\|\, q) \le \tfrac1N \ln\tfrac{2m}\alpha\},
              \quad u = \sup\{\ldots\},
              \quad \mathrm{kl}(p \,\|\, q) = p\ln\tfrac pq + (1-p)\ln\tfrac{1-p}{1-q}

    Proof: for values in [0, 1] with mean q, convexity of the exponential gives the moment
    generating function of a Bernoulli variable as a bound, so
    :math:`P(\hat h \ge p) \le e^{-N\,\mathrm{kl}(p\|q)}` for p above q, and likewise below
    (Hoeffding, 1963, Theorem 1); a union over both sides of m. By Pinsker's inequality
    :math:`\mathrm{kl} \ge 2(p-q)^2` the interval lies inside Hoeffding's. The bounds increase with
    :math:`\hat h`, so they keep its order.

    Args:
        means: averages of ``samples`` independent values in [0, 1], any shape.
        samples: their number N.
        alpha: probability that any bound fails.
        comparisons: number m of means bounded together.

    Returns:
        Lower and upper bounds in [0, 1], float64.

    Example:
        >>> from captum_robust.certificates import kl_chernoff
        >>> low, high = kl_chernoff([0.0, 0.5], samples=1000, alpha=0.1, comparisons=1)
        >>> high.round(4)
        array([0.003 , 0.5386])
    """
    shares = np.clip(np.asarray(means, float), 0.0, 1.0)
    level = -math.log(per_side(alpha, comparisons)) / samples
    return 1.0 - kl_upper(1.0 - shares, level), kl_upper(shares, level)


def kl_upper(means: ArrayLike, level: float) -> Array:
    r"""The largest q with :math:`\mathrm{kl}(p \,\|\, q)` of at most ``level``, rounded up.

    Args:
        means: p, in [0, 1], any shape.
        level: >= 0.

    Example:
        >>> from captum_robust.certificates.confidence.elementwise.kl_chernoff import kl_upper
        >>> float(kl_upper(0.0, 0.1).round(4))  # 1 - exp(-0.1)
        0.0952
    """
    means = np.asarray(means, float)
    pinsker = np.minimum(means + math.sqrt(level / 2.0) + DOWN, 1.0)

    def exceeds(tried: Array) -> Array:
        divergence = special.rel_entr(means, tried) + special.rel_entr(1 - means, 1 - tried)
        return divergence > level

    outside, _ = bisect(exceeds, pinsker, means, steps=40)
    return np.minimum(outside + DOWN, 1.0)


class KLChernoff(Confidence):
    """See :func:`~captum_robust.certificates.kl_chernoff`."""

    name = "kl"

    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        return kl_chernoff(means, samples, alpha, comparisons)
