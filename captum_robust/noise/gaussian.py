"""Normal noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from torch import Tensor

from captum_robust._base.numbers.bisect import bisect
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

    def _fill(self, out: Tensor, generator: torch.Generator | None) -> None:
        out.normal_(generator=generator)

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

        Proof (ours): with :math:`w\cdot G` in [-a, b], :math:`s = (w\cdot G + a)/(a+b)` is
        [0, 1]-valued with mean :math:`p = (w\cdot h(x) + a)/(a+b)`. After the shift its mean is at
        most :math:`\Phi(\Phi^{-1}(p) + t)`, which is at most a/(a+b), that is
        :math:`w\cdot h(x+\delta) \le 0`, as soon as :math:`p \le \Phi(\Phi^{-1}(a/(a+b)) - t)`;
        solve for :math:`w\cdot h(x)`. Maps of either sign have a = b = 1. Dividing that form by
        :math:`\sqrt2` is no bound. Rounded up.
        """
        shift = checked_shifts(shift)
        if not nonnegative:
            return special.erf(shift / math.sqrt(2.0))
        return np.minimum(_nonnegative_angle(shift) + 1e-7, 1.0)

    def inverse_angle_shift(
        self, constant: ArrayLike, dimension: int, nonnegative: bool = False
    ) -> Array:
        wanted = np.clip(np.asarray(constant, float), 0.0, 1.0)
        signed = math.sqrt(2.0) * special.erfinv(wanted)
        if not nonnegative:
            return signed

        def fits(tried: Array) -> NDArray[np.bool_]:
            return self.angle_shift(tried, dimension, nonnegative=True) <= wanted

        safe, _ = bisect(fits, np.zeros_like(signed), 40.0, steps=50)
        return safe


def _nonnegative_angle(shift: Array) -> Array:
    """The supremum over a of the Gaussian angle constant, on a grid refined once at its best."""
    turns = np.linspace(0.0, math.pi / 2.0, 1001)[1:-1]
    best = turns[_angle_of_split(shift[..., None], turns).argmax(-1)][..., None]
    fine = best + np.linspace(-1.0, 1.0, 401) * (turns[1] - turns[0])
    fine = np.clip(fine, 1e-9, math.pi / 2.0 - 1e-9)
    return np.clip(_angle_of_split(shift[..., None], fine).max(-1), 0.0, None)


def _angle_of_split(shift: Array, turn: Array) -> Array:
    """The angle constant for one split a = sin(turn), b = cos(turn)."""
    negative, positive = np.sin(turn), np.cos(turn)
    length = negative + positive
    return negative - length * special.ndtr(special.ndtri(negative / length) - shift)
