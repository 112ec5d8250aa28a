"""Question: the worst rank of every feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from captum_robust.certificates.budget import ELEMENTWISE
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class Rank(Question):
    """Worst rank that any perturbation can give each feature; 1 is the largest."""

    name = "rank"
    event = ELEMENTWISE
    stated = False

    def answer(self, certificate: CertificateData, shifts: Array) -> Any:
        each = zip(self.elementwise(certificate), shifts, strict=True)
        rows = [evidence.ranks(shift) for evidence, shift in each]
        return certificate.as_maps(rows, torch.int64)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        each = zip(self.elementwise(certificate), shifts, strict=True)
        some = [
            int((evidence.ranks(shift) < certificate.features).sum()) for evidence, shift in each
        ]
        return [
            f"{count} of {certificate.features} features have a certified rank" for count in some
        ]
