"""Closed-form attributions on which certificates are tried: every expectation is known exactly.

All fields are fixed in space and depend on the noisy input alone. ``x = 0``, the perturbed input
lies at distance ``size`` along the first coordinate.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution
from scipy import optimize
from scipy.stats import norm
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.certificates import CosineCertificateMixin, TopKCertificateMixin
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise


class Field(Attribution):
    """An attribution given by a function of the input, ``(N, d)`` to ``(N, m)``."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        return self.forward_func(inputs)


class Smoothing(TopKCertificateMixin, CosineCertificateMixin, SmoothedAttribution):
    """Any noise law, any transform."""


@dataclass(frozen=True)
class Body:
    """Two bodies of uniform noise whose centres are ``size`` apart: lens and crescents.

    Attributes:
        law: ball (d = 3, radius 1) or box (d = 2, half-width 1).
        size: distance of the centres along the first coordinate.
        share: of a body that its crescent takes, from the volume of the lens in closed form.
    """

    law: Any
    size: float
    share: float

    @classmethod
    def of_share(cls, name: str, share: float) -> Body:
        if name == "box":
            return cls(UniformBoxNoise(), 2 * share, share)
        lens = lambda size: (1 - size / 2) ** 2 * (1 + size / 4)  # noqa: E731
        size = optimize.brentq(lambda size: lens(size) - (1 - share), 0, 2, xtol=1e-15)
        return cls(UniformBallNoise(), size, share)

    @property
    def dimension(self) -> int:
        return 2 if self.law.norm == "l1" else 3

    @property
    def shift(self) -> float:
        """The size in standard deviations."""
        return self.size * self.law.radius_in_stdevs(self.dimension)

    def inside(self, points: Tensor) -> Tensor:
        if self.law.norm == "l1":
            return points.abs().amax(1) <= 1
        return points.norm(dim=1) <= 1

    def parts(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lens, crescent around x, crescent around the perturbed input, ``(N, 1)`` each."""
        centre = torch.zeros(self.dimension, dtype=points.dtype)
        centre[0] = self.size
        here, there = self.inside(points), self.inside(points - centre)
        regions = here & there, here & ~there, there & ~here
        return tuple(region.unsqueeze(1).to(points.dtype) for region in regions)

    def two_vectors(self, length: float) -> tuple[np.ndarray, np.ndarray, Any]:
        """The field of norm at most 1 with ||h(x)|| = length that turns as far as any can.

        It is u on one crescent, -u on the other and v / p on the lens, with h = v + q u,
        h~ = v - q u and u at a right angle to h~, so u.v = q: the tangent line. ||h||^2 is then
        |v|^2 + 3 q^2. Returns h, h~ and the function.
        """
        q, p = self.share, 1 - self.share
        v = np.array([math.sqrt(length**2 - 3 * q * q), 0.0])
        assert v[0] <= p + 1e-12 and q < v[0]
        u = np.array([q / v[0], math.sqrt(1 - (q / v[0]) ** 2)])

        def function(points: Tensor) -> Tensor:
            lens, here, there = self.parts(points)
            along = torch.from_numpy(np.minimum(v / p, 1)).to(points.dtype)
            return lens * along + (here - there) * torch.from_numpy(u).to(points.dtype)

        return v + q * u, v - q * u, function

    def extreme_length(self) -> float:
        """The length at which the field has norm 1 on the lens too: E1's two-vector field."""
        return math.sqrt((1 - self.share) ** 2 + 3 * self.share**2)

    def two_levels(self, high: float, tops: int, others: int) -> Any:
        """0/1-like features: ``tops`` lose the whole share, ``others`` (mean 0) gain it."""

        def function(points: Tensor) -> Tensor:
            lens, here, there = self.parts(points)
            inside = (high - self.share) / (1 - self.share)
            return torch.cat([(here + inside * lens).expand(-1, tops), there.expand(-1, others)], 1)

        return function


@dataclass(frozen=True)
class HalfSpaces:
    """Indicators of half-spaces under unit Gaussian noise: Neyman and Pearson's worst case.

    Features below ``count`` lose what they can under a shift along the first coordinate, the others
    gain what they can.
    """

    means: np.ndarray
    count: int
    law: Any = dataclasses.field(default_factory=GaussianNoise)

    def after(self, shift: float) -> np.ndarray:
        signs = np.where(np.arange(self.means.size) < self.count, -1, 1)
        return norm.cdf(norm.ppf(self.means) + signs * shift)

    def function(self, points: Tensor) -> Tensor:
        """Each feature on a coordinate of its own, beside the first: equal means, no ties."""
        edges = torch.from_numpy(norm.ppf(self.means)).to(points.dtype)
        signs = torch.where(torch.arange(self.means.size) < self.count, 1.0, -1.0)
        return (points[:, :1] * signs.to(points.dtype) <= edges).to(points.dtype)


@pytest.fixture
def field():
    return Field


@pytest.fixture
def smoothing():
    return Smoothing


@pytest.fixture
def body():
    return Body.of_share


@pytest.fixture
def half_spaces():
    return HalfSpaces


@pytest.fixture(params=["Gaussian", "ball", "box"])
def law(request):
    return {"Gaussian": GaussianNoise, "ball": UniformBallNoise, "box": UniformBoxNoise}[
        request.param
    ]()
