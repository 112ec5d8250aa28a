"""Question: the worst rank of every feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from captum_robust._base.checks import feature_count
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

    def staying_radii(self, certificate: CertificateData, k: int | float) -> list[Array]:
        """The perturbation size up to which each feature stays in the top k, of each example."""
        count = feature_count("k", k, certificate.features)
        rows = [one.staying_shifts(count) for one in self.elementwise(certificate)]
        return list(certificate.shift.to_epsilon(np.stack(rows).T).T)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        each = zip(self.elementwise(certificate), shifts, strict=True)
        some = [
            int((evidence.ranks(shift) < certificate.features).sum()) for evidence, shift in each
        ]
        everything = certificate.words.counted(certificate.features)
        return [f"{count} of {everything} have a certified rank" for count in some]
