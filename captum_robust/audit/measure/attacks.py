"""``--attacks``: what an attacker reaches, beside what the certificate says nobody can."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.explanation import apart, explanation, gradients_of_a_map, level
from captum_robust.certificates import Certificate
from captum_robust.metrics import topk_intersection
from captum_robust.robust import AttributionAttack, RandomAttack, TopKAttack

# The attacker's draws and those that judge the result are apart from the certificate's.
_ATTACKER: Final = 1_000_000_007
_FRESH: Final = 2_000_000_011

NORM: Final = "l2 norm"


@dataclass(frozen=True)
class AttackSettings:
    """How hard the audit attacks; part of report.json.

    Attributes:
        sizes: radii of the l2 ball, in multiples of the plan's epsilon.
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

    def epsilons(self, plan: AuditPlan) -> list[float]:
        """The radii of a plan, increasing."""
        return sorted({size * plan.epsilon for size in self.sizes})


SETTINGS: Final = AttackSettings()


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """What attacks within one radius left of the top k, as shares ``(N,)``.

    Attributes:
        epsilon: radius of the l2 ball.
        measured: under the gradient attack.
        random: under random search.
        certified: by the redrawn claim; None without a certificate.
    """

    epsilon: float
    measured: Tensor
    random: Tensor
    certified: Tensor | None

    @property
    def contradicted(self) -> list[int]:
        """Examples of which an attack left less than is certified."""
        if self.certified is None:
            return []
        worst = torch.minimum(self.measured, self.random)
        return (worst < self.certified - 1e-9).nonzero().flatten().tolist()


@dataclass(frozen=True, eq=False)
class AttackedMethod:
    """All attacks on one method.

    Attributes:
        outcomes: one a radius, increasing.
        certificate: of the redrawn claim; None where the method is not smoothed.
        redrawn: overlap of the map with one of fresh draws at the same input, ``(N,)``; what
            sampling alone does.
        seconds: wall time.
    """

    outcomes: list[AttackOutcome]
    certificate: Certificate | None
    redrawn: Tensor | None
    seconds: float


def redrawn(certificate: Certificate) -> Certificate:
    """The same samples, compared with a map of as many fresh ones at the perturbed input.

    Only this claim may be held against a measured attack. It is pointwise: about each input chosen
    without the fresh samples, as an attacker's points are here. The claim says which maps are
    compared and has no part in the sampling, so nothing has to be drawn again.
    """
    return replace(certificate, terms=replace(certificate.terms, claim="redrawn"))


def attackable(certificate: Certificate | None) -> bool:
    """Whether l2 attacks say something of the method: its certificate, if any, is in that norm."""
    return certificate is None or certificate.shift.norm == NORM


def attack_method(
    name: str,
    plan: AuditPlan,
    subject: Subject,
    certificate: Certificate | None,
    show_progress: bool = False,
) -> AttackedMethod:
    """Attacks one method's maps within each radius and judges the points by fresh draws.

    Args:
        name: of the method.
        plan, subject: of the audit.
        certificate: the method's, of any claim; None where it is not smoothed.
        show_progress: whether to show progress bars.
    """
    start = time.perf_counter()
    attack = l2_attack(name, plan, subject)
    seed = apart(plan.seed, _FRESH)
    fresh = explanation(attack.attribution_method, plan, subject, plan.nt_samples, seed)
    claimed = None if certificate is None else redrawn(certificate)
    clean = (fresh(subject.inputs) if claimed is None else _map(claimed)).cpu()

    def left_at(points: Tensor) -> Tensor:
        return topk_intersection(clean, fresh(points).cpu(), k=plan.k)

    def left(attacker: AttributionAttack, epsilon: float) -> Tensor:
        return left_at(_points(attacker, epsilon, plan, subject, show_progress))

    outcomes = [
        AttackOutcome(
            epsilon,
            measured=left(attack, epsilon),
            random=left(RandomAttack.against(attack), epsilon),
            certified=None if claimed is None else claimed.overlap(epsilon, plan.k).cpu(),
        )
        for epsilon in SETTINGS.epsilons(plan)
    ]
    unmoved = None if claimed is None else left_at(subject.inputs)
    return AttackedMethod(outcomes, claimed, unmoved, time.perf_counter() - start)


def l2_attack(name: str, plan: AuditPlan, subject: Subject) -> AttributionAttack:
    """The l2 form of the top-k attack (Ghorbani et al., 2019; Wang and Kong, 2024).

    It climbs through draws of a smoothed map, and on smooth marks where sparsified maps have
    no gradient; the points it returns keep the prediction of the model.
    """
    method = METHODS[name].build(subject.model, plan)
    smoothed = isinstance(method, SmoothedAttribution)
    return TopKAttack(
        subject.model,
        method,
        *subject.bounds,
        k=plan.k,
        norm="L2",
        attack_samples=SETTINGS.attack_samples if smoothed else None,
        attribute_kwargs=level(method, plan, SETTINGS.judge_samples),
    )


def attack_cost(plan: AuditPlan, subject: Subject) -> int:
    """Gradients that ``--attacks`` takes; one with a graph counts twice."""
    each = 0
    for name in plan.methods:
        method = METHODS[name].build(subject.model, plan)
        climbed, judged, reported = (
            gradients_of_a_map(method, samples)
            for samples in (SETTINGS.attack_samples, SETTINGS.judge_samples, plan.nt_samples)
        )
        each += len(SETTINGS.epsilons(plan)) * (
            SETTINGS.points * 2 * (climbed + judged) + 2 * reported
        )
        each += reported
    return each * len(subject.inputs)


def _points(
    attacker: AttributionAttack,
    epsilon: float,
    plan: AuditPlan,
    subject: Subject,
    show_progress: bool,
) -> Tensor:
    """The best points of an attack that may judge as many points as any other."""
    random = isinstance(attacker, RandomAttack)
    return attacker.perturb(
        subject.inputs,
        radius=epsilon,
        step_num=SETTINGS.points if random else SETTINGS.steps,
        restarts=1 if random else SETTINGS.restarts,
        target=subject.targets,
        seed=apart(plan.seed, _ATTACKER),
        example_ids=subject.example_ids,
        show_progress=show_progress,
    )


def _map(certificate: Certificate) -> Tensor:
    """The certified map, which is a single one here."""
    maps = certificate.attributions
    return maps[0] if isinstance(maps, tuple) else maps
