"""Cosine, angle and deviation of maps of bounded norm: confidence, shift and geometry together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates._shift import Shift
from captum_robust.certificates.confidence import norm_radius
from captum_robust.certificates.geometry import (
    cosine_from_sine,
    published_cosine,
    published_ratio,
    sine_from_cosine,
)

if TYPE_CHECKING:
    from captum_robust.certificates.certificate import Certificate

Array = NDArray[np.float64]

NORM_SLACK = 1e-5  # what rounding can add to the norm of a map, as a share


@dataclass(frozen=True)
class NormEvidence:
    r"""What the samples say of a mean of maps of norm at most M.

    Attributes:
        norms: :math:`\|\hat h\|` of each example, ``(N,)``.
        bound: M.
        here: Monte-Carlo radius of the map at x.
        there: Monte-Carlo radius of a fresh map at the perturbed input; 0 if none is drawn.
        claim: which two maps are compared.
        shift: the noise law at its level.
        nonnegative: whether maps have no negative element.
        published: whether the printed geometry is used, without Monte-Carlo error.
    """

    norms: Array
    bound: float
    here: float
    there: float
    claim: str
    shift: Shift
    nonnegative: bool
    published: bool

    @classmethod
    def of(cls, certificate: Certificate, question: str, alpha: float) -> NormEvidence:
        """The evidence in a certificate's samples at a probability of error."""
        bound = certificate.range.norm
        if not np.isfinite(bound):
            raise ValueError(
                f"`{question}` needs a bound on the norm of every map, which "
                f"{certificate.terms.method} does not give (a maximum over samples is never a "
                "bound); use transform=UnitNorm(), transform=ClipNorm(M), or give a proven "
                "norm_bound."
            )
        bound *= 1.0 + NORM_SLACK
        redrawn = certificate.claim == "redrawn"
        radius = norm_radius(bound, certificate.nt_samples, alpha / 2 if redrawn else alpha)
        return cls(
            norms=certificate.mean.norm(dim=1).numpy(),
            bound=bound,
            here=radius,
            there=radius if redrawn else 0.0,
            claim=certificate.claim,
            shift=certificate.shift,
            nonnegative=certificate.range.nonnegative,
            published=certificate.terms.published,
        )

    def cosine(self, shifts: Array) -> Array:
        """Certified cosines at shifts ``(N,)``."""
        law, dimension = self.shift.law, self.shift.dimension
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.published:
                return published_cosine(self.bound * law.norm_shift(shifts, dimension) / self.norms)
            if self.claim == "redrawn":
                moved = self.bound * law.norm_shift(shifts, dimension)
            else:
                moved = self.bound * law.angle_shift(shifts, dimension)
            sine = np.where(self._length > 0, (self._offset + moved) / self._length, np.inf)
        return cosine_from_sine(sine, self.nonnegative)

    def deviation(self, shifts: Array) -> Array:
        """Certified l2 deviations at shifts ``(N,)``."""
        moved = self.bound * self.shift.law.norm_shift(shifts, self.shift.dimension)
        return (self._offset + moved) * (1.0 + 1e-12)

    def shift_of_cosine(self, cosine: float) -> Array:
        """Largest shifts ``(N,)`` at which the cosine is certified; negative where it never is."""
        law, dimension = self.shift.law, self.shift.dimension
        if self.published:
            allowed = self.norms * published_ratio(cosine)
            return law.inverse_norm_shift(np.clip(allowed / self.bound, 0, 2), dimension)
        allowed = (self._length * sine_from_cosine(cosine) - self._offset) / self.bound
        if self.nonnegative and cosine == 0.0:
            return np.full_like(self.norms, np.inf)
        redrawn = self.claim == "redrawn"
        inverse = law.inverse_norm_shift if redrawn else law.inverse_angle_shift
        shifts = self._certain(inverse(np.clip(allowed, 0.0, 2.0), dimension), allowed)
        return _step_down(shifts, lambda tried: self.cosine(tried) >= cosine)

    def shift_of_deviation(self, deviation: float) -> Array:
        """Largest shifts ``(N,)`` at which the deviation is certified; negative where never."""
        allowed = np.full_like(self.norms, (deviation - self._offset) / self.bound)
        inverse = self.shift.law.inverse_norm_shift
        shifts = self._certain(inverse(np.clip(allowed, 0.0, 2.0), self.shift.dimension), allowed)
        return _step_down(shifts, lambda tried: self.deviation(tried) <= deviation)

    @staticmethod
    def _certain(shifts: Array, allowed: Array) -> Array:
        """No shift where nothing is allowed, any where no map could move that far."""
        return np.where(allowed < 0.0, -np.inf, np.where(allowed >= 2.0, np.inf, shifts))

    @property
    def _length(self) -> Array:
        """The norm that the sine is taken against."""
        if self.claim == "population":
            return np.clip(self.norms - self.here, 0.0, None)
        return self.norms

    @property
    def _offset(self) -> float:
        """Monte-Carlo error in the numerator of the sine."""
        return 0.0 if self.claim == "population" else self.here + self.there


def _step_down(shifts: Array, holds: Callable[[Array], NDArray[np.bool_]]) -> Array:
    """Shortens shifts until the forward bound itself passes, so that rounding errs on its side."""
    step = 1e-12
    for _ in range(8):
        passes = holds(np.clip(shifts, 0.0, None))
        if passes.all():
            break
        shifts = np.where(passes, shifts, shifts * (1.0 - step))
        step *= 10.0
    return np.where(passes, shifts, -np.inf)
