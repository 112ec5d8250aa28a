"""``--metrics``: every measured column of one method."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.columns.measured.measured import Work
from captum_robust.audit.measure.columns.measured.measurement import Measurement, MetricSettings
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.measure.explanation import gradients_of_a_map

SETTINGS: Final = MetricSettings()


@dataclass(frozen=True, eq=False)
class MeasuredMethod:
    """All measures of one method.

    Attributes:
        values: of each column, ``(N,)`` float64.
        curves: of each column under attack, a value for each radius, ``(N, R)``.
        seconds: wall time.
    """

    values: dict[str, Tensor]
    curves: dict[str, Tensor]
    seconds: float


def measure_method(
    name: str, plan: AuditPlan, subject: Subject, show_progress: bool = False
) -> MeasuredMethod:
    """Every column of one method; at the same noise and samples for every method."""
    start = time.perf_counter()
    measurement = _measurement(name, plan, subject, show_progress)
    values, curves = {}, {}
    for column in columns_of(plan.columns).measured:
        values[column.name] = column.value(measurement).cpu()
        curve = column.curve(measurement)
        if curve is not None:
            curves[column.name] = curve.cpu()
    return MeasuredMethod(values, curves, time.perf_counter() - start)


def metric_cost(plan: AuditPlan, subject: Subject) -> int:
    """Gradients that ``--metrics`` takes; one with a graph counts twice."""
    return len(subject.inputs) * sum(_cost(name, plan, subject) for name in plan.methods)


def _cost(name: str, plan: AuditPlan, subject: Subject) -> int:
    """Gradients of one method on one example."""
    measurement = _measurement(name, plan, subject)
    climbed, judged, compared = (
        gradients_of_a_map(measurement.method, samples)
        for samples in (SETTINGS.attack_samples, SETTINGS.judge_samples, SETTINGS.map_samples)
    )
    an_attack = SETTINGS.steps * 2 * climbed + SETTINGS.judged * judged
    works: dict[str, Work] = {}
    for column in columns_of(plan.columns).measured:
        work = column.work(measurement)
        works[work.shared_as or f"of {column.name}"] = work
    return sum(work.attacks * an_attack + work.maps * compared for work in works.values())


def _measurement(
    name: str, plan: AuditPlan, subject: Subject, show_progress: bool = False
) -> Measurement:
    method = METHODS[name].build(subject.model, plan.keep)
    return Measurement(method, plan, subject, SETTINGS, show_progress)
