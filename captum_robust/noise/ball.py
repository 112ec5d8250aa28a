"""Uniform noise on an l2 ball."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from torch import Tensor

from captum_robust.noise.arithmetic import UNIT, inverse_method_error, sum_in_pairs
from captum_robust.noise.law import Array, NoiseLaw, checked_shifts


class UniformBallNoise(NoiseLaw):
    r"""Uniform noise on an l2 ball, answering for l2 perturbations by total variation.

    .. math:: \mathrm{TV} = I_{(\epsilon/2r)^2}(\tfrac12, \tfrac{d+1}2),\quad
              r = \sigma\sqrt{d+2}

    with :math:`I` the regularised incomplete beta function: twice the cap that the hyperplane
    between the two centres cuts off one ball, over its volume, is one minus their overlap. Wang and
    Kong (2024) write :math:`V_U/2V_S = 1 - I_{1-(\epsilon/2r)^2}(\tfrac{d+1}2, \tfrac12)`, the same
    number with all digits lost for small :math:`\epsilon`.

    Example:
        >>> from captum_robust.noise import UniformBallNoise
        >>> law = UniformBallNoise()
        >>> shift = 0.01 * law.radius_in_stdevs(3072)       # epsilon = 0.01 r
        >>> round(float(law.total_variation(shift, 3072)), 8)
        0.21833692
    """

    name = "uniform ball"
    norm = "l2"
    extra = 2

    def from_uniform(self, centred: Tensor) -> Tensor:
        """Standard normal numbers, of which :meth:`combined` takes the direction."""
        return centred.erfinv_().mul_(math.sqrt(2.0))

    def combined(self, raw: Tensor, dimension: int) -> Tensor:
        # The first d coordinates of a uniform point on the sphere in d + 2 dimensions are uniform
        # on the ball in d dimensions (Archimedes' hat-box theorem).
        squares = sum_in_pairs(raw.square())
        return raw[:, :dimension].mul_(self.radius_in_stdevs(dimension) / squares.sqrt())

    def sampling_error(self, dimension: int) -> float:
        r"""Expected error of the noise as computed, :math:`E\|\tilde\eta - \eta\|_1 / d`.

        With n = d + 2 normal numbers g of norm :math:`\rho`, computed with errors
        :math:`\epsilon_i`, the noise is :math:`\sqrt n\,g/\rho`, and up to rounding

        .. math:: \|\tilde\eta - \eta\|_1 \le \frac{\sqrt n}{\rho}\sum_i \epsilon_i
                  + \sqrt{nd}\,\frac{|\tilde\rho - \rho|}{\rho},\quad
                  |\tilde\rho - \rho| \le \min\Big(\sum_i \epsilon_i,
                  \sum_i \frac{\epsilon_i(|g_i| + |\tilde g_i|)}{\rho}\Big).

        Proof: the triangle inequality and :math:`\sum_{j \le d}|\tilde g_j| \le
        \sqrt d\,\tilde\rho`; both bounds on the norm are triangle inequalities, the second of its
        square. In expectation, :math:`\rho` is at least the norm of the others, which does not
        depend on :math:`\epsilon_i`: :math:`E\rho_{-i}^{-1}` and :math:`E\rho_{-i}^{-2} =
        1/(n-3)` are those of a chi law with n - 1 degrees of freedom. By the inverse method,
        :math:`E\epsilon_i \le 16u + 3Tu` and
        :math:`E\epsilon_i(|g_i| + |\tilde g_i|) \le 2(16u + 3T^2u)`. The sum of squares in pairs,
        the root, the quotient and the product add :math:`2\lceil\log_2 n\rceil + 4` units.
        """
        drawn, largest = dimension + 2, self._largest_draw()
        error = inverse_method_error(largest)
        weighted = 2.0 * inverse_method_error(largest**2)
        inverse = math.exp(math.lgamma((drawn - 2) / 2) - math.lgamma((drawn - 1) / 2))
        inverse /= math.sqrt(2.0)
        norm = error * inverse
        if drawn > 3:
            norm = min(norm, weighted / (drawn - 3))
        spread = math.sqrt(drawn) * drawn / dimension
        rounding = (2.0 * math.ceil(math.log2(drawn)) + 4.0) * UNIT
        return spread * (error * inverse + math.sqrt(dimension) * norm) + rounding

    def radius_in_stdevs(self, dimension: int) -> float:
        return math.sqrt(dimension + 2.0)

    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        half = checked_shifts(shift) / (2.0 * self.radius_in_stdevs(dimension))
        return special.betainc(0.5, (dimension + 1) / 2.0, np.minimum(half, 1.0) ** 2)

    def inverse_total_variation(self, distance: ArrayLike, dimension: int) -> Array:
        # Above 3/4 the inverse is badly conditioned and would be rounded up at 1: step down.
        distance = np.clip(distance, 0.0, 1.0 - 1e-9)
        cosine = np.sqrt(special.betaincinv(0.5, (dimension + 1) / 2.0, distance))
        shift = 2.0 * self.radius_in_stdevs(dimension) * cosine
        return np.where(distance > 0.75, shift * (1.0 - 1e-6), shift)
