"""cdl: how far the map's centre of mass moves."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.under_attack import UnderAttackColumn
from captum_robust.metrics import mass_center_dislocation


class CenterDislocation(UnderAttackColumn):
    """The distance between the centres of mass of the clean and the attacked map."""

    name = "cdl"
    title = "cdl"
    about = "how far the map's centre of mass moves, in pixels"
    higher_is_better = False

    def similarity(self, clean: Tensor, attacked: Tensor, k: int | float) -> Tensor:
        """A distance in pixels."""
        return mass_center_dislocation(clean, attacked)
