"""How fast the smoothed gradient of a bounded score can change, anywhere."""

from __future__ import annotations

import math
import warnings
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust._base.checks import check_number
from captum_robust.certificates.claim import PublishedFormulaWarning

Array = NDArray[np.float64]

_PEAK: Final = 1.0 / math.sqrt(2.0 * math.pi)  # the normal density at 0
_SLOPE: Final = _PEAK * math.exp(-0.5)  # and at 1, where it is steepest


def smoothgrad_lipschitz(
    low: float, high: float, stdev: ArrayLike, *, published: bool = False
) -> Array:
    r"""Global Lipschitz constant of the SmoothGrad map of a score between ``low`` and ``high``.

    .. math:: \lambda = \frac{2\varphi(1)\,(b - a)}{\sigma^2}
              = 0.4839\,\frac{b - a}{\sigma^2}

    For every x and every delta, :math:`\|h(x+\delta) - h(x)\|_2 \le \lambda\|\delta\|_2` with
    :math:`h(x) = E\,\nabla f(x + \sigma z)`. No probability; it assumes :math:`a \le f \le b`
    **everywhere** (as for a softmax probability, not a logit), f locally Lipschitz, and the signed,
    true gradient without transform.

    Proof: h is the gradient of :math:`E f(x+\sigma z)`, whose second derivative along a unit vector
    is :math:`E[(z^2 - 1) f]/\sigma^2`, z the noise along it; subtracting :math:`(a+b)/2` from f
    changes nothing, so it is at most :math:`\frac{b-a}2 E|z^2-1|/\sigma^2`, and
    :math:`E|z^2-1| = 4\varphi(1)`. The slab :math:`f = F\,\mathrm{sign}(|u\cdot z|/\sigma - 1)`
    attains it (smoothed versions of it come arbitrarily close). Ours; Wang et al. (2020), Theorem
    2, is :math:`2F/\sigma^2` with :math:`F = \sup|f|`, valid but 2.07 times as large for
    :math:`|f| \le F`.

    Args:
        low: a.
        high: b.
        stdev: :math:`\sigma`, any shape, > 0; the smallest one where features differ.
        published: the printed constant; warns.

    Returns:
        :math:`\lambda`, in units of the score per squared input unit, shape of ``stdev``.

    Raises:
        ValueError: if ``low`` is not below ``high``, or a standard deviation is not > 0.

    Example:
        >>> from captum_robust.certificates import smoothgrad_lipschitz
        >>> float(smoothgrad_lipschitz(0.0, 1.0, 0.5).round(4))
        1.9358
    """
    width, variance = _width(low, high), _positive(stdev) ** 2
    if published:
        warnings.warn(
            "published=True uses the printed constant of Wang et al. (2020), Theorem 2, which is "
            "valid but not tight.",
            PublishedFormulaWarning,
            stacklevel=2,
        )
        return 2.0 * max(abs(low), abs(high)) / variance
    return 2.0 * _SLOPE * width / variance * (1.0 + 1e-12)


def smoothgrad_deviation(
    epsilon: ArrayLike, low: float, high: float, stdev: ArrayLike, *, published: bool = False
) -> Array:
    r"""Largest l2 distance between the SmoothGrad maps of a bounded score at x and x + delta.

    .. math:: \|h(x+\delta) - h(x)\|_2 \le \min\left(\lambda\epsilon,\,
              \frac{2\varphi(0)(b-a)}{\sigma}\right), \quad \|\delta\|_2 \le \epsilon

    :math:`\lambda` and its assumptions are those of :func:`smoothgrad_lipschitz`; the second term
    holds since :math:`\|h\| \le \frac{b-a}2 E|z|/\sigma = \varphi(0)(b-a)/\sigma` (ours). It is
    about the two **expected** maps (``population``): single gradients have no bound, so without
    one nothing is said of a map computed from samples.

    Args:
        epsilon: perturbation size in input units, >= 0.
        low: the score is at least this everywhere.
        high: the score is at most this everywhere.
        stdev: of the noise, > 0; broadcasts with ``epsilon``.
        published: :math:`2F\epsilon/\sigma^2`, as printed; warns.

    Returns:
        Distances in units of the gradient, float64.

    Example:
        >>> from captum_robust.certificates import smoothgrad_deviation
        >>> smoothgrad_deviation([0.1, 10.0], 0.0, 1.0, 0.5).round(3)
        array([0.194, 1.596])
    """
    epsilon = np.asarray(epsilon, float)
    if not (epsilon >= 0.0).all():
        raise ValueError(f"`epsilon` must be >= 0, got {epsilon.min():g}.")
    line = smoothgrad_lipschitz(low, high, stdev, published=published) * epsilon
    if published:
        return line
    most = 2.0 * _PEAK * _width(low, high) / _positive(stdev) * (1.0 + 1e-12)
    return np.minimum(line, most)


def smoothgrad_radius(deviation: ArrayLike, low: float, high: float, stdev: ArrayLike) -> Array:
    """Largest epsilon at which :func:`smoothgrad_deviation` is at most ``deviation``.

    Returns:
        Radii in input units, rounded down; infinity where no perturbation goes beyond.

    Example:
        >>> from captum_robust.certificates import smoothgrad_radius
        >>> smoothgrad_radius([0.19358, 2.0], 0.0, 1.0, 0.5).round(4)
        array([0.1, inf])
    """
    deviation = np.asarray(deviation, float)
    if not (deviation >= 0.0).all():
        raise ValueError(f"`deviation` must be >= 0, got {deviation.min():g}.")
    radius = deviation / smoothgrad_lipschitz(low, high, stdev) * (1.0 - 1e-12)
    most = 2.0 * _PEAK * _width(low, high) / _positive(stdev) * (1.0 + 1e-12)
    return np.where(deviation >= most, np.inf, radius)


def _width(low: float, high: float) -> float:
    low = check_number("low", low, low=-math.inf, open_low=True)
    return check_number("high", high, low=low, high=math.inf, open_low=True, open_high=True) - low


def _positive(stdev: ArrayLike) -> Array:
    stdev = np.asarray(stdev, float)
    if not (stdev > 0.0).all():
        raise ValueError(f"`stdev` must be > 0, got {stdev.min():g}.")
    return stdev
