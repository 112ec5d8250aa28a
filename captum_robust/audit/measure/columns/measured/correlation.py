"""cor: the rank correlation."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measurement import PIXELS
from captum_robust.audit.measure.columns.measured.under_attack import UnderAttackColumn
from captum_robust.metrics import spearman_rho


class Correlation(UnderAttackColumn):
    """Spearman's rank correlation of the clean and the attacked map."""

    name = "cor"
    title = "cor"
    about = "Spearman's rank correlation of the two maps"

    def similarity(self, clean: Tensor, attacked: Tensor, k: int | float) -> Tensor:
        """A correlation in [-1, 1]."""
        return spearman_rho(clean, attacked, channels=PIXELS)
