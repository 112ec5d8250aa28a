"""Hoeffding's inequality."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from captum_robust.certificates.budget import per_side
from captum_robust.certificates.confidence.elementwise.confidence import DOWN, Array, Confidence


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
    return math.sqrt(-math.log(per_side(alpha, comparisons)) / (2.0 * samples))


class Hoeffding(Confidence):
    """See :func:`~captum_robust.certificates.hoeffding`."""

    name = "hoeffding"

    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        return hoeffding(means, samples, alpha, comparisons)
