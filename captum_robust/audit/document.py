"""Every number of an audit in one dictionary: report.json, and what the page and table show."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from typing import Any, Final

import numpy as np

from captum_robust._checks import feature_count
from captum_robust._version import __version__
from captum_robust.audit.findings import (
    about_attacks,
    about_metrics,
    attacked,
    contradictions,
    measured,
)
from captum_robust.audit.methods import METHODS
from captum_robust.audit.plan import AuditPlan, flag
from captum_robust.audit.runner import MethodResult
from captum_robust.audit.subject import Subject
from captum_robust.audit.summary import summary
from captum_robust.certificates import Certificate

# 1: certificates. 2: adds `attacks`, `metrics` and `errors`, and the first two of each method too;
# null where they were not asked for. What version 1 holds has not changed.
SCHEMA_VERSION: Final = 2
UNSMOOTHED: Final = "no certificate: unsmoothed"
OVERLAP_THRESHOLD: Final = 0.5
COSINE_THRESHOLD: Final = 0.9

_CURVE_POINTS: Final = 101
_CURVE_STDEVS: Final = 2.0  # curves reach this many standard deviations of the noise
_PACKAGES: Final = ("captum", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")


def audit_document(
    plan: AuditPlan, subject: Subject, results: Sequence[MethodResult]
) -> dict[str, Any]:
    """All numbers of an audit in JSON types; an infinite radius is ``None``.

    ``errors`` holds a sentence for every certificate that an attack contradicts.
    """
    sizes = epsilons(plan)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(plan),
        "versions": versions(),
        "settings": plan.settings(),
        "subject": {
            "title": subject.title,
            "unit": subject.unit,
            "features": subject.features,
            "facts": subject.facts,
        },
        "k_count": feature_count("k", plan.k, subject.features),
        "keep_count": feature_count("keep", plan.keep, subject.features),
        "examples": [
            {"index": index, "id": row, "target": target, "label": label}
            for index, (row, target, label) in enumerate(
                zip(subject.example_ids, subject.targets.tolist(), subject.labels, strict=True)
            )
        ],
        "epsilons": sizes,
        "attacks": about_attacks(plan) if plan.attacks else None,
        "metrics": about_metrics() if plan.metrics else None,
        "errors": [error for result in results for error in contradictions(result, subject)],
        "methods": [_method(result, plan, sizes) for result in results],
    }


def epsilons(plan: AuditPlan) -> list[float]:
    """Perturbation sizes of the curves, from 0 to beyond both the noise and the plan's epsilon."""
    last = max(_CURVE_STDEVS * plan.noise, 1.5 * plan.epsilon)
    return np.linspace(0.0, last, _CURVE_POINTS).tolist()


def command(plan: AuditPlan) -> str:
    """The command that repeats the audit, quoted for a POSIX shell."""
    options = [part for name, text in plan.as_text().items() for part in (flag(name), text)]
    options += [flag(name) for name in plan.switched_on()]
    return shlex.join(["python", "-m", "captum_robust", "audit", *options])


def versions() -> dict[str, str]:
    """Versions of everything the numbers depend on."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {
        "captum-robust": __version__,
        **packages,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
    }


def _method(result: MethodResult, plan: AuditPlan, sizes: list[float]) -> dict[str, Any]:
    certificate = result.certificate
    method = METHODS[result.name]
    about = {
        "name": result.name,
        "title": method.title,
        "about": method.about,
        "seconds": result.seconds,
        "attacks": attacked(result, plan, sizes),
        "metrics": measured(result, plan),
    }
    if certificate is None:
        return about | {"status": UNSMOOTHED, "certificate": None, "answers": None}
    return about | {
        "status": certificate.kind,
        "noise": certificate.noise,
        "norm": certificate.shift.norm,
        "certificate": certificate.to_dict(),
        "answers": answers(certificate, plan, sizes),
        "statement": certificate.statement(plan.epsilon, plan.k),
        "statements": [
            certificate.statement(plan.epsilon, plan.k, example)
            for example in range(len(result.maps))
        ],
    }


def answers(certificate: Certificate, plan: AuditPlan, sizes: list[float]) -> dict[str, Any]:
    """What a certificate says at the plan's epsilon, along the curve, and its radii."""
    overlap, cosine = OVERLAP_THRESHOLD, COSINE_THRESHOLD
    return {
        "overlap": {
            **summary(certificate.overlap(plan.epsilon, plan.k)),
            "curve": certificate.curve("overlap", sizes, k=plan.k).tolist(),
            "threshold": overlap,
            "radius": summary(certificate.certified_radius(overlap=overlap, k=plan.k)),
        },
        "cosine": {
            **summary(certificate.cosine(plan.epsilon)),
            "curve": certificate.curve("cosine", sizes).tolist(),
            "threshold": cosine,
            "radius": summary(certificate.certified_radius(cosine=cosine)),
        },
        "angle": summary(certificate.angle(plan.epsilon), upper=True),
    }
