"""Cosine, angle and deviation of maps of bounded norm: confidence, shift and geometry together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.confidence.bousquet import bousquet_radius
from captum_robust.certificates.confidence.pac_bayes import pac_bayes_radius
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.certificates.confidence.spread import (
    mean_lower,
    top_eigenvalue_upper,
    trace_upper,
)
from captum_robust.certificates.confidence.vectors import norm_radius
from captum_robust.certificates.functionals.angle import cosine_from_sine, sine_from_cosine
from captum_robust.certificates.printed.formulas import published_cosine, published_ratio
from captum_robust.certificates.shifts.covariance import hcr_shift, inverse_hcr_shift
from captum_robust.noise.shift import Shift
from captum_robust.transforms.ranges import MapRange

if TYPE_CHECKING:
    from captum_robust.certificates.data import CertificateData

Array = NDArray[np.float64]

NORM_SLACK: Final = 1e-5  # what rounding can add to the norm of a map, as a share

# How the probability of error is shared among trace, top eigenvalue, Monte-Carlo radius and, for
# the population claim, the lower bound on the norm.
_SHARES: Final = {"trace": 0.1, "eigenvalue": 0.35, "radius": 0.45, "length": 0.1}


@dataclass(frozen=True)
class NormEvidence:
    r"""What the samples say of a mean of maps of norm at most M.

    Attributes:
        bound: M.
        lengths: what the sine is taken against, ``(N,)``: :math:`\|\hat h\|`, or a lower bound on
            :math:`\|h\|` for the population claim.
        offset: Monte-Carlo error in the numerator, ``(N,)``: of the map at x, and of a fresh one.
        eigenvalues: bounds on :math:`\lambda_{\max}` of the maps' covariance at x, ``(N,)``;
            infinite where the HCR route is not open.
        drawn_anew: whether the second map is drawn anew, so that only its distance is bounded.
        nonnegative: whether maps have no negative element.
        shift: the noise law at its level.
        bounded: whether the bound on the norm is used beside the covariance.
        published: whether the printed geometry is used.
    """

    bound: float
    lengths: Array
    offset: Array
    eigenvalues: Array
    drawn_anew: bool
    nonnegative: bool
    shift: Shift
    bounded: bool = True
    published: bool = False

    def moved(self, shifts: Array) -> Array:
        """How far the expected map moves, ``(N,)``: the smaller of both routes."""
        return self._smaller(shifts, self.shift.law.norm_shift)

    def turned(self, shifts: Array) -> Array:
        """The angle constant A, ``(N,)``: the smaller of both routes."""
        if self.drawn_anew:
            return self.moved(shifts)
        return self._smaller(shifts, self.shift.law.angle_shift)

    def _smaller(self, shifts: Array, bound: Callable[..., Array]) -> Array:
        by_covariance = hcr_shift(shifts, self.eigenvalues)
        if not self.bounded:
            return by_covariance
        by_norm = self.bound * bound(shifts, self.shift.dimension, self.nonnegative)
        return np.minimum(by_norm, by_covariance)

    def by_hcr(self, shifts: Array) -> NDArray[np.bool_]:
        """Whether the HCR route gives the angle constant, ``(N,)``."""
        return self.turned(shifts) == hcr_shift(shifts, self.eigenvalues)

    def cosine(self, shifts: Array) -> Array:
        """Certified cosines at shifts ``(N,)``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.published:
                return published_cosine(self.moved(shifts) / self.lengths)
            sine = (self.offset + self.turned(shifts)) / self.lengths
        return cosine_from_sine(np.where(self.lengths > 0, sine, np.inf), self.nonnegative)

    def deviation(self, shifts: Array) -> Array:
        """Certified l2 deviations at shifts ``(N,)``."""
        return (self.offset + self.moved(shifts)) * (1.0 + 1e-12)

    def shift_of_cosine(self, cosine: float) -> Array:
        """Largest shifts ``(N,)`` at which the cosine is certified; -inf where it never is."""
        if self.published:
            return self._shift_of_move(self.lengths * published_ratio(cosine), self._norm_inverse)
        if self.nonnegative and cosine == 0.0:
            return np.full_like(self.lengths, np.inf)
        allowed = self.lengths * sine_from_cosine(cosine) - self.offset
        inverse = self._norm_inverse if self.drawn_anew else self._angle_inverse
        shifts = self._shift_of_move(allowed, inverse)
        return _step_down(shifts, lambda tried: self.cosine(tried) >= cosine)

    def shift_of_deviation(self, deviation: float) -> Array:
        """Largest shifts ``(N,)`` at which the deviation is certified; -inf where it never is."""
        shifts = self._shift_of_move(deviation - self.offset, self._norm_inverse)
        return _step_down(shifts, lambda tried: self.deviation(tried) <= deviation)

    def _shift_of_move(self, allowed: Array, inverse: Callable[[Array], Array]) -> Array:
        """The larger shift of both routes; none where nothing is allowed, any beyond 2M."""
        shifts = inverse_hcr_shift(allowed, self.eigenvalues)
        if self.bounded:
            shifts = np.maximum(shifts, inverse(np.clip(allowed / self.bound, 0.0, 2.0)))
            shifts = np.where(allowed >= 2.0 * self.bound, np.inf, shifts)
        return np.where(allowed < 0.0, -np.inf, shifts)

    def _norm_inverse(self, distance: Array) -> Array:
        law = self.shift.law
        return law.inverse_norm_shift(distance, self.shift.dimension, self.nonnegative)

    def _angle_inverse(self, constant: Array) -> Array:
        law = self.shift.law
        return law.inverse_angle_shift(constant, self.shift.dimension, self.nonnegative)


def norm_evidence(certificate: CertificateData, question: str, alpha: float) -> NormEvidence:
    """The evidence in a certificate's samples at a probability of error.

    Raises:
        ValueError: if the norm of the maps has no bound; the message has the three ways out.
    """
    known = certificate.range
    if not np.isfinite(known.norm):
        raise ValueError(
            f"`{question}` needs a bound on the norm of every map, which "
            f"{certificate.terms.method} does not give (a maximum over samples is never a "
            "bound); use transform=UnitNorm(), transform=ClipNorm(M), or give a proven "
            "norm_bound."
        )
    bound = known.norm * (1.0 + NORM_SLACK)
    norms = certificate.mean.norm(dim=1).numpy()
    unknown = np.full_like(norms, np.inf)
    shift, samples = certificate.shift, certificate.nt_samples
    if certificate.terms.published:
        none = np.zeros_like(norms)
        return NormEvidence(bound, norms, none, unknown, False, False, shift, published=True)
    redrawn, population = certificate.claim == "redrawn", certificate.claim == "population"
    alpha = alpha / 2 if redrawn else alpha
    exact = certificate.terms.confidence == "exact"
    if exact:
        radii, lengths = np.zeros_like(norms), norms
        eigenvalues = unknown if certificate.pairs is None else certificate.pairs.eigenvalues
    elif certificate.pairs is None:
        radii = np.full_like(norms, norm_radius(bound, samples, alpha, known.nonnegative))
        eigenvalues, lengths = unknown, np.clip(norms - radii, 0.0, None)
    else:
        radii, eigenvalues, lengths = _spread(
            certificate.pairs, norms, bound, samples, alpha, known, population
        )
    fresh = norm_radius(bound, samples, alpha, known.nonnegative) if redrawn else 0.0
    hcr = shift.law.norm_shift_by_covariance and certificate.pairs is not None
    if certificate.terms.route == "hcr" and not hcr:
        raise ValueError(
            '`route` "hcr" needs Gaussian noise and at least 8 samples, '
            f"got {shift.law.name} noise and {samples} samples."
        )
    return NormEvidence(
        bound=bound,
        lengths=lengths if population else norms,
        offset=np.zeros_like(norms) if population else radii + fresh,
        eigenvalues=eigenvalues if hcr else unknown,
        drawn_anew=redrawn,
        nonnegative=known.nonnegative,
        shift=shift,
        bounded=certificate.terms.route != "hcr",
    )


def _spread(
    pairs: PairEvidence,
    norms: Array,
    bound: float,
    samples: int,
    alpha: float,
    known: MapRange,
    population: bool,
) -> tuple[Array, Array, Array]:
    """Monte-Carlo radii, top eigenvalues and lower bounds on norms, ``(N,)`` each, one event."""
    used = sum(_SHARES.values()) - (0.0 if population else _SHARES["length"])
    share = {name: alpha * part / used for name, part in _SHARES.items()}
    positive = known.nonnegative
    fourths = [None] * len(norms) if pairs.fourths is None else pairs.fourths
    rows = []
    for norm, trace, inner, eigenvalue, fourth in zip(
        norms, pairs.traces, pairs.inners, pairs.eigenvalues, fourths, strict=True
    ):
        top = top_eigenvalue_upper(
            eigenvalue, pairs.eig_pairs, share["eigenvalue"], bound, positive, fourth
        )
        total = trace_upper(trace, pairs.pairs, share["trace"], bound, positive)
        # The better of two at the true spread is fixed beforehand, and this is no less than that.
        radius = min(
            bound_of(total, top, samples, share["radius"], bound, positive)
            for bound_of in (bousquet_radius, pac_bayes_radius)
        )
        length = max(norm - radius, 0.0)
        if population:
            low = 0.0 if positive else -(bound**2)
            square = mean_lower(inner, low, bound**2, pairs.pairs, share["length"])
            length = max(length, np.sqrt(max(square, 0.0)))
        # The top eigenvalue is at most the trace, E|G|^2 - |h|^2: free, on the same event.
        rows.append((radius, min(top, total, bound**2 - length**2), length))
    radii, eigenvalues, lengths = np.array(rows).T
    return radii, eigenvalues, lengths


def _step_down(shifts: Array, holds: Callable[[Array], NDArray[np.bool_]]) -> Array:
    """Shortens shifts until the forward bound itself passes, so that rounding errs on its side."""
    step = 1e-12
    for _ in range(12):  # rounding of a cosine near 1 takes a large share of its sine
        passes = holds(np.clip(shifts, 0.0, None))
        if passes.all():
            break
        shifts = np.where(passes, shifts, shifts * (1.0 - step))
        step *= 10.0
    return np.where(passes, shifts, -np.inf)
