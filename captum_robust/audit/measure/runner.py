"""Runs each method over the subject: maps, certificate, and on request attacks and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.attacks import (
    AttackedMethod,
    attack_cost,
    attack_method,
    attackable,
)
from captum_robust.audit.measure.explanation import explanation, smoothing_keywords
from captum_robust.audit.measure.memory import halving
from captum_robust.audit.measure.metrics import MeasuredMethod, measure_method, metric_cost
from captum_robust.certificates import Certificate


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method gave.

    Attributes:
        name: of the method on the command line.
        maps: magnitudes for the figures, ``(N, H, W)`` float64 on the CPU, channels added.
        certificate: None where the method is not smoothed.
        seconds: wall time of these.
        attacked: None unless attacks were asked for and fit the certificate's norm.
        measured: None unless metrics were asked for.
    """

    name: str
    maps: Tensor
    certificate: Certificate | None
    seconds: float
    attacked: AttackedMethod | None = None
    measured: MeasuredMethod | None = None


def cost(plan: AuditPlan, subject: Subject) -> int:
    """Gradients that the smoothed methods of the plan will take."""
    smoothed = [
        name
        for name in plan.methods
        if isinstance(METHODS[name].build(subject.model, plan.keep), SmoothedAttribution)
    ]
    return len(smoothed) * plan.nt_samples * len(subject.inputs)


def whole_cost(plan: AuditPlan, subject: Subject) -> dict[str, int]:
    """Gradients of all that the plan asks for, by what they are for."""
    steps = {"Certifying": cost(plan, subject)}
    if plan.attacks:
        steps["Attacking"] = attack_cost(plan, subject)
    if plan.metrics:
        steps["Measuring"] = metric_cost(plan, subject)
    return steps


def run_method(
    name: str, plan: AuditPlan, subject: Subject, show_progress: bool = False
) -> MethodResult:
    """All of one method that the plan asks for; the same seed gives every method the same noise."""
    maps, certificate, seconds = _explained(name, plan, subject, show_progress)
    attacked = measured = None
    if plan.attacks and attackable(certificate):
        attacked = attack_method(name, plan, subject, certificate, show_progress)
    if plan.metrics:
        measured = measure_method(name, plan, subject, show_progress)
    return MethodResult(name, maps, certificate, seconds, attacked, measured)


def run_example(
    name: str, plan: AuditPlan, subject: Subject, predicted: bool, rows: int
) -> tuple[MethodResult, int]:
    """One method on one example, in passes that halve themselves; also the rows of a pass.

    Args:
        name: of the method.
        plan: of the audit.
        subject: of the one example.
        predicted: whether the model predicts the class explained: attacks keep the prediction.
        rows: of a pass, to begin with.

    Raises:
        Skipped: if memory does not suffice for a single row.
    """
    if not predicted:
        plan = replace(plan, attacks=False, metrics=False)
    return halving(lambda size: run_method(name, replace(plan, batch_size=size), subject), rows)


def _explained(
    name: str, plan: AuditPlan, subject: Subject, show_progress: bool
) -> tuple[Tensor, Certificate | None, float]:
    """Maps, certificate and seconds."""
    attribution = METHODS[name].build(subject.model, plan.keep)
    start = time.perf_counter()
    certificate = None
    maps: Any
    if isinstance(attribution, SmoothedAttribution):
        certificate = attribution.certify(
            subject.inputs,
            target=subject.targets,
            alpha=plan.alpha,
            seed=plan.seed,
            example_ids=subject.example_ids,
            show_progress=show_progress,
            **smoothing_keywords(attribution, plan, plan.nt_samples),
        )
        maps = certificate.attributions
    else:
        maps = explanation(attribution, plan, subject, plan.nt_samples, plan.seed)(subject.inputs)
        if not torch.isfinite(maps).all():
            raise RuntimeError("attributions must be finite; check the model at this input.")
    magnitudes = maps.detach().cpu().double().abs().sum(1)
    return magnitudes, certificate, time.perf_counter() - start
