"""Uniform noise on an l2 ball."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import special
from torch import Tensor

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

    def _fill(self, out: Tensor, generator: torch.Generator | None) -> None:
        out.normal_(generator=generator)

    def _shape(self, raw: Tensor, dimension: int) -> Tensor:
        # The first d coordinates of a uniform point on the sphere in d + 2 dimensions are uniform
        # on the ball in d dimensions (Archimedes' hat-box theorem).
        norm = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
        return raw[:, :dimension].mul_(self.radius_in_stdevs(dimension) / norm)

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
