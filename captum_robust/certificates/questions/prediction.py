"""Question: whether the smoothed classifier keeps the label that the map explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from captum_robust._base.numbers.rounding import percent_down
from captum_robust.certificates.budget import PREDICTION, Budget, per_side
from captum_robust.certificates.confidence.votes import share_lower, share_upper
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.prediction import (
    PredictionEvidence,
    prediction_evidence,
    votes_of,
)
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class Prediction(Question):
    """Least share of noisy copies at which the net predicts the explained label.

    Above one half, the smoothed classifier gives that label: the one that the net predicts most
    often under the noise. Cohen et al. (2019), Theorem 1.
    """

    name = "prediction"
    event = PREDICTION
    thresholds = (0.0, 1.0)
    about_map = False

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return certificate.votes is not None

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        each = zip(self._evidence(certificate), shifts, strict=True)
        return np.array([evidence.share(shift) for evidence, shift in each])

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        return np.array([one.shift_of_share(threshold) for one in self._evidence(certificate)])

    def reached(self, answers: Any, threshold: float) -> Any:
        """More than the threshold: at one half another label may be as frequent."""
        return answers > threshold

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        labels = votes_of(certificate).explained.tolist()
        shares = self.answer(certificate, shifts).tolist()
        return [
            f"the smoothed classifier gives label {label} (the net does at "
            f"{percent_down(share)} of the noisy copies or more)"
            if share > 0.5
            else "nothing is certified of the prediction"
            for label, share in zip(labels, shares, strict=True)
        ]

    def _evidence(self, certificate: CertificateData) -> list[PredictionEvidence]:
        return prediction_evidence(certificate, self.alpha(certificate, PREDICTION))


def predicted_interval(certificate: CertificateData) -> tuple[Array, Array]:
    """Bounds on how often the net predicts the explained label at the input itself, ``(N,)``."""
    votes, terms = votes_of(certificate), certificate.terms
    events = {"prediction": (PREDICTION,)}
    own = Budget(terms.alpha, events, False, examples=terms.examples, looks=terms.looks)
    side = per_side(own.of("prediction", PREDICTION), comparisons=1)
    lower = [share_lower(count, votes.samples, side) for count in votes.agreeing.tolist()]
    upper = [share_upper(count, votes.samples, side) for count in votes.agreeing.tolist()]
    return np.array(lower), np.array(upper)
