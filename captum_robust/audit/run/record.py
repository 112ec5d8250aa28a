"""One finished result in JSON types: all that the report says of a method on an example."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.images import Picture, side_of_pictures
from captum_robust.audit.load.source import Source
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.attacks import AttackedMethod, AttackOutcome
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.measure.metrics import MeasuredMethod
from captum_robust.audit.measure.runner import MethodResult
from captum_robust.audit.measure.summary import finite

_FINE, _COARSE = 101, 21
_MANY: Final = 10_000  # features from which a curve's points take seconds
_CURVE_STDEVS: Final = 2.0  # curves reach this many standard deviations of the noise


def epsilons(plan: AuditPlan, features: int = 1) -> list[float]:
    """Perturbation sizes of the curves, from 0 to beyond both the noise and the plan's epsilon."""
    last = max(_CURVE_STDEVS * plan.noise, 1.5 * plan.epsilon)
    return np.linspace(0.0, last, _FINE if features < _MANY else _COARSE).tolist()


def result_record(
    result: MethodResult, plan: AuditPlan, subject: Subject, rows: int
) -> dict[str, Any]:
    """What one method gave of the one example of a subject; an infinite radius is None.

    Args:
        result: of the method.
        plan: of the audit.
        subject: the example.
        rows: of a pass, which moves the last digits.
    """
    certificate, sizes = result.certificate, epsilons(plan, subject.features)
    side = side_of_pictures(len(plan.methods))
    record: dict[str, Any] = {
        "status": "done",
        "seconds": result.seconds,
        "rows": rows,
        "picture": Picture.of_map(result.maps[0], side).to_json(),
        "certificate": None,
        "attacks": _attacked(result.attacked, plan, sizes),
        "metrics": _measured(result.measured),
    }
    if certificate is None:
        return record
    return record | {
        "kind": certificate.kind,
        "noise": certificate.noise,
        "norm": certificate.shift.norm,
        "certificate": certificate.to_dict(),
        "answers": {
            column.name: column.record(certificate, plan, sizes)
            for column in columns_of(plan.columns).certified
        },
        # Its number in the certificate says nothing to a reader of the report.
        "statement": _without_number(certificate.statement(plan.epsilon, plan.k, 0)),
    }


def skipped_record(reason: str, retry: bool) -> dict[str, Any]:
    """Why something was left out, and whether the same command shall try again."""
    return {"status": "skipped", "reason": reason, "retry": retry}


def example_record(source: Source, position: int, subject: Subject) -> dict[str, Any]:
    """What the report says of an example itself."""
    side = side_of_pictures(len(source.plan.methods))
    return {
        "status": "done",
        "name": source.name(position),
        "label": subject.labels[0],
        "target": int(subject.targets[0]),
        "prediction": source.prediction(subject),
        "picture": Picture.of_input(subject.inputs[0], subject.bounds, side).to_json(),
    }


def save_arrays(result: MethodResult, path: Path) -> None:
    """Writes the certificate, or the map of a method without one, as an ``.npz`` file."""
    if result.certificate is not None:
        result.certificate.save(path)
        return
    with path.open("wb") as file:
        np.savez_compressed(file, map=result.maps[0].numpy())


def _attacked(
    found: AttackedMethod | None, plan: AuditPlan, sizes: list[float]
) -> dict[str, Any] | None:
    """Overlaps under attack, and what the redrawn claim certifies."""
    if found is None:
        return None
    curve = None
    if found.certificate is not None:
        curve = found.certificate.curve("overlap", sizes, k=plan.k)[0].tolist()
    return {
        "seconds": found.seconds,
        "norm": found.norm,
        "redrawn": None if found.redrawn is None else _one(found.redrawn),
        "curve": curve,
        "outcomes": [_outcome(outcome) for outcome in found.outcomes],
    }


def _outcome(outcome: AttackOutcome) -> dict[str, Any]:
    return {
        "epsilon": outcome.epsilon,
        **{name: _one(left) for name, left in outcome.left.items()},
        "certified": None if outcome.certified is None else _one(outcome.certified),
        "contradicted": bool(outcome.contradicted),
    }


def _measured(found: MeasuredMethod | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "seconds": found.seconds,
        "values": {name: _one(values) for name, values in found.values.items()},
        "curves": {name: curve[0].tolist() for name, curve in found.curves.items()},
    }


def _one(values: Tensor) -> float | None:
    """The value of the one example, None where it is infinite."""
    return finite(float(values[0]))


def _without_number(statement: str) -> str:
    """A statement about the only example of a certificate, which has another number here."""
    return (
        statement.replace("  example 0, ", "  ")
        .replace("  example 0: ", "  ")
        .replace("In example 0 the", "The")
    )
