"""k-in: the mass that stays on the features that were the top."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measurement import PIXELS
from captum_robust.audit.measure.columns.measured.under_attack import UnderAttackColumn
from captum_robust.metrics import topk_mass


class TopMass(UnderAttackColumn):
    """The mass of the attacked map on the clean map's top features."""

    name = "k-in"
    title = "k-in"
    about = "mass that the attacked map keeps on the features that were the top k"

    def similarity(self, clean: Tensor, attacked: Tensor, k: int | float) -> Tensor:
        """A share in [0, 1]."""
        return topk_mass(clean, attacked, k=k, channels=PIXELS)
