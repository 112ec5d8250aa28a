"""A column that an attack fills: what it left of the top features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.column import Column
from captum_robust.audit.measure.summary import summary
from captum_robust.robust import AttributionAttack


@dataclass(frozen=True)
class AttackSettings:
    """How hard the audit attacks; part of report.json.

    Attributes:
        sizes: radii of the ball, in multiples of the plan's epsilon.
        steps: of each climb.
        restarts: climbs; the first starts at the input.
        attack_samples: draws of a smoothed map in one gradient.
        judge_samples: draws with which an attack chooses among its points.
    """

    sizes: tuple[float, ...] = (1.0, 2.0, 4.0)
    steps: int = 40
    restarts: int = 1
    attack_samples: int = 32
    judge_samples: int = 64

    @property
    def points(self) -> int:
        """Points judged of each example, by the attack and by random search alike."""
        return self.steps * self.restarts

    def epsilons(self, epsilon: float) -> list[float]:
        """The radii, increasing."""
        return sorted({size * epsilon for size in self.sizes})


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attack on one method within one radius.

    Attributes:
        attack: on the top features, in the norm of the method's certificate.
        subject: what is attacked.
        epsilon: the radius.
        settings: how hard.
        seed: of the attacker's draws.
        show_progress: whether to show a progress bar.
    """

    attack: AttributionAttack
    subject: Subject
    epsilon: float
    settings: AttackSettings
    seed: int
    show_progress: bool = False

    def run(self, attack: AttributionAttack, steps: int, restarts: int = 1) -> Tensor:
        """The points that an attack found."""
        return attack.perturb(
            self.subject.inputs,
            radius=self.epsilon,
            step_num=steps,
            restarts=restarts,
            target=self.subject.targets,
            seed=self.seed,
            example_ids=self.subject.example_ids,
            show_progress=self.show_progress,
        )


class AttackColumn(Column):
    """What one way to attack leaves of the top features: a bound on the worst case from above.

    Less than what is certified is a contradiction, and an error of the library.
    """

    higher_is_better = False

    @abstractmethod
    def points(self, attempt: Attempt) -> Tensor:
        """Inputs within the radius, of the clean inputs' shape."""

    @abstractmethod
    def gradients(self, settings: AttackSettings, climbed: int, judged: int) -> int:
        """Gradients of the model that :meth:`points` takes; one with a graph counts twice.

        Args:
            settings: how hard is attacked.
            climbed: gradients of a map through which an attack climbs.
            judged: gradients of a map that judges a point.
        """

    def summary(self, values: Sequence[float | None]) -> dict[str, Any]:
        """Quartiles on the safe side: a better attack may leave less."""
        return summary(values, upper=True)

    def show(self, value: float | None) -> str:
        """In percent, rounded up."""
        return rounding.measured_share(1.0 if value is None else value)
