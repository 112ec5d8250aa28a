"""What attacks and metrics found, in JSON types."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from torch import Tensor

from captum_robust.audit import attacks, metrics
from captum_robust.audit.methods import METHODS
from captum_robust.audit.plan import AuditPlan
from captum_robust.audit.runner import MethodResult
from captum_robust.audit.subject import Subject
from captum_robust.audit.summary import finite, summary
from captum_robust.metrics import bootstrap_interval

CONFIDENCE_LEVEL: Final = 0.95


def about_attacks(plan: AuditPlan) -> dict[str, Any]:
    """How methods were attacked, the same for all."""
    return {
        "norm": attacks.NORM,
        "claim": "redrawn",
        "settings": asdict(attacks.SETTINGS),
        "points": attacks.SETTINGS.points,
        "epsilons": attacks.SETTINGS.epsilons(plan),
    }


def about_metrics() -> dict[str, Any]:
    """What was measured and how, the same for all methods."""
    return {
        "settings": asdict(metrics.SETTINGS),
        "confidence_level": CONFIDENCE_LEVEL,
        "columns": [{"name": name, **asdict(column)} for name, column in metrics.COLUMNS.items()],
    }


def attacked(result: MethodResult, plan: AuditPlan, sizes: list[float]) -> dict[str, Any] | None:
    """One method's overlaps under attack, and what the redrawn claim certifies.

    ``measured`` and ``random`` bound the worst case from above, ``certified`` from below.
    """
    found = result.attacked
    if found is None:
        return None
    return {
        "seconds": found.seconds,
        "redrawn": None if found.redrawn is None else summary(found.redrawn),
        "curve": _curve(found, plan, sizes),
        "outcomes": [
            {
                "epsilon": outcome.epsilon,
                "measured": summary(outcome.measured, upper=True),
                "random": summary(outcome.random, upper=True),
                "certified": None if outcome.certified is None else summary(outcome.certified),
                "contradicted": outcome.contradicted,
            }
            for outcome in found.outcomes
        ],
    }


def measured(result: MethodResult, plan: AuditPlan) -> dict[str, Any] | None:
    """One method's columns: values, their mean and its interval; curves where there are radii."""
    found = result.measured
    if found is None:
        return None
    columns = {name: _column(values, plan.seed) for name, values in found.values.items()}
    for name, curve in found.curves.items():
        columns[name]["by_radius"] = curve.tolist()
    return {"seconds": found.seconds, "columns": columns}


def contradictions(result: MethodResult, subject: Subject) -> list[str]:
    """A sentence for each example of which an attack left less than is certified."""
    outcomes = [] if result.attacked is None else result.attacked.outcomes
    return [
        f"{METHODS[result.name].title}, example {example} ({subject.labels[example]}): "
        f"an attack within epsilon = {outcome.epsilon:g} left "
        f"{100 * _least(outcome, example):.1f} % of the top features, "
        f"although {100 * float(outcome.certified[example]):.1f} % were certified."
        for outcome in outcomes
        if outcome.certified is not None
        for example in outcome.contradicted
    ]


def _least(outcome: attacks.AttackOutcome, example: int) -> float:
    return min(float(outcome.measured[example]), float(outcome.random[example]))


def _curve(
    found: attacks.AttackedMethod, plan: AuditPlan, sizes: list[float]
) -> list[list[float]] | None:
    """Overlaps ``(N, sizes)`` that the redrawn claim certifies."""
    if found.certificate is None:
        return None
    return found.certificate.curve("overlap", sizes, k=plan.k).tolist()


def _column(values: Tensor, seed: int) -> dict[str, Any]:
    """Values ``(N,)``, their mean, and the ends of its interval where there are two values."""
    interval = None
    if len(values) > 1:
        found = bootstrap_interval(values, confidence_level=CONFIDENCE_LEVEL, seed=seed)
        interval = [found.low, found.high]
    return {
        "values": [finite(value) for value in values.tolist()],
        "mean": finite(float(values.mean())),
        "interval": interval,
    }
