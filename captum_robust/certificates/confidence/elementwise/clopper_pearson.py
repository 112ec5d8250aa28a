"""Exact bounds on probabilities."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from captum_robust.certificates.budget import per_side
from captum_robust.certificates.confidence.elementwise.confidence import DOWN, Array, Confidence


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
    side = per_side(alpha, comparisons)
    with np.errstate(invalid="ignore"):
        low = scipy.stats.beta.ppf(side, present, samples - present + 1)
        high = scipy.stats.beta.isf(side, present + 1, samples - present)
    low = np.where(present == 0, 0.0, low * (1.0 - 1e-9))
    high = np.where(present == samples, 1.0, np.minimum(high + (1.0 - high) * 1e-9 + DOWN, 1.0))
    index = index.reshape(counts.shape)
    return low[index], high[index]


class ClopperPearson(Confidence):
    """See :func:`~captum_robust.certificates.clopper_pearson`."""

    name = "clopper-pearson"
    needs_marks = True

    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        return clopper_pearson(means, samples, alpha, comparisons)
