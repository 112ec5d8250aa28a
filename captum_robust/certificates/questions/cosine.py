"""Question: the cosine similarity of two maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from captum_robust._base.numbers.rounding import down_to, up_to
from captum_robust.certificates.budget import NORM
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class Cosine(Question):
    """Cosine similarity between the map and that of any perturbed input."""

    name = "cosine"
    event = NORM
    thresholds = (0.0, 1.0)

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return math.isfinite(certificate.range.norm)

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        return self.norm(certificate).cosine(shifts)

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        return self.norm(certificate).shift_of_cosine(threshold)

    def nothing(self, certificate: CertificateData) -> float:
        return 0.0 if certificate.range.nonnegative else -1.0

    def routes(self, certificate: CertificateData, shifts: Array) -> list[str]:
        return ["hcr" if one else "bounded" for one in self.norm(certificate).by_hcr(shifts)]

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        cosines, routes = self.answer(certificate, shifts), self.routes(certificate, shifts)
        nothing = self.nothing(certificate)
        return [
            _sentence(float(cosine), nothing, route)
            for cosine, route in zip(cosines, routes, strict=True)
        ]


def _sentence(cosine: float, nothing: float, route: str) -> str:
    if cosine <= nothing:
        return (
            "nothing is certified of the cosine "
            "(a smaller epsilon, more noise or more samples may help)"
        )
    degrees = np.degrees(np.arccos(cosine))
    return (
        f"the cosine is at least {down_to(cosine, 4)}, an angle of at most "
        f"{up_to(degrees, 1)} degrees ({route} route)"
    )
