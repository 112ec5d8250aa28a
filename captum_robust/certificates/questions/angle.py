"""Question: the angle between two maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from captum_robust._base.numbers.rounding import up_to
from captum_robust.certificates.budget import NORM
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.cosine import Cosine
from captum_robust.certificates.questions.question import Array, Question

_DEGREES: Final = 1e-9  # what rounding can take from an arc cosine


@dataclass(frozen=True)
class Angle(Question):
    """Angle in degrees between the map and that of any perturbed input."""

    name = "angle"
    event = NORM
    thresholds = (0.0, 90.0)
    larger_is_stronger = False
    stated = False  # the sentence of the cosine has it

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return Cosine.admits(certificate)

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        degrees = np.degrees(np.arccos(self.norm(certificate).cosine(shifts)))
        return np.minimum(degrees + _DEGREES, self.nothing(certificate))

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        inside = threshold if threshold == 90.0 else max(threshold - 2.0 * _DEGREES, 0.0)
        # The sine of the complement: the cosine of 90 degrees would not be 0.
        cosine = float(np.sin(np.radians(90.0 - inside)))
        return self.norm(certificate).shift_of_cosine(cosine)

    def nothing(self, certificate: CertificateData) -> float:
        return 90.0 if certificate.range.nonnegative else 180.0

    def routes(self, certificate: CertificateData, shifts: Array) -> list[str]:
        return ["hcr" if one else "bounded" for one in self.norm(certificate).by_hcr(shifts)]

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        angles = self.answer(certificate, shifts)
        return [f"the angle is at most {up_to(float(angle), 1)} degrees" for angle in angles]
