"""A column that a certificate answers: at the audit's epsilon, along a curve, and its radius."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.column import Column, filled
from captum_robust.audit.measure.summary import finite, summary
from captum_robust.certificates import Certificate


class CertifiedColumn(Column):
    """One question to a certificate; a bound from below where higher is better, else from above.

    Values of several examples are summarised by quartiles on the safe side.

    Attributes:
        axis: what the curve over epsilon shows; no curve is drawn where it is empty.
        caption: of that figure.
        steps: whether the curve falls in steps.
        threshold: the value whose certified radius is reported; none where ``None``.
        radius_title: the head of the radius's column.

    Example:
        >>> from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
        >>> class RightAngle(CertifiedColumn):
        ...     name, title = "acute", "acute angle"
        ...     about = "whether no perturbation turns the map by 90 degrees or more"
        ...
        ...     def value(self, certificate, plan):
        ...         return (certificate.angle(plan.epsilon) < 90).double()
        ...
        ...     def show(self, value):
        ...         return "yes" if value else "no"
        >>> RightAngle().show(1.0)
        'yes'
    """

    axis: str = ""
    caption: str = ""
    steps: bool = False
    threshold: float | None = None
    radius_title: str = ""

    @abstractmethod
    def value(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """What is certified of each example at the plan's epsilon, ``(N,)``."""

    def curve(self, certificate: Certificate, plan: AuditPlan, epsilons: Sequence[float]) -> Tensor:
        """What is certified at each epsilon, ``(N, E)``."""
        values = [self.value(certificate, replace(plan, epsilon=size)) for size in epsilons]
        return torch.stack(values, dim=1)

    def radius(self, certificate: Certificate, plan: AuditPlan) -> Tensor:
        """The largest epsilon at which the threshold is certified, ``(N,)``."""
        raise NotImplementedError(f"{type(self).__name__} has a threshold and no radius.")

    def show_radius(self, value: float | None) -> str:
        """A radius as a reader sees it."""
        return rounding.radius(value)

    def record(
        self, certificate: Certificate, plan: AuditPlan, epsilons: Sequence[float]
    ) -> dict[str, Any]:
        """Everything of the one example of a certificate, in JSON types."""
        found: dict[str, Any] = {"value": finite(float(self.value(certificate, plan)[0]))}
        if self.axis:
            found["curve"] = self.curve(certificate, plan, epsilons)[0].tolist()
        if self.threshold is not None:
            found["radius"] = finite(float(self.radius(certificate, plan)[0]))
        return found

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The records of several examples together, in JSON types."""
        upper = not self.higher_is_better
        found = summary([record["value"] for record in records], upper)
        if self.axis:
            found["curve"] = [record["curve"] for record in records]
        if self.threshold is not None:
            radii = summary([record["radius"] for record in records])
            found |= {"threshold": self.threshold, "radius": radii}
        return found

    def describe(self, words: Mapping[str, str]) -> dict[str, Any]:
        """The column itself in JSON types."""
        return super().describe(words) | {
            "axis": filled(self.axis, words),
            "caption": filled(self.caption, words),
            "steps": self.steps,
            "threshold": self.threshold,
            "radius_title": filled(self.radius_title, words),
        }
