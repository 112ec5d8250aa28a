"""Question: how much of a map's top stays inside a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captum_robust._base.numbers.rounding import percent_down
from captum_robust.certificates.budget import REGION
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class RegionMass(Question):
    """Share of the marked features inside the masks given to ``certify``."""

    name = "region_mass"
    event = REGION
    thresholds = (0.0, 1.0)

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return certificate.shares is not None

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        each = zip(self.region(certificate), shifts, strict=True)
        return np.array([evidence.share(shift) for evidence, shift in each])

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        return np.array([one.shift_of_share(threshold) for one in self.region(certificate)])

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        return [_sentence(float(share)) for share in self.answer(certificate, shifts)]


def _sentence(share: float) -> str:
    if share <= 0.0:
        return "nothing is certified of the region"
    return f"at least {percent_down(share)} of the features marked lie inside the region on average"
