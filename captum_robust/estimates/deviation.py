"""What a first-order estimate answers, and how it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any, Final

import torch
from torch import Tensor

from captum_robust._base.checks import check_number

_ROUNDING: Final = 1e-12  # of a ratio that is 1 but for the last digits


@dataclass(frozen=True, eq=False)
class FirstOrderDeviation:
    r"""How far a map moves to first order; see :func:`first_order_deviation`.

    Every number is a tensor ``(N,)``, float64 unless said otherwise. Distances are in map units.

    Attributes:
        epsilon: radius of the ball, in input units.
        norm: ``"l2"``, ``"linf"`` or ``"lp"`` with the number p.
        rate: :math:`T_e / \epsilon`, the solver's residual included.
        singular_value: :math:`\|J v\|_2`, never above :math:`\xi`, the largest singular value.
        residual: relative residual of the singular pair, >= 0; 0 where J was formed.
        converged: bool, whether it is at most the tolerance.
        products: int, Jacobian-vector and vector-Jacobian products used.
        direction: the perturbation of norm 1 that moves the map most as far as was found, in the
            form of the inputs; its sign means nothing. For l2 it is v.
        lower: deviation of the linearised map at ``epsilon * direction``: attained to first order.
        dense: for linf, :math:`\epsilon\sqrt{\sum_{ij} |P_{ij}|}`, :math:`P = J^\top J`; NaN where
            J was not formed.
        spectral: the bound from singular values; for linf with the best weights found.
        observed: the larger deviation of the map itself at plus and minus that perturbation.
        map_norm: :math:`\|g(x)\|_2`.
        constrained: with competing classes, the deviation among perturbations that keep the label
            to first order; else None.
        constrained_kind: ``"estimate"`` with one class, where it is the unconstrained value,
            ``"estimate-lower"`` with several; else None.
    """

    epsilon: Tensor
    norm: str
    rate: Tensor
    singular_value: Tensor
    residual: Tensor
    converged: Tensor
    products: Tensor
    direction: Any
    lower: Tensor
    dense: Tensor
    spectral: Tensor
    observed: Tensor
    map_norm: Tensor
    constrained: Tensor | None = None
    constrained_kind: str | None = None

    @property
    def kind(self) -> str:
        """``"estimate"``: it rests on local linearity and is no certificate."""
        return "estimate"

    @property
    def deviation(self) -> Tensor:
        r""":math:`T_e`, to first order the largest l2 distance between the maps."""
        return self.rate * self.epsilon

    @property
    def correction(self) -> Tensor:
        r""":math:`c = \max(1, \text{observed} / T_e)`; Wang and Kong (2023), eq. (11)."""
        return (self.observed / self.deviation).clamp(min=1.0)

    @property
    def corrected(self) -> Tensor:
        r""":math:`T'_e = c\,T_e`: the larger of :math:`T_e` and what was observed."""
        return self.deviation.maximum(self.observed)

    @property
    def cosine(self) -> Tensor:
        r""":math:`\sqrt{1 - T_e^2/\|g\|^2}`; -1 where :math:`T_e > \|g\|`, NaN for a zero map."""
        sine = self._sine
        tangent = ((1.0 - sine) * (1.0 + sine)).clamp(min=0.0).sqrt()
        return torch.where(sine > 1.0, -1.0, tangent)

    @property
    def cosine_distance(self) -> Tensor:
        """One less :attr:`cosine`, in [0, 1]; 2 where it says nothing, NaN for a zero map."""
        return 1.0 - self.cosine

    @property
    def angle(self) -> Tensor:
        """The largest angle between the maps, in degrees; 180 where it says nothing."""
        sine = self._sine
        return torch.where(sine > 1.0, 180.0, sine.clamp(max=1.0).arcsin().rad2deg())

    @property
    def _sine(self) -> Tensor:
        """Of the widest angle; at 1 where it is but for rounding, NaN for a zero map."""
        sine = self.deviation / self.map_norm
        sine = torch.where((sine - 1.0).abs() <= _ROUNDING, 1.0, sine)
        return torch.where(self.map_norm > 0, sine, math.nan)

    def largest_epsilon(
        self,
        *,
        l2: float | Tensor | Sequence[float] | None = None,
        cosine_distance: float | Tensor | Sequence[float] | None = None,
    ) -> Tensor:
        r"""The largest epsilon at which the estimate stays within a threshold.

        .. math:: \frac{w}{\xi}, \qquad \frac{\|g\|_2}{\xi}\sqrt{w\,(2 - w)}\;(w \le 1)

        with :attr:`rate` for :math:`\xi`, in any norm. Wang and Kong (2023), eqs. (50) and (52);
        the second misses its squares in print. From 1 on :math:`\|g\|/\xi` is the answer, and at 2
        everything is allowed.

        Args:
            l2: largest distance w between the maps, in map units, >= 0.
            cosine_distance: or the largest cosine distance w, in [0, 2].

        Returns:
            Radii in input units, ``(N,)``; NaN for the cosine of a zero map.

        Raises:
            ValueError: unless exactly one threshold is given, in its range.
        """
        if (l2 is None) == (cosine_distance is None):
            raise ValueError("exactly one of `l2` and `cosine_distance` must be given.")
        if l2 is not None:
            return self._threshold("l2", l2, math.inf) / self.rate
        wanted = self._threshold("cosine_distance", cosine_distance, 2.0)
        within = wanted.clamp(max=1.0)
        size = self.map_norm * (within * (2.0 - within)).sqrt() / self.rate
        size = torch.where(wanted == 2.0, math.inf, size)
        return torch.where(self.map_norm > 0, size, math.nan)

    def statement(self, example: int | None = None) -> str:
        """What is estimated, for which perturbations and on what it rests, in plain English.

        Args:
            example: one example; all by default.
        """
        examples = range(len(self.rate)) if example is None else [example]
        lines = [
            f"To first order, for every perturbation whose {self.norm} norm is at most epsilon, "
            "between the map at the input and the map at the perturbed input:"
        ]
        lines += [f"  example {index}: {self._answer(index)}." for index in examples]
        lines.append(
            "An estimate and no certificate: it takes the map for linear within the ball. "
            "The prediction may change."
        )
        return "\n".join(lines)

    def _answer(self, index: int) -> str:
        """The numbers of one example."""
        epsilon, deviation = float(self.epsilon[index]), float(self.deviation[index])
        parts = [f"epsilon {epsilon:g}: an l2 distance of at most {_raised(deviation)}"]
        corrected = float(self.corrected[index])
        if corrected > deviation:
            parts.append(f"but {_raised(corrected)} was measured along the worst direction")
        parts.append(self._turn(index))
        if self.constrained is not None:
            kept = float(self.constrained[index])
            lower = self.constrained_kind == "estimate-lower"
            bound = f"at least {_lowered(kept)}" if lower else f"at most {_raised(kept)}"
            parts.append(f"with the label kept {bound}")
        if not self.converged[index]:
            parts.append(
                f"the solver stopped at a relative residual of {float(self.residual[index]):.1g}, "
                "so this may be too low"
            )
        return "; ".join(parts)

    def _turn(self, index: int) -> str:
        if not self.map_norm[index] > 0:
            return "nothing about the angle, since the map is zero"
        if self.cosine[index] == -1.0:
            return "nothing about the angle, since the distance exceeds the length of the map"
        return f"an angle of at most {_raised(float(self.angle[index]))} degrees"

    def _threshold(self, name: str, value: Any, most: float) -> Tensor:
        """A threshold for all or one for each example, ``(N,)``."""
        wanted = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
        if wanted.shape not in ((), self.rate.shape):
            raise ValueError(
                f"`{name}` must be a number or have shape {tuple(self.rate.shape)}, "
                f"got {tuple(wanted.shape)}."
            )
        for number in wanted.flatten().tolist():
            check_number(name, number, low=0.0, high=most, open_high=math.isinf(most))
        return wanted.expand_as(self.rate)


def _raised(size: float) -> str:
    """Four significant digits, rounded up unless the rest is rounding."""
    return _digits(size * (1.0 - _ROUNDING), ROUND_CEILING)


def _lowered(size: float) -> str:
    """Four significant digits, rounded down."""
    return _digits(size, ROUND_FLOOR)


def _digits(size: float, rounding: str) -> str:
    return f"{float(Context(prec=4, rounding=rounding).create_decimal(size)):.4g}"
