"""Question: the share of features whose place is certified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.functionals.pixels import ABSTAIN
from captum_robust.certificates.questions.pixels import Pixels
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class CertifiedShare(Question):
    """Share of features that :class:`Pixels` decides.

    Attributes:
        simultaneous: as there.
    """

    simultaneous: bool = True

    name = "certified_share"
    event = Pixels.event
    part_of = "pixels"
    thresholds = (0.0, 1.0)
    stated = False

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        rows = Pixels(self.simultaneous).decisions(certificate, shifts)
        return np.array([(row != ABSTAIN).mean() for row in rows])
