"""Confidence: from a mean over samples to bounds on the expectation. No model, no randomness."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Array = NDArray[np.float64]

_DOWN = 1e-12  # bounds are rounded outward by more than the error of what computes them


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
        >>> low, high = hoeffding([0.5], samples=8192, alpha=0.05, comparisons=150528)
        >>> round(float(high[0] - 0.5), 5)
        0.03087
    """
    means = np.asarray(means, float)
    half = hoeffding_half_width(samples, alpha, comparisons) + _DOWN
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
    high = np.where(present == samples, 1.0, np.minimum(high + (1.0 - high) * 1e-9 + _DOWN, 1.0))
    index = index.reshape(counts.shape)
    return low[index], high[index]


def norm_radius(norm: float, samples: int, alpha: float, nonnegative: bool = False) -> float:
    r"""Radius within which a mean of bounded vectors lies of its expectation, in l2 norm.

    .. math:: R = \frac{M}{\sqrt N}\left(1 + \sqrt{2\ln\tfrac1\alpha}\right)

    Proof: :math:`E\|\hat h - h\| \le \sqrt{\mathrm{tr}\,\mathrm{Cov}/N} \le M/\sqrt N` (Jensen);
    exchanging one sample moves :math:`\|\hat h - h\|` by at most :math:`2M/N`, so McDiarmid's
    inequality bounds the excess over the expectation by :math:`M\sqrt{2\ln(1/\alpha)/N}` with
    probability :math:`1-\alpha`. Two maps without negative elements are at most
    :math:`\sqrt2 M` apart, which takes the 2 out of the root.

    Args:
        norm: bound M on the l2 norm of every sample.
        samples: number N of independent samples.
        alpha: probability of failure.
        nonnegative: whether samples have no negative element.

    Example:
        >>> round(norm_radius(1.0, samples=100_000, alpha=0.01), 5)
        0.01276
    """
    spread = 1.0 if nonnegative else 2.0
    return norm / math.sqrt(samples) * (1.0 + math.sqrt(spread * math.log(1.0 / alpha)))


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
        >>> float(kl_upper(0.0, 0.1).round(4))  # 1 - exp(-0.1)
        0.0952
    """
    inside = means = np.asarray(means, float)
    outside = np.minimum(means + math.sqrt(level / 2.0) + _DOWN, 1.0)  # Pinsker
    for _ in range(40):
        middle = (inside + outside) / 2.0
        divergence = special.rel_entr(means, middle) + special.rel_entr(1 - means, 1 - middle)
        fits = divergence <= level
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    return np.minimum(outside + _DOWN, 1.0)


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
        >>> low, high = empirical_bernstein([0.5], [0.0], samples=1000, alpha=0.1, comparisons=1)
        >>> round(float(high[0]), 4)
        0.5086
    """
    if samples < 2:
        raise ValueError(f"`samples` must be at least 2 for a variance, got {samples}.")
    means = np.asarray(means, float)
    level = math.log(4.0 * comparisons / alpha)
    half = np.sqrt(2.0 * np.asarray(variances, float) * level / samples)
    half = half + 7.0 * level / (3.0 * (samples - 1)) + _DOWN
    return np.clip(means - half, 0.0, 1.0), np.clip(means + half, 0.0, 1.0)


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
        >>> 0.95 < betting_lower([1.0] * 100, alpha=0.05) < 0.05 ** (1 / 100)
        True
    """
    values = np.asarray(values, float)
    wanted = math.log(1.0 / alpha)
    shares = _betting_shares(values, wanted)
    refuted, kept = 0.0, 1.0
    for _ in range(50):
        candidate = (refuted + kept) / 2.0
        capped = np.minimum(shares, 0.75 / candidate)
        wealth = np.cumsum(np.log1p(capped * (values - candidate)))
        if wealth.max() >= wanted:
            refuted = candidate
        else:
            kept = candidate
    return max(0.0, refuted - _DOWN)


def _betting_shares(values: Array, wanted: float) -> Array:
    """The predictable plug-in shares: each depends on the values before it alone."""
    counts = np.arange(1, values.size + 1)
    means = (0.5 + np.cumsum(values)) / (counts + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (counts + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.sqrt(2.0 * wanted / (values.size * before))
