"""One new member of each family, written from outside the package. CONTRIBUTING links here.

``tests/test_extending.py`` shows that all that lists, states, saves, loads, attacks and audits
knows them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from captum_robust.audit import CertifiedColumn, MeasuredColumn
from captum_robust.certificates import Confidence, Question
from captum_robust.losses import Criterion
from captum_robust.metrics import register_similarity
from captum_robust.noise import NoiseLaw
from captum_robust.robust import Ball, Objective, StepRule
from captum_robust.transforms import MapRange, Transform

Array = NDArray[np.float64]


# [law]
class LaplaceNoise(NoiseLaw):
    r"""Independent Laplace coordinates, answering for **l1** perturbations.

    Density :math:`\exp(-|z|/b)/(2b)` with :math:`b = 1/\sqrt2`: the standard deviation is 1.

    .. math:: \mathrm{TV} \le 1 - e^{-t/(2b)} = 1 - e^{-t/\sqrt2}, \quad t = \|\delta\|_1

    Proof: for one coordinate the densities cross halfway, at :math:`\delta/2`, so
    :math:`1 - \mathrm{TV} = 2\,P(z > |\delta|/2) = e^{-|\delta|/(2b)}`. Couple each coordinate
    with its shifted copy so that they agree with that probability, independently of the others.
    Then all agree with probability :math:`\prod_i e^{-|\delta_i|/(2b)} = e^{-t/(2b)}`, and no
    coupling agrees more often than 1 - TV. Equality where one coordinate moves.
    """

    name = "Laplace"
    norm = "l1"

    def from_uniform(self, centred: Tensor) -> Tensor:
        return -math.sqrt(0.5) * centred.sign() * torch.log1p(-centred.abs())

    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        return -np.expm1(-np.asarray(shift, float) / math.sqrt(2.0))


# [transform]
class Positive(Transform):
    """Keeps positive elements and sets the others to zero."""

    def __call__(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(part.clamp(min=0) for part in maps)

    def range(self, before: MapRange, shapes: Any) -> MapRange:
        return MapRange(0.0, max(before.high, 0.0), before.norm, before.binary)


# [question]
@dataclass(frozen=True)
class FeatureValue(Question):
    """Least expected value of one feature of the map at any perturbed input."""

    feature: int

    name = "feature_value"
    event = "elementwise"
    thresholds = (0.0, 1.0)

    def answer(self, certificate: Any, shifts: Array) -> Array:
        bounds = zip(self.elementwise(certificate), shifts, strict=True)
        return np.array([one.after(shift)[0][self.feature] for one, shift in bounds])


# [confidence]
class SecondMoment(Confidence):
    r"""Chebyshev's inequality: a value in [0, 1] has a variance of at most 1/4.

    .. math:: P(|\hat p - p| \ge c) \le \frac{1}{4Nc^2} = \frac{\alpha}{m}
        \quad\text{for}\quad c = \sqrt{\frac{m}{4N\alpha}}
    """

    name = "second-moment"

    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        half = math.sqrt(comparisons / (4 * samples * alpha))
        return np.maximum(means - half, 0.0), np.minimum(means + half, 1.0)


# [objective]
class SpreadOut(Objective):
    """Spreads the map over all features: raises the entropy of its absolute values."""

    def __init__(self) -> None:
        super().__init__(reduction="abs", normalisation="sum")

    def value(self, maps: tuple[Tensor, ...], anchor: Tensor) -> Tensor:
        shares = torch.cat([part.flatten(1) for part in maps], 1)
        return torch.special.entr(shares).sum(1)


# [ball]
class PairsBall(Ball):
    r"""Neighbouring features move in pairs, each pair by at most the radius in l2."""

    name = "pairs"

    def _spread(self, rows: Tensor) -> Tensor:
        """The length of each pair, for both of its features."""
        return rows.unflatten(1, (-1, 2)).norm(dim=2).repeat_interleave(2, 1)

    def size(self, delta: Tensor, rows: Any = slice(None)) -> Tensor:
        return self._spread(self.in_radii(delta, rows)).amax(1)

    def project(self, delta: Tensor, rows: Any = slice(None)) -> Tensor:
        unit = self.in_radii(delta, rows)
        return self.from_radii(unit / self._spread(unit).clamp(min=1), rows)

    def step(
        self,
        gradient: Tensor,
        size: Tensor,
        rows: Any = slice(None),
        delta: Tensor | None = None,
    ) -> Tensor:
        return size * gradient / self._spread(gradient).clamp(min=1e-30)

    def uniform(self, draws: Any, rows: Any, number: int) -> Tensor:
        lengths = draws.uniform(rows, number, draws.like.shape[1] // 2).sqrt()
        return self.surface(draws, rows, number) * lengths.repeat_interleave(2, 1)

    def surface(self, draws: Any, rows: Any, number: int) -> Tensor:
        normal = draws.normal(rows, number)
        return self.from_radii(normal / self._spread(normal).clamp(min=1e-30), rows)


# [step rule]
class HalvingStep(StepRule):
    """Steepest ascent whose every step is half as long as the one before."""

    relative_step = 0.5

    def move(self, delta: Tensor, gradient: Tensor, rows: Any, step: int) -> Tensor:
        return delta + self.ball.step(gradient, self.size * 0.5**step, rows, delta)


# [similarity]
@register_similarity(low=0, high=1)
def sign_agreement(a: Tensor, b: Tensor) -> Tensor:
    """Share of the features whose signs agree."""
    return (a.sign() == b.sign()).double().flatten(1).mean(1)


# [loss]
class SmallGradients(Criterion):
    """Cross-entropy and the l1 norm of its gradient at the input."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "gradient": weight}

    def values(self, model: Any, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        points = inputs.requires_grad_()
        loss = functional.cross_entropy(model(points), target, reduction="none")
        [gradient] = torch.autograd.grad(loss.sum(), points, create_graph=True)
        return {"cross_entropy": loss, "gradient": gradient.abs().flatten(1).sum(1)}


# [column]
class Silence(MeasuredColumn):
    """Share of the features that the map leaves at zero."""

    name, title = "silence", "features at zero"
    about = "the share of features at which the map is exactly zero"

    def value(self, measurement: Any) -> Tensor:
        return (measurement.clean == 0).double().flatten(1).mean(1)


class FirstFeature(CertifiedColumn):
    """The certified value of the first feature."""

    name, title = "first-feature", "first feature"
    about = "the least value of the first feature at any perturbed input"

    def value(self, certificate: Any, plan: Any) -> Tensor:
        return certificate.ask(FeatureValue(feature=0), epsilon=plan.epsilon)

    def show(self, value: float | None) -> str:
        return f"{value or 0.0:.3f}"
