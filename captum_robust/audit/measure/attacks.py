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
from captum_robust.audit.measure.columns.attacked.attacked import AttackSettings, Attempt
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.measure.explanation import (
    Purpose,
    explanation,
    gradients_of_a_map,
    seed_for,
    smoothing_keywords,
)
from captum_robust.certificates import Certificate
from captum_robust.metrics import topk_intersection
from captum_robust.robust import AttributionAttack, TopKAttack

# The ball of an attack for the norm that a certificate is about, of plain input units.
NORMS: Final = {"l2 norm": "L2", "l1 norm": "L1"}
UNSMOOTHED_NORM: Final = "l2 norm"

SETTINGS: Final = AttackSettings()


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """What attacks within one radius left of the top k, as shares ``(N,)``.

    Attributes:
        epsilon: radius of the ball.
        left: by each column's attack, by its name.
        certified: by the redrawn claim; None without a certificate.
    """

    epsilon: float
    left: dict[str, Tensor]
    certified: Tensor | None

    @property
    def contradicted(self) -> list[int]:
        """Examples of which an attack left less than is certified."""
        if self.certified is None:
            return []
        worst = torch.stack(list(self.left.values())).amin(0)
        return (worst < self.certified - 1e-9).nonzero().flatten().tolist()


@dataclass(frozen=True, eq=False)
class AttackedMethod:
    """All attacks on one method.

    Attributes:
        norm: of the perturbations.
        outcomes: one a radius, increasing.
        certificate: of the redrawn claim; None where the method is not smoothed.
        redrawn: overlap of the map with one of fresh draws at the same input, ``(N,)``; what
            sampling alone does.
        seconds: wall time.
    """

    norm: str
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


def norm_of(certificate: Certificate | None) -> str:
    """The norm in which a method is attacked: that of its certificate, which its noise law has."""
    return UNSMOOTHED_NORM if certificate is None else certificate.shift.norm


def attackable(certificate: Certificate | None) -> bool:
    """Whether there is a ball in the norm of a method's certificate."""
    return norm_of(certificate) in NORMS


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
    norm = norm_of(certificate)
    attack = top_attack(name, plan, subject, norm)
    fresh_seed = seed_for(plan.seed, Purpose.FRESH)
    fresh = explanation(attack.attribution_method, plan, subject, plan.nt_samples, fresh_seed)
    claimed = None if certificate is None else redrawn(certificate)
    clean = (fresh(subject.inputs) if claimed is None else _map(claimed)).cpu()

    def left_at(points: Tensor) -> Tensor:
        return topk_intersection(clean, fresh(points).cpu(), k=plan.k)

    def outcome(epsilon: float) -> AttackOutcome:
        seed = seed_for(plan.seed, Purpose.ATTACK)
        attempt = Attempt(attack, subject, epsilon, SETTINGS, seed, show_progress)
        columns = columns_of(plan.columns).attacked
        left = {column.name: left_at(column.points(attempt)) for column in columns}
        certified = None if claimed is None else claimed.overlap(epsilon, plan.k).cpu()
        return AttackOutcome(epsilon, left, certified)

    outcomes = [outcome(epsilon) for epsilon in SETTINGS.epsilons(plan.epsilon)]
    unmoved = None if claimed is None else left_at(subject.inputs)
    return AttackedMethod(norm, outcomes, claimed, unmoved, time.perf_counter() - start)


def top_attack(
    name: str, plan: AuditPlan, subject: Subject, norm: str = UNSMOOTHED_NORM
) -> AttributionAttack:
    """The top-k attack in a norm (Ghorbani et al., 2019; Wang and Kong, 2024, in l2).

    It climbs through draws of a smoothed map, and on smooth marks where sparsified maps have
    no gradient; the points it returns keep the prediction of the model.
    """
    method = METHODS[name].build(subject.model, plan.keep)
    smoothed = isinstance(method, SmoothedAttribution)
    return TopKAttack(
        subject.model,
        method,
        *subject.bounds,
        k=plan.k,
        norm=NORMS[norm],
        attack_samples=SETTINGS.attack_samples if smoothed else None,
        attribute_kwargs=smoothing_keywords(method, plan, SETTINGS.judge_samples),
    )


def attack_cost(plan: AuditPlan, subject: Subject) -> int:
    """Gradients that ``--attacks`` takes; one with a graph counts twice."""
    return len(subject.inputs) * sum(_cost(name, plan, subject) for name in plan.methods)


def _cost(name: str, plan: AuditPlan, subject: Subject) -> int:
    """Gradients of one method on one example."""
    method = METHODS[name].build(subject.model, plan.keep)
    climbed, judged, reported = (
        gradients_of_a_map(method, samples)
        for samples in (SETTINGS.attack_samples, SETTINGS.judge_samples, plan.nt_samples)
    )
    columns = columns_of(plan.columns).attacked
    within = sum(column.gradients(SETTINGS, climbed, judged) + reported for column in columns)
    return len(SETTINGS.epsilons(plan.epsilon)) * within + reported


def _map(certificate: Certificate) -> Tensor:
    """The certified map, which is a single one here."""
    maps = certificate.attributions
    return maps[0] if isinstance(maps, tuple) else maps
