"""Uniform noise on a box."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from captum_robust.noise.law import Array, NoiseLaw, checked_shifts


class UniformBoxNoise(NoiseLaw):
    r"""Uniform noise on a box, answering for **l1** perturbations by total variation.

    .. math:: \mathrm{TV} = 1 - \prod_i \left(1 - \frac{|\delta_i|}{2r}\right)_+
              \le \min\left(1, \frac{\|\delta\|_1}{2r}\right),\quad r = \sigma\sqrt3

    Proof: :math:`1 - \prod(1 - a_i) \le \sum a_i` for :math:`a_i` in [0, 1] (the union bound);
    equality when one coordinate moves. UniGrad of Wang et al. (2020) draws this noise; the
    certificate is ours.

    Example:
        >>> from captum_robust.noise import UniformBoxNoise
        >>> law = UniformBoxNoise()
        >>> float(law.total_variation(law.radius_in_stdevs(5), dimension=5))
        0.5
    """

    name = "uniform box"
    norm = "l1"

    def from_uniform(self, centred: Tensor) -> Tensor:
        return centred.mul_(math.sqrt(3.0))

    def radius_in_stdevs(self, dimension: int) -> float:
        return math.sqrt(3.0)

    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        return np.minimum(checked_shifts(shift) / (2.0 * self.radius_in_stdevs(dimension)), 1.0)

    def inverse_total_variation(self, distance: ArrayLike, dimension: int) -> Array:
        return 2.0 * self.radius_in_stdevs(dimension) * np.clip(distance, 0.0, 1.0)
