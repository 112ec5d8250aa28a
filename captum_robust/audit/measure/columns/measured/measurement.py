"""What measured columns share: the method's maps, clean and under attack, made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.explanation import (
    Purpose,
    explanation,
    seed_for,
    smoothing_keywords,
)
from captum_robust.metrics import Evaluation, attack_robustness
from captum_robust.robust import TopKAttack

PIXELS: Final[Any] = "abs-sum"  # the papers compare magnitudes, channels added up


@dataclass(frozen=True)
class MetricSettings:
    """Radii and sizes of the measures; part of report.json.

    Attributes:
        attack_radii: linf radii of the top-k attack, in 1/255.
        random_radii: half sides of the box of random perturbations, in 1/255.
        insertion_radius: linf radius of the attack before adversarial insertion, in 1/255.
        random_draws: random perturbations of an example.
        map_samples: draws of a smoothed map that is compared; an example's maps share them.
        steps: of each attack.
        eval_every: steps between two judgements of an attack's points.
        attack_samples: draws of a smoothed map in one gradient.
        judge_samples: draws with which an attack chooses among its points.
    """

    attack_radii: tuple[int, ...] = (2, 4, 8, 16)
    random_radii: tuple[int, ...] = (4, 8, 16)
    insertion_radius: int = 4
    random_draws: int = 10
    map_samples: int = 512
    steps: int = 30
    eval_every: int = 3
    attack_samples: int = 32
    judge_samples: int = 64

    @property
    def judged(self) -> int:
        """Points that an attack judges; the last step is always among them."""
        return -(-self.steps // self.eval_every)


@dataclass(frozen=True, eq=False)
class Measurement:
    """One method on one subject, of which columns take what they need.

    Attributes:
        method: the attribution.
        plan, subject: of the audit.
        settings: radii and sizes.
        show_progress: whether to show progress bars.
    """

    method: Attribution
    plan: AuditPlan
    subject: Subject
    settings: MetricSettings
    show_progress: bool = False

    @cached_property
    def explain(self) -> Callable[..., Tensor]:
        """The method as a function of inputs, with the same noise at every call."""
        samples = self.settings.map_samples
        return explanation(self.method, self.plan, self.subject, samples, self.plan.seed)

    @cached_property
    def clean(self) -> Tensor:
        """The maps of the inputs themselves."""
        return self.explain(self.subject.inputs)

    @cached_property
    def under_attack(self) -> Tensor:
        """The maps under the top-k attack, attacked once for all columns, ``(N, R, *)``."""
        attack = TopKAttack(
            self.subject.model,
            self.method,
            *self.subject.bounds,
            k=self.plan.k,
            reduction=PIXELS,
            **self.attack_pieces,
        )
        found: Any = attack_robustness(
            self.explain,
            self.subject.inputs,
            attack,
            radii=[radius / 255 for radius in self.settings.attack_radii],
            attack_kwargs=self.attack_keywords,
            return_perturbed=True,
            seed=self.attack_seed,
            show_progress=self.show_progress,
            target=self.subject.targets,
        )
        return found.perturbed_maps

    def along_radii(self, similarity: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """A similarity of the clean maps to those under attack, for each radius, ``(N, R)``."""
        values = [similarity(self.clean, after) for after in self.under_attack.unbind(1)]
        return torch.stack(values, dim=1)

    @property
    def attack_seed(self) -> int:
        """Of the attacker's draws."""
        return seed_for(self.plan.seed, Purpose.METRIC_ATTACK)

    @property
    def attack_pieces(self) -> dict[str, Any]:
        """Keywords of an attack: how it climbs on smoothed maps, and by what it judges."""
        smoothed = isinstance(self.method, SmoothedAttribution)
        judging = smoothing_keywords(self.method, self.plan, self.settings.judge_samples)
        return {
            "attack_samples": self.settings.attack_samples if smoothed else None,
            "attribute_kwargs": judging,
        }

    @property
    def attack_keywords(self) -> dict[str, Any]:
        """Keywords of ``perturb``."""
        return {
            "step_num": self.settings.steps,
            "eval_every": self.settings.eval_every,
            "example_ids": self.subject.example_ids,
        }


def values_of(found: Tensor | Evaluation) -> Tensor:
    """The values of an evaluator, whatever else it says."""
    return found.values if isinstance(found, Evaluation) else found
