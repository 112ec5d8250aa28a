"""Question: the l2 distance of two maps."""

from __future__ import annotations

from dataclasses import dataclass

from captum_robust._base.numbers.rounding import up
from captum_robust.certificates.budget import NORM
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.cosine import Cosine
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class L2Deviation(Question):
    """Largest l2 distance between the map and that of any perturbed input."""

    name = "l2_deviation"
    event = NORM
    thresholds = (0.0, float("inf"))
    larger_is_stronger = False
    stated = False

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return Cosine.admits(certificate)

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        return self.norm(certificate).deviation(shifts)

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        return self.norm(certificate).shift_of_deviation(threshold)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        distances = self.answer(certificate, shifts)
        return [f"the l2 distance is at most {up(float(one))}" for one in distances]
