"""Questions about single features of maps of known range: confidence and shift together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.budget import at_both_inputs
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.elementwise.confidence import Confidence
from captum_robust.certificates.confidence.elementwise.hoeffding import hoeffding_half_width
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.norm import NORM_SLACK
from captum_robust.certificates.functionals import pixels, ranks
from captum_robust.certificates.functionals.overlap import displacement_shifts
from captum_robust.certificates.printed.formulas import published_displacement_shifts
from captum_robust.certificates.printed.lecuyer import LecuyerGaussianNoise
from captum_robust.noise import GaussianNoise, NoiseLaw

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ElementwiseEvidence:
    r"""What the samples of one example say of every feature, scaled to [0, 1].

    Attributes:
        means: averages ``(m,)``.
        lower, upper: simultaneous bounds on their expectations, ``(m,)``.
        margin: by how much the gap between two means can shrink when both are drawn anew at the
            perturbed input; 0 where nothing is.
        known_top: whether the top features at x are those of ``means`` or of the expectations.
        law: the noise law.
        dimension: number of input features.
        zero: where 0 lies on that scale.
        total: bound on the sum of a map's elements, scaled; infinity where there is none.
    """

    means: Array
    lower: Array
    upper: Array
    margin: float
    known_top: bool
    law: NoiseLaw
    dimension: int
    zero: float
    total: float

    def displacements(self, count: int, terms: Terms) -> Array:
        """Shifts from which on 1, 2, ... of the top ``count`` may leave, non-decreasing."""
        arguments = (self.means, self.lower, self.upper, count, self.law, self.dimension)
        if terms.published:
            return published_displacement_shifts(*arguments)
        return displacement_shifts(*arguments, known_top=self.known_top, margin=self.margin)

    def after(self, shift: float) -> tuple[Array, Array]:
        """Bounds on the features of the map at the perturbed input."""
        lower = self.law.lower(self.lower, shift, self.dimension) - self.margin / 2.0
        upper = self.law.upper(self.upper, shift, self.dimension) + self.margin / 2.0
        return lower, upper

    def ranks(self, shift: float) -> ranks.Ranks:
        """Worst ranks ``(m,)`` after a shift, the smaller of both bounds."""
        lower, upper = self.after(shift)
        counted = ranks.certified_ranks(lower, upper)
        return np.minimum(counted, ranks.conserved_ranks(lower - self.zero, self.total))

    def order_shift(self, first: int, second: int) -> float:
        """The shift up to which one feature stays above another."""
        pair = self.lower[first], self.upper[second]
        return float(self.law.separation(*pair, self.dimension, self.margin))

    def staying_shifts(self, count: int) -> Array:
        """The shift up to which each feature stays among the top ``count``; ``-inf`` for none.

        A feature is among them as long as fewer than ``count`` others can be as large, that is as
        long as its lower bound is above the ``count``-th largest upper bound of the others. All
        upper bounds move by one increasing function, so which feature has that bound is the same
        at every shift.
        """
        features = len(self.lower)
        if count >= features:
            return np.full(features, np.inf)
        largest = np.sort(self.upper)[::-1]
        among = self.upper >= largest[count - 1]  # without it the next one takes its place
        rival = np.where(among, largest[count], largest[count - 1])
        return np.asarray(self.law.separation(self.lower, rival, self.dimension, self.margin))

    def decisions(self, shift: float) -> pixels.Decisions:
        """Important, unimportant or abstain, ``(m,)``, after a shift."""
        stays_in, stays_out = self._decision_limits
        decisions = np.full(self.means.shape, pixels.ABSTAIN, dtype=np.int8)
        decisions[shift < stays_in] = pixels.IMPORTANT
        decisions[shift < stays_out] = pixels.UNIMPORTANT
        return decisions

    def decision_shifts(self) -> Array:
        """The shift up to which each feature's decision holds, ``(m,)``; negative for none."""
        return np.maximum(*self._decision_limits)

    @cached_property
    def _decision_limits(self) -> tuple[Array, Array]:
        """The shifts below which each feature stays in, and out of, most samples' top.

        A mean p stays above 1/2 as long as it stays above 1 - p: by symmetry of every law the two
        meet at 1/2.
        """
        stays_in = self.law.separation(self.lower, 1.0 - self.lower, self.dimension, self.margin)
        stays_out = self.law.separation(1.0 - self.upper, self.upper, self.dimension, self.margin)
        return stays_in, stays_out


def elementwise_evidence(
    certificate: CertificateData, question: str, alpha: float
) -> Iterator[ElementwiseEvidence]:
    """The evidence of each example, one at a time: memory of one example.

    Raises:
        ValueError: if the maps have no known range.
    """
    if not certificate.range.bounded:
        raise ValueError(
            f"`{question}` needs maps with a known range, which {certificate.terms.method} does "
            "not give; use a transform such as Sparsify(keep), Relax(keep), ScaleToMax() or "
            "UnitNorm(), or give a proven norm_bound."
        )
    for example in range(len(certificate.mean)):
        build = partial(_evidence_of, certificate, example, alpha)
        yield certificate.remembered.get(("elementwise", alpha, example), build)


def _evidence_of(certificate: CertificateData, example: int, alpha: float) -> ElementwiseEvidence:
    """The evidence of one example."""
    known, samples = certificate.range, certificate.nt_samples
    here, there = at_both_inputs(alpha, certificate.claim == "redrawn")
    fresh = hoeffding_half_width(samples, there, certificate.features) if there else 0.0
    slack = 0.0 if known.binary else NORM_SLACK * (known.high - known.low)  # what rounding can add
    low, width = known.low - slack, known.high - known.low + 2 * slack
    means = np.clip((certificate.mean[example].numpy() - low) / width, 0.0, 1.0)
    variances = certificate.variance
    lower, upper = confidence_of(certificate).bounds(
        means,
        samples,
        here,
        certificate.features,
        None if variances is None else variances[example].numpy() / width**2,
    )
    return ElementwiseEvidence(
        means=means,
        lower=lower,
        upper=upper,
        margin=2.0 * fresh,
        known_top=certificate.claim != "population",
        law=law_of(certificate),
        dimension=certificate.shift.dimension,
        zero=-low / width,
        total=known.total * (1.0 if known.binary else 1.0 + NORM_SLACK) / width,
    )


def law_of(certificate: CertificateData) -> NoiseLaw:
    """The noise law, which answers as its comparator does where that is asked for."""
    shift = certificate.shift
    if certificate.terms.published:
        return shift.law
    if certificate.terms.route == "lecuyer":
        if shift.law != GaussianNoise():
            raise ValueError(f'`route` "lecuyer" needs Gaussian noise, got {shift.law.name} noise.')
        shift = replace(shift, law=LecuyerGaussianNoise())
    return shift.bounds


def confidence_of(certificate: CertificateData) -> Confidence:
    """The confidence asked for, or the narrowest for these maps.

    Raises:
        ValueError: if it needs 0/1 maps and they are not.
    """
    wanted, binary = certificate.terms.confidence, certificate.range.binary
    if wanted == "auto":
        wanted = "clopper-pearson" if binary else "kl"
        wanted = "hoeffding" if certificate.terms.published else wanted
    confidence = Confidence.named(wanted)
    if confidence.needs_marks and not binary:
        raise ValueError(
            f'`confidence` "{wanted}" needs 0/1 maps, such as Sparsify(keep) gives; use "kl".'
        )
    return confidence
