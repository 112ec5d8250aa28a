"""A noise law as a computer draws it: the law in the books, and a little less certain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from captum_robust.noise.angle import angle_by_lower, inverse_angle
from captum_robust.noise.law import Array, NoiseLaw


class AsComputed(NoiseLaw, register=False):
    r"""The bounds of a law for samples whose law is only close to it.

    If the law of the noisy input as computed is within :math:`a` of the ideal one in total
    variation, at x and at the perturbed input, then for a [0, 1]-valued function of mean p at x

    .. math:: \mathrm{lower}(p - a) - a \le E\,s(x+\delta+\eta) \le \mathrm{upper}(p + a) + a,

    since a mean moves by at most a between the two laws: once at x, where the samples were drawn
    as computed, and once at :math:`x+\delta`. No union over samples is needed: they are independent
    under the law as computed, and confidence bounds are about its means. Total variation grows by
    2a, and with it everything that follows from it alone.

    Args:
        law: the ideal law.
        allowance: a, in [0, 1].

    Example:
        >>> from captum_robust.noise import GaussianNoise
        >>> from captum_robust.noise.computed import AsComputed
        >>> law = AsComputed(GaussianNoise(), 0.001)
        >>> float(law.lower(0.8, 0.0, dimension=3).round(6)), float(law.total_variation(0.0, 3))
        (0.798, 0.002)
    """

    def __init__(self, law: NoiseLaw, allowance: float) -> None:
        self.law, self.allowance = law, allowance

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.law.name

    @property
    def norm(self) -> str:  # type: ignore[override]
        return self.law.norm

    @property
    def norm_shift_by_covariance(self) -> bool:  # type: ignore[override]
        return self.law.norm_shift_by_covariance

    def __eq__(self, other: Any) -> bool:
        mine = (self.law, self.allowance)
        return isinstance(other, AsComputed) and mine == (other.law, other.allowance)

    def __hash__(self) -> int:
        return hash((self.law, self.allowance))

    def __repr__(self) -> str:
        return f"AsComputed({self.law!r}, {self.allowance:g})"

    def from_uniform(self, centred: Tensor) -> Tensor:
        return self.law.from_uniform(centred)

    def radius_in_stdevs(self, dimension: int) -> float:
        return self.law.radius_in_stdevs(dimension)

    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        distance = self.law.total_variation(shift, dimension) + 2.0 * self.allowance
        return np.minimum(distance, 1.0)

    def inverse_total_variation(self, distance: ArrayLike, dimension: int) -> Array:
        """As for the law itself; ``-inf`` where the distance is exceeded without a shift."""
        left = np.asarray(distance, float) - 2.0 * self.allowance
        shift = self.law.inverse_total_variation(np.clip(left, 0.0, None), dimension)
        return np.where(left < 0.0, -np.inf, shift)

    def lower(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        before = np.clip(np.asarray(mean, float) - self.allowance, 0.0, 1.0)
        return np.clip(self.law.lower(before, shift, dimension) - self.allowance, 0.0, 1.0)

    def upper(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        before = np.clip(np.asarray(mean, float) + self.allowance, 0.0, 1.0)
        return np.clip(self.law.upper(before, shift, dimension) + self.allowance, 0.0, 1.0)

    def separation(
        self, lower: ArrayLike, upper: ArrayLike, dimension: int, margin: ArrayLike = 0.0
    ) -> Array:
        low = np.clip(np.asarray(lower, float) - self.allowance, 0.0, 1.0)
        high = np.clip(np.asarray(upper, float) + self.allowance, 0.0, 1.0)
        rest = np.asarray(margin, float) + 2.0 * self.allowance
        return self.law.separation(low, high, dimension, rest)

    def angle_shift(self, shift: ArrayLike, dimension: int, nonnegative: bool = False) -> Array:
        """See :func:`~captum_robust.noise.angle.angle_by_lower`, by the bounds above."""
        if not self.law.tight_pair:
            return super().angle_shift(shift, dimension, nonnegative)
        return angle_by_lower(self.lower, shift, dimension, nonnegative)

    def inverse_angle_shift(
        self, constant: ArrayLike, dimension: int, nonnegative: bool = False
    ) -> Array:
        if not self.law.tight_pair:
            return super().inverse_angle_shift(constant, dimension, nonnegative)
        return inverse_angle(self.angle_shift, constant, dimension, nonnegative)
