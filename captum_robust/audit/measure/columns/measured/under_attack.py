"""Columns of Wang et al. (2020): a similarity under the top-k attack, over its radii."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn, Work
from captum_robust.audit.measure.columns.measured.measurement import Measurement
from captum_robust.metrics import area_under_log_radius


class UnderAttackColumn(MeasuredColumn):
    """The area under a similarity of two maps, over the binary logarithm of the attack's radius.

    Appendix C1 of the paper has the similarities.
    """

    source = "Wang et al. (2020), Table 1"

    @abstractmethod
    def similarity(self, clean: Tensor, attacked: Tensor, k: int | float) -> Tensor:
        """The similarity of two maps ``(N, *)``, ``(N,)``."""

    def curve(self, measurement: Measurement) -> Tensor:
        """The similarity for each radius, ``(N, R)``."""
        k = measurement.plan.k
        return measurement.along_radii(lambda one, other: self.similarity(one, other, k))

    def value(self, measurement: Measurement) -> Tensor:
        """The area, ``(N,)``."""
        return area_under_log_radius(self.curve(measurement), measurement.settings.attack_radii)

    def work(self, measurement: Measurement) -> Work:
        """An attack for each radius and the maps there, shared by all columns of this kind."""
        radii = len(measurement.settings.attack_radii)
        return Work("under attack", attacks=radii, maps=radii + 1)
