"""Confidence: from a mean over samples to bounds on the expectation. No model, no randomness."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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


def norm_radius(norm: float, samples: int, alpha: float) -> float:
    r"""Radius within which a mean of bounded vectors lies of its expectation, in l2 norm.

    .. math:: R = \frac{M}{\sqrt N}\left(1 + \sqrt{2\ln\tfrac1\alpha}\right)

    Proof: :math:`E\|\hat h - h\| \le \sqrt{\mathrm{tr}\,\mathrm{Cov}/N} \le M/\sqrt N` (Jensen);
    exchanging one sample moves :math:`\|\hat h - h\|` by at most :math:`2M/N`, so McDiarmid's
    inequality bounds the excess over the expectation by :math:`M\sqrt{2\ln(1/\alpha)/N}` with
    probability :math:`1-\alpha`.

    Args:
        norm: bound M on the l2 norm of every sample.
        samples: number N of independent samples.
        alpha: probability of failure.

    Example:
        >>> round(norm_radius(1.0, samples=100_000, alpha=0.01), 5)
        0.01276
    """
    return norm / math.sqrt(samples) * (1.0 + math.sqrt(2.0 * math.log(1.0 / alpha)))
