"""How many of the map's top features stay in the top."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.certificates import Certificate


class Overlap(CertifiedColumn):
    """The certified share of the top features, and the radius up to which half of them stay."""

    name = "overlap"
    title = "overlap, top {k}"
    about = "the share of the top {k} features that no perturbation pushes out of the top {k}"
    source = "Levine et al. (2019); Wang and Kong (2024)"
    axis = "certified overlap of the top {features}"
    caption = (
        "The share of the map's top {k} of {all} features that no perturbation of size ε can push "
        "out of the top {k}. Higher is better; 0 means that nothing is certified there, not that "
        "the map does change."
    )
    steps = True
    threshold = 0.5
    radius_title = "radius of overlap 50 %"

    def value(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """A share in [0, 1]."""
        return certificate.overlap(plan.epsilon, plan.k)

    def curve(self, certificate: Certificate, plan: AuditPlan, epsilons: Sequence[float]) -> Tensor:
        """Shares in [0, 1]."""
        return certificate.curve("overlap", epsilons, k=plan.k)

    def radius(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """In input units."""
        return certificate.certified_radius(overlap=self.threshold, k=plan.k)

    def show(self, value: float | None) -> str:
        """In percent, rounded down."""
        return rounding.share(1.0 if value is None else value)
