"""What random search leaves."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.attacked.attacked import (
    AttackColumn,
    AttackSettings,
    Attempt,
)
from captum_robust.robust import RandomAttack


class RandomSearch(AttackColumn):
    """Judges as many random points as the attack along the gradient does."""

    name = "random"
    title = "random search left"
    about = "the share of the top {k} features that as many random points leave there"

    def points(self, attempt: Attempt) -> Tensor:
        """The best of all points."""
        return attempt.run(RandomAttack.against(attempt.attack), attempt.settings.points)

    def gradients(self, settings: AttackSettings, climbed: int, judged: int) -> int:
        """Every point is judged."""
        return settings.points * judged
