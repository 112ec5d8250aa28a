"""Functional: how much of a map's top stays inside a region fixed beforehand. Gaussian noise."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

# Multipliers stay where the closed form loses few digits: its rounding grows like 1 / second.
_LOGS: Final = 6.0
_ROUNDING: Final = 1e-8
_FARTHEST: Final = 26.0  # standard deviations beyond which exp(t^2) overflows


def variance_shift(lower: float, variance: float, shift: float) -> float:
    r"""Least mean of a variable after a shift of Gaussian noise, from its variance.

    .. math:: E\,s(x+\delta+\eta) \ge p - \sqrt V \sqrt{e^{t^2} - 1}

    The one-dimensional case of :func:`~captum_robust.certificates.hcr_shift` (ours).

    Args:
        lower: bound on the mean p before the shift.
        variance: bound V on the variance.
        shift: t, >= 0.

    Example:
        >>> from captum_robust.certificates import variance_shift
        >>> round(variance_shift(0.8, 0.01, 0.5), 4)
        0.7467
    """
    if shift > _FARTHEST:
        return lower if variance == 0.0 else -math.inf
    return lower - math.sqrt(variance * math.expm1(shift**2))


def moment_shift(lower: float, upper: float, variance: float, shift: float) -> float:
    r"""Least mean of a [0, 1]-valued variable after a shift, from its mean and variance together.

    For any :math:`\lambda_1, \lambda_2 \ge 0`, with the likelihood ratio
    :math:`\Lambda = e^{tz - t^2/2}` and z standard normal,

    .. math:: E\,s(x+\delta+\eta) \ge
              E_z \min_{0\le s\le1}\left[s\Lambda - \lambda_1 s + \lambda_2 s^2\right]
              + \min_{p \in \{l,u\}} \left(\lambda_1 p - \lambda_2(p^2 + V)\right).

    Proof (ours, weak duality): the mean after the shift is :math:`E[s\Lambda]`. Add and subtract
    :math:`\lambda_1 E s - \lambda_2 E s^2`; the first part is at least the pointwise minimum, and
    :math:`E s^2 \le p^2 + V` with p in [l, u] bounds the second, concave in p. Any multipliers give
    a bound, so a rough optimiser is safe. It covers every shift of at most t: the inner minimum is
    concave in :math:`\Lambda`, and :math:`\Lambda` at t, :math:`\Lambda` at a smaller t times an
    independent factor of mean one in law, so by Jensen's inequality its expectation does not grow
    with t at the same multipliers. The inner minimum is piecewise quadratic in
    :math:`\Lambda`, whose partial moments
    :math:`E[\Lambda^k; z \le c] = e^{k(k-1)t^2/2}\,\Phi(c - kt)` are closed: no quadrature.

    Args:
        lower, upper: bounds l, u on the mean before the shift.
        variance: bound V on the variance.
        shift: t, >= 0.

    Example:
        >>> from captum_robust.certificates import moment_shift
        >>> round(moment_shift(0.6, 0.6, 0.02, 1.0), 2)  # 0.23 by the mean alone, 0.41 by V alone
        0.43
    """
    if shift == 0.0:
        return lower
    if shift > _FARTHEST:
        return 0.0

    def dual(logs: Array) -> float:
        first, second = np.exp(np.clip(logs, -_LOGS, _LOGS))
        ends = [first * p - second * (p * p + variance) for p in (lower, upper)]
        return -(_inner(first, second, shift) + min(ends))

    options = {"maxiter": 200, "xatol": 1e-6, "fatol": 1e-9}
    found = [
        scipy.optimize.minimize(dual, np.log(start), method="Nelder-Mead", options=options)
        for start in ((0.3, 0.1), (1.0, 0.1), (1.0, 1.0), (3.0, 3.0))
    ]
    # The variable is never negative, so 0 is a bound too.
    return max(0.0, float(max(-result.fun for result in found) - _ROUNDING))


def _inner(first: float, second: float, shift: float) -> float:
    """The expectation of the pointwise minimum, in closed form.

    The minimum is at s = 1 where the ratio is below first - 2 second, at
    s = (first - ratio) / (2 second) up to first, and at 0 beyond.
    """
    one = _moments(first - 2.0 * second, shift)
    some = _moments(first, shift) - one
    full = one[1] + (second - first) * one[0]
    part = -(first**2 * some[0] - 2.0 * first * some[1] + some[2]) / (4.0 * second)
    return float(full + part)


def _moments(ratio: float, shift: float) -> Array:
    """The partial moments of orders 0, 1, 2 of the likelihood ratio up to ``ratio``."""
    if ratio <= 0.0:
        return np.zeros(3)
    orders = np.arange(3.0)
    end = math.log(ratio) / shift + shift / 2.0
    return np.exp(orders * (orders - 1.0) * shift**2 / 2.0) * special.ndtr(end - orders * shift)
