"""Comparator: order of two means under Gaussian noise by differential privacy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_robust.noise import GaussianNoise

Array = NDArray[np.float64]

_GRID: Final = 48  # budgets tried at each of ...
_ZOOMS: Final = 4  # ... so many scales; every budget is valid, so a rough search is safe
_FACTOR: Final = 1.25  # of the Gaussian mechanism


def gaussian_mechanism_delta(budget: ArrayLike, shift: ArrayLike) -> Array:
    r"""The :math:`\delta` at which Gaussian noise is :math:`(\varepsilon, \delta)`-private.

    .. math:: \delta = 1.25\, e^{-\varepsilon^2 / 2t^2}

    Dwork and Roth (2014), Theorem A.1, for :math:`0 < \varepsilon \le 1`; beyond 1 it fails.

    Args:
        budget: :math:`\varepsilon`, in (0, 1].
        shift: :math:`t = \|\delta\|_2/\sigma`, >= 0.

    Example:
        >>> from captum_robust.certificates.printed.lecuyer import gaussian_mechanism_delta
        >>> float(gaussian_mechanism_delta(1.0, 0.3).round(6))
        0.004832
    """
    with np.errstate(divide="ignore"):
        return _FACTOR * np.exp(-0.5 * (np.asarray(budget, float) / np.asarray(shift, float)) ** 2)


def lecuyer_floor(means: ArrayLike, shift: ArrayLike) -> Array:
    r"""The floor under which another mean must lie to stay below one of at least ``means``.

    .. math:: L(z) = \sup_{0 < \varepsilon \le 1} e^{-2\varepsilon}
              \left(z - (1 + e^\varepsilon)\,\delta(\varepsilon)\right)

    A feature of mean at least z stays above every feature of mean below :math:`L(z)` at every
    shift of at most t. Proof: privacy gives :math:`h_i(\tilde x) \ge e^{-\varepsilon}(z - \delta)`
    and :math:`h_j(\tilde x) \le e^\varepsilon h_j + \delta`; solve for :math:`h_j`. Lecuyer et al.
    (2019), as Levine et al. (2019), appendix J, state it; the free parameter is maximised over. The
    Neyman-Pearson floor :math:`\Phi(\Phi^{-1}(z) - 2t)` is always higher.

    Args:
        means: z, in [0, 1].
        shift: t, >= 0; both broadcast.

    Returns:
        Floors, float64, rounded down; negative where no feature is certified to stay below.

    Example:
        >>> from captum_robust.certificates import lecuyer_floor
        >>> lecuyer_floor([0.5, 0.8, 0.95], 0.06).round(4)
        array([0.3294, 0.5369, 0.642 ])
    """
    means, shift = np.broadcast_arrays(np.asarray(means, float), _checked(shift))

    def floor(budget: Array) -> Array:
        delta = gaussian_mechanism_delta(budget, shift)
        return np.exp(-2.0 * budget) * (means - (1.0 + np.exp(budget)) * delta)

    return np.where(shift > 0.0, _best_budget(floor, means.shape) - 1e-12, means)


def lecuyer_separation(lower: ArrayLike, upper: ArrayLike, margin: ArrayLike = 0.0) -> Array:
    r"""The shift up to which one mean stays above another, by differential privacy.

    .. math:: t = \sup_{0 < \varepsilon \le 1} \frac{\varepsilon}{\sqrt{2\ln(1.25/D)}}, \quad
              D = \frac{e^{-\varepsilon} l - e^\varepsilon u - \text{margin}}{1 + e^{-\varepsilon}}

    The order holds where, for some budget,
    :math:`e^{-\varepsilon}(l - \delta) > e^\varepsilon u + \delta + \text{margin}`, that is
    :math:`\delta < D`; without a margin this is :math:`l > e^{2\varepsilon} u +
    (1 + e^\varepsilon)\delta` of Levine et al. (2019), appendix J. Solving
    :math:`\delta(\varepsilon, t) = D` for t needs no bisection.

    Args:
        lower: the first mean is at least this, in [0, 1].
        upper: the second mean is at most this, in [0, 1].
        margin: gap that has to remain, >= 0; all broadcast.

    Returns:
        Shifts in standard deviations, rounded down; ``-inf`` where the order does not hold at
        shift 0.

    Example:
        >>> from captum_robust.certificates import lecuyer_separation
        >>> lecuyer_separation([0.8, 0.5], [0.5369, 0.6]).round(3)
        array([0.06, -inf])
    """
    low, high, rest = np.broadcast_arrays(
        np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0), np.asarray(margin, float)
    )

    def shift(budget: Array) -> Array:
        shrink = np.exp(-budget)
        allowed = (shrink * low - high / shrink - rest) / (1.0 + shrink)
        safe = np.where(allowed > 0.0, allowed, 1.0)
        return np.where(allowed > 0.0, budget / np.sqrt(2.0 * np.log(_FACTOR / safe)), 0.0)

    found = _best_budget(shift, low.shape) * (1.0 - 1e-12)
    return np.where(low - high > rest, found, -np.inf)


class LecuyerGaussianNoise(GaussianNoise, register=False):
    """Gaussian noise whose order of means is certified by differential privacy.

    Stands in the place of :class:`~captum_robust.noise.GaussianNoise` where an elementwise overlap
    is computed, as the comparator of Levine et al. (2019), appendix J; it samples the same noise.

    Example:
        >>> from captum_robust.certificates import LecuyerGaussianNoise
        >>> from captum_robust.certificates.functionals.overlap import displacement_shifts
        >>> h = [0.95, 0.9, 0.1, 0.05]
        >>> displacement_shifts(h, h, h, 2, LecuyerGaussianNoise(), 4).round(3)
        array([0.39, 0.49])
    """

    tight_pair = False

    def lower(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        r"""The larger of :math:`e^{-\varepsilon}(p-\delta)` and
        :math:`1 - e^\varepsilon(1-p) - \delta` over budgets: privacy of s and of 1 - s.
        """
        means, shift = np.broadcast_arrays(np.asarray(mean, float), _checked(shift))

        def least(budget: Array) -> Array:
            delta, grown = gaussian_mechanism_delta(budget, shift), np.exp(budget)
            return np.maximum((means - delta) / grown, 1.0 - grown * (1.0 - means) - delta)

        found = np.clip(_best_budget(least, means.shape) - 1e-12, 0.0, 1.0)
        return np.where(shift > 0.0, found, means)

    def upper(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        return 1.0 - self.lower(1.0 - np.asarray(mean, float), shift, dimension)

    def separation(
        self, lower: ArrayLike, upper: ArrayLike, dimension: int, margin: ArrayLike = 0.0
    ) -> Array:
        return lecuyer_separation(lower, upper, margin)


def _best_budget(value: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """The largest value found over budgets in (0, 1], by a grid that narrows around the best."""
    low, high = np.zeros(shape), np.ones(shape)
    best, best_budget = np.full(shape, -np.inf), np.ones(shape)
    for _ in range(_ZOOMS):
        step = (high - low) / _GRID
        for index in range(1, _GRID + 1):
            budget = low + index * step
            tried = value(budget)
            better = tried > best
            best = np.where(better, tried, best)
            best_budget = np.where(better, budget, best_budget)
        low = np.maximum(best_budget - step, 0.0)
        high = np.minimum(best_budget + step, 1.0)
    return best


def _checked(shift: ArrayLike) -> Array:
    shift = np.asarray(shift, float)
    if not (shift >= 0.0).all():
        raise ValueError(f"`shift` must be >= 0, got {shift.min():g}.")
    return shift
