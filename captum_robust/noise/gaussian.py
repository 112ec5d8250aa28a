"""Normal noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from torch import Tensor

from captum_robust._base.numbers.bisect import bisect
from captum_robust.noise.angle import angle_by_lower, inverse_angle
from captum_robust.noise.law import Array, NoiseLaw, checked_shifts


class GaussianNoise(NoiseLaw):
    r"""Normal noise, answering for l2 perturbations by Neyman and Pearson's lemma.

    .. math:: \mathrm{lower}(p) = \Phi(\Phi^{-1}(p) - t),\quad
              \mathrm{upper}(p) = \Phi(\Phi^{-1}(p) + t),\quad t = \|\delta\|_2/\sigma

    Levine et al. (2019), Theorem 1; half-spaces attain both.

    Example:
        >>> from captum_robust.noise import GaussianNoise
        >>> round(float(GaussianNoise().lower(0.8, 0.6, dimension=784)), 4)
        0.5955
    """

    name = "Gaussian"
    norm = "l2"
    norm_shift_by_covariance = True
    tight_pair = True

    def from_uniform(self, centred: Tensor) -> Tensor:
        return centred.erfinv_().mul_(math.sqrt(2.0))

    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        """:math:`2\\Phi(t/2) - 1`."""
        return special.erf(checked_shifts(shift) / math.sqrt(8.0))

    def inverse_total_variation(self, distance: ArrayLike, dimension: int) -> Array:
        return math.sqrt(8.0) * special.erfinv(np.clip(distance, 0.0, 1.0))

    def lower(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        return special.ndtr(special.ndtri(np.clip(mean, 0.0, 1.0)) - checked_shifts(shift))

    def upper(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        return special.ndtr(special.ndtri(np.clip(mean, 0.0, 1.0)) + checked_shifts(shift))

    def separation(
        self, lower: ArrayLike, upper: ArrayLike, dimension: int, margin: ArrayLike = 0.0
    ) -> Array:
        low, high, rest = np.broadcast_arrays(
            np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0), np.asarray(margin, float)
        )
        ordered = low - high > rest
        with np.errstate(invalid="ignore"):
            first, second = special.ndtri(low), special.ndtri(high)
            shift = (first - second) / 2.0
            # Rounded down: quantiles are off by a few units in the last place.
            below = shift - 1e-14 * (np.abs(first) + np.abs(second))
        shift = np.where(np.isfinite(below), np.clip(below, 0.0, None), shift)
        shift = np.where(ordered, shift, -np.inf)
        if not rest.any():
            return shift
        return self._bisect_margin(low, high, rest + 1e-14, shift)

    def _bisect_margin(self, low: Array, high: Array, margin: Array, shift: Array) -> Array:
        """Shrinks shifts until the gap left is at least ``margin``; the safe end is returned.

        The gap lower(l, t) - upper(u, t) falls with t, so the largest t is bracketed by 0 and the
        closed form without a margin (40 where that is infinite: both means have moved by then).
        """
        ordered = np.isfinite(shift) | (shift > 0)

        def holds(tried: Array) -> NDArray[np.bool_]:
            return self.lower(low, tried, 1) - self.upper(high, tried, 1) > margin

        safe, _ = bisect(holds, 0.0, np.where(ordered, np.minimum(shift, 40.0), 0.0), steps=60)
        return np.where(ordered, safe, -np.inf)

    def angle_shift(self, shift: ArrayLike, dimension: int, nonnegative: bool = False) -> Array:
        r""":math:`A = 2\Phi(t) - 1`, and for maps without negative elements

        .. math:: A = \sup_{0<a<1}\; a - (a+b)\,\Phi\big(\Phi^{-1}(\tfrac a{a+b}) - t\big),
                  \quad b = \sqrt{1-a^2}.

        See :func:`~captum_robust.noise.angle.angle_by_lower`.
        """
        shift = checked_shifts(shift)
        if not nonnegative:
            return special.erf(shift / math.sqrt(2.0))
        return angle_by_lower(self.lower, shift, dimension, nonnegative=True)

    def inverse_angle_shift(
        self, constant: ArrayLike, dimension: int, nonnegative: bool = False
    ) -> Array:
        if not nonnegative:
            wanted = np.clip(np.asarray(constant, float), 0.0, 1.0)
            return math.sqrt(2.0) * special.erfinv(wanted)
        found = inverse_angle(self.angle_shift, constant, dimension, nonnegative=True)
        return np.clip(found, 0.0, None)
