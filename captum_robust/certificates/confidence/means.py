"""Confidence bounds on means of many [0, 1]-valued features at once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Array = NDArray[np.float64]


DOWN = 1e-12  # bounds are rounded outward by more than the error of what computes them


def hoeffding(
    means: ArrayLike, samples: int, alpha: float, comparisons: int
) -> tuple[Array, Array]:
    r"""Simultaneous two-sided bounds on expectations of [0, 1]-valued means.

    .. math:: \hat h \pm c, \quad c = \sqrt{\frac{\ln(2m/\alpha)}{2N}}

    Hoeffding (1963), Theorem 2, with a union over both sides of :math:`m` means; Levine et al.
    (2019), eq. 3.3.

    Args:
        means: averages of ``samples`` independent values in [0, 1], any shape.
        samples: their number N.
        alpha: probability that any bound fails.
        comparisons: number m of means bounded together.

    Returns:
        Lower and upper bounds in [0, 1], float64.

    Example:
        >>> from captum_robust.certificates import hoeffding
        >>> low, high = hoeffding([0.5], samples=8192, alpha=0.05, comparisons=150528)
        >>> round(float(high[0] - 0.5), 5)
        0.03087
    """
    means = np.asarray(means, float)
    half = hoeffding_half_width(samples, alpha, comparisons) + DOWN
    return np.clip(means - half, 0.0, 1.0), np.clip(means + half, 0.0, 1.0)


def hoeffding_half_width(samples: int, alpha: float, comparisons: int) -> float:
    """The half width c of :func:`hoeffding`."""
    return math.sqrt(math.log(2.0 * comparisons / alpha) / (2.0 * samples))


def clopper_pearson(
    means: ArrayLike, samples: int, alpha: float, comparisons: int
) -> tuple[Array, Array]:
    r"""Simultaneous exact two-sided bounds on probabilities, from shares of successes.

    With :math:`c` successes of :math:`N`, the bounds are the quantiles

    .. math:: l = B_{\alpha/2m}(c,\, N-c+1), \quad u = B_{1-\alpha/2m}(c+1,\, N-c)

    of beta distributions. Clopper and Pearson (1934), with a union over both sides of :math:`m`.

    Args:
        means: shares of successes, multiples of 1/N, any shape.
        samples: number N of independent trials.
        alpha: probability that any bound fails.
        comparisons: number m of probabilities bounded together.

    Returns:
        Lower and upper bounds in [0, 1], float64.

    Example:
        >>> from captum_robust.certificates import clopper_pearson
        >>> low, high = clopper_pearson([0.0], samples=100, alpha=0.1, comparisons=1)
        >>> float(low[0]), round(float(high[0]), 4)
        (0.0, 0.0295)
    """
    counts = np.rint(np.asarray(means, float) * samples).astype(np.int64)
    present, index = np.unique(counts, return_inverse=True)  # at most N + 1 quantiles to compute
    side = alpha / (2.0 * comparisons)
    with np.errstate(invalid="ignore"):
        low = stats.beta.ppf(side, present, samples - present + 1)
        high = stats.beta.isf(side, present + 1, samples - present)
    low = np.where(present == 0, 0.0, low * (1.0 - 1e-9))
    high = np.where(present == samples, 1.0, np.minimum(high + (1.0 - high) * 1e-9 + DOWN, 1.0))
    index = index.reshape(counts.shape)
    return low[index], high[index]


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
    level = math.log(2.0 * comparisons / alpha) / samples
    return 1.0 - kl_upper(1.0 - shares, level), kl_upper(shares, level)


def kl_upper(means: ArrayLike, level: float) -> Array:
    r"""The largest q with :math:`\mathrm{kl}(p \,\|\, q)` of at most ``level``, rounded up.

    Args:
        means: p, in [0, 1], any shape.
        level: >= 0.

    Example:
        >>> from captum_robust.certificates.confidence.means import kl_upper
        >>> float(kl_upper(0.0, 0.1).round(4))  # 1 - exp(-0.1)
        0.0952
    """
    inside = means = np.asarray(means, float)
    outside = np.minimum(means + math.sqrt(level / 2.0) + DOWN, 1.0)  # Pinsker
    for _ in range(40):
        middle = (inside + outside) / 2.0
        divergence = special.rel_entr(means, middle) + special.rel_entr(1 - means, 1 - middle)
        fits = divergence <= level
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    return np.minimum(outside + DOWN, 1.0)


def empirical_bernstein(
    means: ArrayLike, variances: ArrayLike, samples: int, alpha: float, comparisons: int
) -> tuple[Array, Array]:
    r"""Simultaneous bounds on expectations of [0, 1]-valued means, narrow where they vary little.

    .. math:: \hat h \pm \left(\sqrt{\frac{2V\ln(4m/\alpha)}{N}}
              + \frac{7\ln(4m/\alpha)}{3(N-1)}\right)

    Maurer and Pontil (2009), Theorem 4, with :math:`\delta = \alpha/2m` for each side.

    Args:
        means: averages of ``samples`` independent values in [0, 1], any shape.
        variances: their sample variances V, divided by N - 1, same shape.
        samples: their number N, at least 2.
        alpha: probability that any bound fails.
        comparisons: number m of means bounded together.

    Returns:
        Lower and upper bounds in [0, 1], float64.

    Example:
        >>> from captum_robust.certificates import empirical_bernstein
        >>> low, high = empirical_bernstein([0.5], [0.0], samples=1000, alpha=0.1, comparisons=1)
        >>> round(float(high[0]), 4)
        0.5086
    """
    if samples < 2:
        raise ValueError(f"`samples` must be at least 2 for a variance, got {samples}.")
    means = np.asarray(means, float)
    level = math.log(4.0 * comparisons / alpha)
    half = np.sqrt(2.0 * np.asarray(variances, float) * level / samples)
    half = half + 7.0 * level / (3.0 * (samples - 1)) + DOWN
    return np.clip(means - half, 0.0, 1.0), np.clip(means + half, 0.0, 1.0)
