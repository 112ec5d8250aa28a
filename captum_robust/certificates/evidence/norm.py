"""Cosine, angle and deviation of maps of bounded norm: confidence, shift and geometry together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.budget import norm_shares
from captum_robust.certificates.confidence.bousquet import bousquet_radius
from captum_robust.certificates.confidence.pac_bayes import pac_bayes_radius
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.certificates.confidence.spread import (
    mean_lower,
    top_eigenvalue_upper,
    trace_upper,
)
from captum_robust.certificates.confidence.vectors import norm_radius
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.functionals.angle import cosine_from_sine, sine_from_cosine
from captum_robust.certificates.printed.formulas import published_cosine, published_ratio
from captum_robust.certificates.shifts.covariance import hcr_shift, inverse_hcr_shift
from captum_robust.noise.law import NoiseLaw
from captum_robust.noise.shift import Shift

Array = NDArray[np.float64]

NORM_SLACK: Final = 1e-5  # what rounding can add to the norm of a map, as a share


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
        return self._smaller(shifts, self._law.norm_shift)

    def turned(self, shifts: Array) -> Array:
        """The angle constant A, ``(N,)``: the smaller of both routes."""
        if self.drawn_anew:
            return self.moved(shifts)
        return self._smaller(shifts, self._law.angle_shift)

    def _smaller(self, shifts: Array, bound: Callable[..., Array]) -> Array:
        by_covariance = self._by_covariance(shifts)
        if not self.bounded:
            return by_covariance
        by_norm = self.bound * bound(shifts, self.shift.dimension, self.nonnegative)
        return np.minimum(by_norm, by_covariance)

    def _by_covariance(self, shifts: Array) -> Array:
        return hcr_shift(shifts, self.eigenvalues) + self._slip

    @property
    def _law(self) -> NoiseLaw:
        return self.shift.law if self.published else self.shift.bounds

    @property
    def _slip(self) -> float:
        """What expectations as computed are off, at x and at the perturbed input together."""
        length = math.sqrt(2.0) if self.nonnegative else 2.0
        return 2.0 * length * self.bound * self.shift.slack

    def by_hcr(self, shifts: Array) -> NDArray[np.bool_]:
        """Whether the HCR route gives the angle constant, ``(N,)``."""
        return self.turned(shifts) == self._by_covariance(shifts)

    def cosine(self, shifts: Array) -> Array:
        """Certified cosines at shifts ``(N,)``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.published:
                return published_cosine(self.moved(shifts) / self.lengths)
            sine = (self.offset + self.turned(shifts)) / self.lengths
        return cosine_from_sine(np.where(self.lengths > 0, sine, np.inf), self.nonnegative)

    def deviation(self, shifts: Array) -> Array:
        """Certified l2 deviations at shifts ``(N,)``."""
        return np.minimum((self.offset + self.moved(shifts)) * (1.0 + 1e-12), self.farthest)

    @property
    def farthest(self) -> float:
        """No two maps of norm at most M are farther apart, averages and expectations included."""
        return float(np.sqrt(2.0) if self.nonnegative else 2.0) * self.bound * (1.0 + 1e-12)

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

    def shift_of_deviation(self, deviation: Array | float) -> Array:
        """Largest shifts ``(N,)`` at which the deviation is certified; -inf where it never is."""
        shifts = self._shift_of_move(deviation - self.offset, self._norm_inverse)
        shifts = np.where(deviation >= self.farthest, np.inf, shifts)
        return _step_down(shifts, lambda tried: self.deviation(tried) <= deviation)

    def _shift_of_move(self, allowed: Array, inverse: Callable[[Array], Array]) -> Array:
        """The larger shift of both routes; none where nothing is allowed, any beyond 2M."""
        shifts = inverse_hcr_shift(allowed - self._slip, self.eigenvalues)
        if self.bounded:
            shifts = np.maximum(shifts, inverse(np.clip(allowed / self.bound, 0.0, 2.0)))
            shifts = np.where(allowed >= 2.0 * self.bound, np.inf, shifts)
        return np.where(allowed < 0.0, -np.inf, shifts)

    def _norm_inverse(self, distance: Array) -> Array:
        law = self._law
        return law.inverse_norm_shift(distance, self.shift.dimension, self.nonnegative)

    def _angle_inverse(self, constant: Array) -> Array:
        law = self._law
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
    build = partial(_evidence_at, certificate, alpha)
    return certificate.remembered.get(("norm", alpha), build)


def _evidence_at(certificate: CertificateData, alpha: float) -> NormEvidence:
    """The evidence at a probability of error, of all examples."""
    known, shift, terms = certificate.range, certificate.shift, certificate.terms
    bound = known.norm * (1.0 + NORM_SLACK)
    norms = certificate.mean.norm(dim=1).numpy()
    unknown, none = np.full_like(norms, np.inf), np.zeros_like(norms)
    if terms.published:
        return NormEvidence(bound, norms, none, unknown, False, False, shift, published=True)
    hcr = shift.law.norm_shift_by_covariance and certificate.pairs is not None
    if terms.route == "hcr" and not hcr:
        raise ValueError(
            '`route` "hcr" needs Gaussian noise and at least 8 samples, '
            f"got {shift.law.name} noise and {certificate.nt_samples} samples."
        )
    population, redrawn = terms.claim == "population", terms.claim == "redrawn"
    shares = norm_shares(alpha, certificate.pairs is not None, population, redrawn)
    radii, eigenvalues, lengths = _measured(certificate, norms, bound, shares)
    fresh = 0.0
    if redrawn:
        fresh = norm_radius(bound, certificate.nt_samples, shares["fresh"], known.nonnegative)
    return NormEvidence(
        bound=bound,
        lengths=lengths if population else norms,
        offset=none if population else radii + fresh,
        # Of the ideal law: (w.G - w.h)^2 is at most 4 M^2, so its mean moves by so much.
        eigenvalues=eigenvalues + 4.0 * bound**2 * shift.slack if hcr else unknown,
        drawn_anew=redrawn,
        nonnegative=known.nonnegative,
        shift=shift,
        bounded=terms.route != "hcr",
    )


def _measured(
    certificate: CertificateData, norms: Array, bound: float, shares: dict[str, float]
) -> tuple[Array, Array, Array]:
    """Monte-Carlo radii, top eigenvalues and lower bounds on norms, ``(N,)`` each, one event."""
    pairs, unknown = certificate.pairs, np.full_like(norms, np.inf)
    if certificate.terms.confidence == "exact":
        return np.zeros_like(norms), unknown if pairs is None else pairs.eigenvalues, norms
    samples, positive = certificate.nt_samples, certificate.range.nonnegative
    if pairs is None:
        radii = np.full_like(norms, norm_radius(bound, samples, shares["radius"], positive))
        return radii, unknown, np.clip(norms - radii, 0.0, None)
    fourths = [None] * len(norms) if pairs.fourths is None else pairs.fourths
    rows = [
        _spread(*measured, pairs, bound, samples, shares, positive)
        for measured in zip(
            norms, pairs.traces, pairs.inners, pairs.eigenvalues, fourths, strict=True
        )
    ]
    radii, eigenvalues, lengths = np.array(rows).T
    return radii, eigenvalues, lengths


def _spread(
    norm: float,
    trace: float,
    inner: float,
    eigenvalue: float,
    fourth: float | None,
    pairs: PairEvidence,
    bound: float,
    samples: int,
    shares: dict[str, float],
    positive: bool,
) -> tuple[float, float, float]:
    """Radius, top eigenvalue and least length of one example's expected map."""
    top = top_eigenvalue_upper(
        eigenvalue, pairs.eig_pairs, shares["eigenvalue"], bound, positive, fourth
    )
    total = trace_upper(trace, pairs.pairs, shares["trace"], bound, positive)
    # The better of two at the true spread is fixed beforehand, and this is no less than that.
    radius = min(
        bound_of(total, top, samples, shares["radius"], bound, positive)
        for bound_of in (bousquet_radius, pac_bayes_radius)
    )
    length = max(norm - radius, 0.0)
    if "length" in shares:
        low = 0.0 if positive else -(bound**2)
        square = mean_lower(inner, low, bound**2, pairs.pairs, shares["length"])
        length = max(length, np.sqrt(max(square, 0.0)))
    # The top eigenvalue is at most the trace, E|G|^2 - |h|^2: free, on the same event.
    return radius, min(top, total, bound**2 - length**2), length


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
