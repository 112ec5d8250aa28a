"""Ins: how soon the class is recognised while the map's features are put in."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn
from captum_robust.audit.measure.columns.measured.measurement import (
    PIXELS,
    Measurement,
    values_of,
)
from captum_robust.metrics import insertion


class Insertion(MeasuredColumn):
    """The mean probability of the class while features are put in, the map's largest first."""

    name = "insertion"
    title = "Ins"
    about = "mean probability of the class while the map's features are put in"
    source = "Joo et al. (2023), Table 1"

    def value(self, measurement: Measurement) -> Tensor:
        """A mean probability in [0, 1]."""
        subject = measurement.subject
        found = insertion(
            measurement.explain,
            subject.inputs,
            forward_func=subject.model,
            channels=PIXELS,
            target=subject.targets,
        )
        return values_of(found)
