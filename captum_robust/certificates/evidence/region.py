"""Region mass of one example: confidence and shift of one scalar together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from captum_robust._base.numbers.bisect import bisect
from captum_robust.certificates.budget import region_shares
from captum_robust.certificates.confidence.betting import betting_lower
from captum_robust.certificates.confidence.spread import mean_upper
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.shifts.moments import moment_shift, variance_shift
from captum_robust.noise import NoiseLaw
from captum_robust.noise.shift import Shift

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RegionEvidence:
    """What the samples of one example say of a share in [0, 1].

    Attributes:
        lower, upper: bounds on its expectation.
        variance: bound on its variance.
        fresh: error of a fresh average at the perturbed input; 0 where none is drawn.
        law: the noise law, for samples as computed.
        dimension: number of input features.
        allowance: what an expectation as computed may be off.
    """

    lower: float
    upper: float
    variance: float
    fresh: float
    law: NoiseLaw
    dimension: int
    allowance: float = 0.0

    @classmethod
    def of(cls, shares: Array, alpha: float, shift: Shift, redrawn: bool) -> RegionEvidence:
        """The evidence at a probability of error."""
        spent = region_shares(alpha, redrawn)
        pairs = len(shares) // 2
        gaps = shares[0 : 2 * pairs : 2] - shares[1 : 2 * pairs : 2]
        variance = 0.25
        if pairs:
            average = float(np.square(gaps).mean()) / 2.0
            variance = min(variance, mean_upper(average, 0.5, pairs, spent["variance"]))
        fresh = math.sqrt(-math.log(spent["fresh"]) / (2.0 * len(shares))) if redrawn else 0.0
        return cls(
            lower=betting_lower(shares, spent["lower"]),
            upper=1.0 - betting_lower(1.0 - shares, spent["upper"]),
            variance=variance,
            fresh=fresh,
            law=shift.bounds,
            dimension=shift.dimension,
            allowance=shift.slack,
        )

    @classmethod
    def exact(cls, shares: Array, shift: Shift) -> RegionEvidence:
        """The evidence if the averages of the samples were the expectations."""
        mean = float(shares.mean())
        known = (mean, mean, float(shares.var()), 0.0)
        return cls(*known, shift.bounds, shift.dimension, shift.slack)

    def share(self, shift: float) -> float:
        """The certified share after a shift, rounded down: the best of all forms."""
        bounds = [float(self.law.lower(self.lower, shift, self.dimension))]
        if self.law.norm_shift_by_covariance:
            bounds += [bound - self.allowance for bound in self._by_moments(shift)]
        return min(max(max(bounds) - self.fresh - 1e-12, 0.0), 1.0)

    def _by_moments(self, shift: float) -> tuple[float, float]:
        """Bounds from mean and variance under the ideal law, within the allowance of those here."""
        lower = max(self.lower - self.allowance, 0.0)
        upper = min(self.upper + self.allowance, 1.0)
        variance = min(self.variance + self.allowance, 0.25)
        return variance_shift(lower, variance, shift), moment_shift(lower, upper, variance, shift)

    def shift_of_share(self, share: float) -> float:
        """The shift up to which a share is certified, by bisection from the safe side."""
        if self.share(0.0) < share:
            return -math.inf
        if share == 0.0:
            return math.inf
        safe, _ = bisect(lambda tried: self.share(float(tried)) >= share, 0.0, 40.0, steps=40)
        return float(safe)


def region_evidence(certificate: CertificateData, alpha: float) -> list[RegionEvidence]:
    """What is known of each example's share inside its mask.

    Raises:
        ValueError: if no masks were given.
    """
    if certificate.shares is None:
        raise ValueError(
            "`region_mass` needs `masks` given to certify before sampling: a mask chosen after "
            "seeing the samples is not covered."
        )
    return certificate.remembered.get(("region", alpha), partial(_evidence_at, certificate, alpha))


def _evidence_at(certificate: CertificateData, alpha: float) -> list[RegionEvidence]:
    """The evidence of all examples at a probability of error."""
    rows = np.empty((0, 0)) if certificate.shares is None else certificate.shares.numpy()
    if certificate.terms.confidence == "exact":
        return [RegionEvidence.exact(row, certificate.shift) for row in rows]
    fresh = certificate.claim == "redrawn"
    return [RegionEvidence.of(row, alpha, certificate.shift, fresh) for row in rows]
