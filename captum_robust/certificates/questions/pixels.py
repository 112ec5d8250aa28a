"""Question: which features stay in, or out of, most samples' top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from captum_robust.certificates.budget import ELEMENTWISE
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.elementwise import law_of
from captum_robust.certificates.functionals.pixels import ABSTAIN, Decisions, holm_decisions
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class Pixels(Question):
    """Decides each feature: 1 stays in most samples' top, 0 stays out, -1 abstains.

    Attributes:
        simultaneous: whether answers at all sizes hold together; else Holm's procedure.
    """

    simultaneous: bool = True

    name = "pixels"
    event = ELEMENTWISE
    stated = False

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return certificate.range.binary

    def answer(self, certificate: CertificateData, shifts: Array) -> Any:
        return certificate.as_maps(self.decisions(certificate, shifts), torch.int8)

    def decisions(self, certificate: CertificateData, shifts: Array) -> list[Decisions]:
        """The decisions of each example, ``(m,)``."""
        _refuse_values(certificate)
        if not self.simultaneous:
            return self._holm(certificate, shifts)
        each = zip(self.elementwise(certificate), shifts, strict=True)
        return [evidence.decisions(shift) for evidence, shift in each]

    def pixel_radii(self, certificate: CertificateData) -> list[Array]:
        """The perturbation size up to which each decision holds, ``(m,)``, of each example."""
        _refuse_values(certificate)
        rows = [evidence.decision_shifts() for evidence in self.elementwise(certificate)]
        return list(certificate.shift.to_epsilon(np.stack(rows).T).T)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        decided = [int((row != ABSTAIN).sum()) for row in self.decisions(certificate, shifts)]
        everything = certificate.words.counted(certificate.features)
        return [
            f"{count} of {everything} stay in, or out of, the top of most noisy samples"
            for count in decided
        ]

    def _holm(self, certificate: CertificateData, shifts: Array) -> list[Decisions]:
        """Holm's decisions of each example."""
        joint = certificate.terms.questions
        if certificate.claim == "redrawn" or joint not in (None, ("pixels",)):
            raise ValueError(
                "`simultaneous` must be True for the redrawn claim, since Holm's procedure is "
                "about expectations, and beside other joint questions, since its error is not "
                "theirs."
            )
        alpha, shift = self.alpha(certificate, ELEMENTWISE), certificate.shift
        limits = law_of(certificate).upper(0.5, shifts, shift.dimension)
        return [
            holm_decisions(mean, certificate.nt_samples, alpha, float(limit))
            for mean, limit in zip(certificate.mean.numpy(), limits, strict=True)
        ]


def _refuse_values(certificate: CertificateData) -> None:
    """Raises unless maps are 0/1."""
    if not certificate.range.binary:
        raise ValueError(
            f"`pixels` needs 0/1 maps, which {certificate.terms.method} does not give; "
            "use transform=Abs() >> Sparsify(keep) or SparsifiedSmoothGrad."
        )
