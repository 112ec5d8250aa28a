"""The prediction under the noise: how far the smoothed classifier keeps the explained label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from captum_robust._base.numbers.bisect import bisect
from captum_robust.certificates.budget import at_both_inputs
from captum_robust.certificates.confidence.votes import NO_VOTES, Votes, share_lower
from captum_robust.certificates.data import CertificateData
from captum_robust.noise import NoiseLaw


@dataclass(frozen=True)
class PredictionEvidence:
    r"""What the noisy copies of one example say of the smoothed classifier.

    The smoothed classifier gives the label that the net predicts most often under the noise. With
    :math:`p = P(f(x+\eta) = y)`, the net predicts y at :math:`x + \delta + \eta` with probability
    at least :math:`\mathrm{lower}(p)`, since the indicator of that is a [0, 1]-valued function of
    the noisy input; above one half no other label can be as frequent. For Gaussian noise this
    holds up to :math:`\sigma\,\Phi^{-1}(p)`, Theorem 1 of Cohen et al. (2019) with their
    :math:`p_B = 1 - p_A`; for other laws up to the shift whose total variation is
    :math:`p - \tfrac12`.

    Attributes:
        lower: bound on p.
        fresh: error of the share among as many fresh copies; 0 where none are drawn.
        law: the noise law, for samples as computed.
        dimension: number of input features.
    """

    lower: float
    fresh: float
    law: NoiseLaw
    dimension: int

    def share(self, shift: float) -> float:
        """Least share of noisy copies with the label at any input within a shift."""
        moved = float(self.law.lower(self.lower, shift, self.dimension)) - self.fresh
        return min(max(moved - 1e-12, 0.0), 1.0)

    def shift_of_share(self, share: float) -> float:
        """The shift up to which the label has more than a share of the noisy copies."""
        if share == 0.5:  # in closed form: above one half is above its complement
            both = (self.lower, 1.0 - self.lower)
            return float(self.law.separation(*both, self.dimension, 2.0 * self.fresh))
        if not self._above(share, 0.0):
            return -math.inf
        safe, _ = bisect(lambda shift: self._above(share, float(shift)), 0.0, 40.0, steps=60)
        return float(safe)

    def _above(self, share: float, shift: float) -> bool:
        moved = float(self.law.lower(self.lower, shift, self.dimension)) - self.fresh
        return moved > share


def prediction_evidence(certificate: CertificateData, alpha: float) -> list[PredictionEvidence]:
    """What is known of each example's prediction under the noise.

    Raises:
        ValueError: if the predictions were not seen.
    """
    votes = votes_of(certificate)
    here, there = at_both_inputs(alpha, certificate.claim == "redrawn")
    samples = certificate.nt_samples
    fresh = math.sqrt(-math.log(there) / (2.0 * samples)) if there else 0.0
    # As many copies as the certificate has: adaptive sampling asks what more of them would give.
    counts = np.floor(votes.shares * samples + 1e-9).astype(int)
    exact = certificate.terms.confidence == "exact"
    law, dimension = certificate.shift.bounds, certificate.shift.dimension
    return [
        PredictionEvidence(
            count / samples if exact else share_lower(count, samples, here), fresh, law, dimension
        )
        for count in counts.tolist()
    ]


def votes_of(certificate: CertificateData) -> Votes:
    """The predictions at the noisy copies.

    Raises:
        ValueError: if they were not seen.
    """
    if certificate.votes is None:
        raise ValueError(NO_VOTES)
    return certificate.votes
