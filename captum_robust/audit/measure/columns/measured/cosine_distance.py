"""cosd: the cosine distance."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measurement import PIXELS
from captum_robust.audit.measure.columns.measured.under_attack import UnderAttackColumn
from captum_robust.metrics import cosine_distance


class CosineDistance(UnderAttackColumn):
    """The cosine distance of the clean and the attacked map."""

    name = "cosd"
    title = "cosd"
    about = "cosine distance of the two maps"
    higher_is_better = False

    def similarity(self, clean: Tensor, attacked: Tensor, k: int | float) -> Tensor:
        """A distance in [0, 2]."""
        return cosine_distance(clean, attacked, channels=PIXELS)
