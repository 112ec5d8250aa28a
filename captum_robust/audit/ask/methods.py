"""The attributions an audit can compare, by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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

Keep = int | float


@dataclass(frozen=True)
class Method:
    """One attribution of the report.

    Attributes:
        title: its name in the report.
        about: one sentence on what its map holds.
        build: makes it for a model; takes the features that sparsified methods keep too.
    """

    title: str
    about: str
    build: Callable[[nn.Module, Keep], Attribution]


METHODS: Final[dict[str, Method]] = {
    "saliency": Method(
        "Saliency",
        "The absolute gradient of the class score at the input itself.",
        lambda model, keep: Saliency(model),
    ),
    "input-x-gradient": Method(
        "InputXGradient",
        "The gradient of the class score times the input.",
        lambda model, keep: InputXGradient(model),
    ),
    "integrated-gradients": Method(
        "IntegratedGradients",
        "Gradients integrated along the line from a black input.",
        lambda model, keep: IntegratedGradients(model),
    ),
    "gaussian": Method(
        "GaussianSmoothing",
        "The average of absolute gradients of unit norm under Gaussian noise.",
        lambda model, keep: GaussianSmoothing(Saliency(model), transform=Abs() >> UnitNorm()),
    ),
    "uniform": Method(
        "UniformSmoothing",
        "The average of absolute gradients of unit norm under noise uniform on a ball.",
        lambda model, keep: UniformSmoothing(Saliency(model), transform=Abs() >> UnitNorm()),
    ),
    "box": Method(
        "UniformSmoothing, box",
        "The average of absolute gradients of unit norm under noise uniform on a box.",
        lambda model, keep: UniformSmoothing(
            Saliency(model), norm="linf", transform=Abs() >> UnitNorm()
        ),
    ),
    "sparsified": Method(
        "SparsifiedSmoothGrad",
        "How often each feature is among the largest gradients under Gaussian noise.",
        lambda model, keep: SparsifiedSmoothGrad(Saliency(model), keep=keep),
    ),
    "relaxed": Method(
        "RelaxedSparsifiedSmoothGrad",
        "The largest gradients, scaled and clipped to [0, 1], averaged under Gaussian noise.",
        lambda model, keep: RelaxedSparsifiedSmoothGrad(Saliency(model), keep=keep),
    ),
    "scaled": Method(
        "ScaledSmoothGrad",
        "Gradients divided by their largest, averaged under Gaussian noise.",
        lambda model, keep: ScaledSmoothGrad(Saliency(model)),
    ),
    "quadratic": Method(
        "QuadraticSmoothGrad",
        "Squared gradients divided by their largest, averaged under Gaussian noise.",
        lambda model, keep: QuadraticSmoothGrad(Saliency(model)),
    ),
}
