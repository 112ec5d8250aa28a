"""A noise law at its level: turns perturbation sizes into shifts of the law, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_robust.noise.computed import AsComputed
from captum_robust.noise.law import NoiseLaw
from captum_robust.noise.levels import NoiseLevel

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shift:
    r"""A frozen noise law at a frozen level.

    ``epsilon`` is always in input units, the norm of :math:`\delta`, and its shift is
    :math:`\epsilon/\min_i\sigma_i`. With per-feature standard deviations the law is unit noise in
    the coordinates :math:`x_i/\sigma_i`, so what is certified holds for the larger body of all
    :math:`\|\delta/\sigma\| \le \epsilon/\min_i\sigma_i`, which contains every
    :math:`\|\delta\| \le \epsilon`. In standard deviations that size is :meth:`of_epsilon`.

    Attributes:
        law: the noise law.
        dimension: number of input features ``d``.
        smallest: ``(N,)`` float64, each example's smallest standard deviation.
        weighted: whether features of an example differ in standard deviation.
        allowance: bound on the total variation between noisy inputs as computed and as in the
            books (see :mod:`captum_robust.noise.arithmetic`), which every bound pays at both
            inputs; 0 for exact arithmetic. None in certificates of earlier versions, which took
            their noise for exact.

    Example:
        >>> import torch
        >>> from captum_robust.certificates import Shift
        >>> from captum_robust.noise import GaussianNoise
        >>> level = torch.tensor([0.5, 0.25], dtype=torch.float64)
        >>> Shift(GaussianNoise(), dimension=4, smallest=level, weighted=False).stdevs
        array([0.5 , 0.25])
    """

    law: NoiseLaw
    dimension: int
    smallest: Tensor
    weighted: bool
    allowance: float | None = 0.0

    @classmethod
    def of_level(cls, law: NoiseLaw, level: NoiseLevel) -> Shift:
        """The shift of a resolved level, refusing features without noise."""
        if not (level.smallest > 0).all():
            example = int((level.smallest <= 0).nonzero()[0])
            raise ValueError(
                "every feature needs noise for a certificate: the standard deviation must be > 0, "
                f"got 0 in example {example}."
            )
        allowance = law.rounding_distance(level.dimension)
        return cls(law, level.dimension, level.smallest, level.weighted, allowance)

    @property
    def slack(self) -> float:
        """The allowance as a number."""
        return self.allowance or 0.0

    @property
    def bounds(self) -> NoiseLaw:
        """The law's bounds on means for samples as computed."""
        return AsComputed(self.law, self.slack) if self.slack else self.law

    @property
    def stdevs(self) -> Array:
        """Standard deviations for which ``epsilon`` is divided, ``(N,)``."""
        return self.smallest.numpy()

    @property
    def norm(self) -> str:
        """The norm of the perturbations, in words."""
        return f"{self.law.norm} norm"

    def of_epsilon(self, epsilon: Any) -> Array:
        """Shifts ``(N,)`` of perturbations of size ``epsilon``, a number or ``(N,)``."""
        sizes = torch.as_tensor(epsilon, dtype=torch.float64).cpu().numpy()
        if sizes.ndim > 1 or (sizes.ndim == 1 and sizes.shape != self.stdevs.shape):
            raise ValueError(
                f"`epsilon` must be a number or one for each of the {len(self.stdevs)} examples, "
                f"got shape {sizes.shape}."
            )
        if not ((sizes >= 0) & np.isfinite(sizes)).all():
            raise ValueError(f"`epsilon` must be finite and >= 0, got {epsilon}.")
        return np.broadcast_to(sizes, self.stdevs.shape) / self.stdevs

    def to_epsilon(self, shifts: Array) -> Array:
        """Perturbation sizes ``(N,)`` of shifts, never negative, rounded down."""
        return np.clip(shifts, 0.0, None) * self.stdevs * (1.0 - 1e-12)


@dataclass(frozen=True, eq=False)
class WeightedShift(Shift):
    """A shift whose ``epsilon`` is the norm of ``delta / stdev``.

    What certificates of per-feature standard deviations meant before version 0.3; those that were
    saved then mean it still.
    """

    @property
    def stdevs(self) -> Array:
        return np.ones(len(self.smallest))

    @property
    def norm(self) -> str:
        return f"{self.law.norm} norm of delta / stdev"
