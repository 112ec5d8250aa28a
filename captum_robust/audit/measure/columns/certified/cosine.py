"""How similar in direction the map stays."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.certificates import Certificate


class Cosine(CertifiedColumn):
    """The certified cosine similarity, and the radius up to which it stays 0.9."""

    name = "cosine"
    title = "cosine"
    about = "the least cosine similarity between the map and that of any perturbed input"
    axis = "certified cosine similarity"
    caption = (
        "The least cosine similarity between the map and that of any input within ε. 1 is the same "
        "direction; 0 means that nothing is certified, since these maps have no negative values."
    )
    threshold = 0.9
    radius_title = "radius of cosine 0.9"

    def value(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """A cosine in [-1, 1]."""
        return certificate.cosine(plan.epsilon)

    def curve(self, certificate: Certificate, plan: AuditPlan, epsilons: Sequence[float]) -> Tensor:
        """Cosines in [-1, 1]."""
        return certificate.curve("cosine", epsilons)

    def radius(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """In input units."""
        return certificate.certified_radius(cosine=self.threshold)

    def show(self, value: float | None) -> str:
        """Rounded down; a value of 0 or less certifies nothing."""
        return rounding.cosine(1.0 if value is None else value)
