"""The attributions an audit can compare, by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from captum.attr import Attribution, InputXGradient, IntegratedGradients, Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    QuadraticSmoothGrad,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SparsifiedSmoothGrad,
    UniformSmoothing,
    UnitNorm,
)

if TYPE_CHECKING:
    from captum_robust.audit.ask.plan import AuditPlan


@dataclass(frozen=True)
class Method:
    """One attribution of the report.

    Attributes:
        title: its name in the report.
        about: one sentence on what its map holds.
        build: makes it for a model.
    """

    title: str
    about: str
    build: Callable[[nn.Module, AuditPlan], Attribution]


METHODS: Final[dict[str, Method]] = {
    "saliency": Method(
        "Saliency",
        "The absolute gradient of the class score at the input itself.",
        lambda model, plan: Saliency(model),
    ),
    "input-x-gradient": Method(
        "InputXGradient",
        "The gradient of the class score times the input.",
        lambda model, plan: InputXGradient(model),
    ),
    "integrated-gradients": Method(
        "IntegratedGradients",
        "Gradients integrated along the line from a black input.",
        lambda model, plan: IntegratedGradients(model),
    ),
    "gaussian": Method(
        "GaussianSmoothing",
        "The average of absolute gradients of unit norm under Gaussian noise.",
        lambda model, plan: GaussianSmoothing(Saliency(model), transform=Abs() >> UnitNorm()),
    ),
    "uniform": Method(
        "UniformSmoothing",
        "The average of absolute gradients of unit norm under noise uniform on a ball.",
        lambda model, plan: UniformSmoothing(Saliency(model), transform=Abs() >> UnitNorm()),
    ),
    "sparsified": Method(
        "SparsifiedSmoothGrad",
        "How often each feature is among the largest gradients under Gaussian noise.",
        lambda model, plan: SparsifiedSmoothGrad(Saliency(model), keep=plan.keep),
    ),
    "relaxed": Method(
        "RelaxedSparsifiedSmoothGrad",
        "The largest gradients, scaled and clipped to [0, 1], averaged under Gaussian noise.",
        lambda model, plan: RelaxedSparsifiedSmoothGrad(Saliency(model), keep=plan.keep),
    ),
    "scaled": Method(
        "ScaledSmoothGrad",
        "Gradients divided by their largest, averaged under Gaussian noise.",
        lambda model, plan: ScaledSmoothGrad(Saliency(model)),
    ),
    "quadratic": Method(
        "QuadraticSmoothGrad",
        "Squared gradients divided by their largest, averaged under Gaussian noise.",
        lambda model, plan: QuadraticSmoothGrad(Saliency(model)),
    ),
}
