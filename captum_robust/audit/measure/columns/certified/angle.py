"""By how much the map may turn."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.certificates import Certificate


class Angle(CertifiedColumn):
    """The certified angle between two maps."""

    name = "angle"
    title = "angle"
    about = "the largest angle between the map and that of any perturbed input"
    higher_is_better = False

    def value(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """Degrees in [0, 180]."""
        return certificate.angle(plan.epsilon)

    def show(self, value: float | None) -> str:
        """In degrees, rounded up; 90 or more certify nothing of maps without negative values."""
        return rounding.angle(180.0 if value is None else value)
