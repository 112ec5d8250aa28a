"""Bernstein's bound with the sample variance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from captum_robust.certificates.budget import bernstein_side, per_side
from captum_robust.certificates.confidence.elementwise.confidence import DOWN, Array, Confidence


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
    level = -math.log(bernstein_side(per_side(alpha, comparisons)))
    half = np.sqrt(2.0 * np.asarray(variances, float) * level / samples)
    half = half + 7.0 * level / (3.0 * (samples - 1)) + DOWN
    return np.clip(means - half, 0.0, 1.0), np.clip(means + half, 0.0, 1.0)


class EmpiricalBernstein(Confidence):
    """See :func:`~captum_robust.certificates.empirical_bernstein`."""

    name = "empirical-bernstein"
    needs_variances = True

    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        if variances is None:
            raise ValueError(
                'the certificate holds no variances; certify with confidence="empirical-bernstein".'
            )
        return empirical_bernstein(means, variances, samples, alpha, comparisons)
