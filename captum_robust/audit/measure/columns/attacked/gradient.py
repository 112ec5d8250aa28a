"""What an attack along the gradient leaves."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.attacked.attacked import (
    AttackColumn,
    AttackSettings,
    Attempt,
)


class GradientSearch(AttackColumn):
    """Climbs along the gradient of the attack's objective."""

    name = "measured"
    title = "attack left"
    about = "the share of the top {k} features that an attack along the gradient leaves there"
    source = "Ghorbani et al. (2019); Wang and Kong (2024)"

    def points(self, attempt: Attempt) -> Tensor:
        """The best points of all climbs."""
        settings = attempt.settings
        return attempt.run(attempt.attack, settings.steps, settings.restarts)

    def gradients(self, settings: AttackSettings, climbed: int, judged: int) -> int:
        """Every point is climbed to, with a graph, and judged."""
        return settings.points * (2 * climbed + judged)
