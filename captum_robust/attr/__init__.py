"""Smoothed attributions in the place of ``captum.attr.NoiseTunnel``, and what they are made of."""

from captum_robust._base.per_example import per_example, shared
from captum_robust.attr.family import (
    GaussianSmoothing,
    QuadraticSmoothGrad,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SparsifiedSmoothGrad,
    UniformSmoothing,
    UniGrad,
)
from captum_robust.attr.lrp import (
    DifferentiableDeconvolution,
    DifferentiableGuidedBackprop,
    LRPEpsilonPlus,
    LRPZPlus,
    RuleAttribution,
)
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.attr.sampling.spec import Sampling
from captum_robust.attr.smoothed import SmoothedAttribution
from captum_robust.transforms.elementwise import Abs, Square
from captum_robust.transforms.marks import Rank, Relax, Sparsify
from captum_robust.transforms.norms import ClipNorm, ScaleToMax, UnitNorm, UnitSum
from captum_robust.transforms.pool import Pool
from captum_robust.transforms.regions import Sum, SumChannels
from captum_robust.transforms.segments import Segments
from captum_robust.transforms.superpixels import superpixels
from captum_robust.transforms.transform import Chain, Transform

__all__ = [
    "Abs",
    "Chain",
    "ClipNorm",
    "DifferentiableDeconvolution",
    "DifferentiableGuidedBackprop",
    "GaussianSmoothing",
    "LRPEpsilonPlus",
    "LRPZPlus",
    "Pool",
    "QuadraticSmoothGrad",
    "Rank",
    "Relax",
    "RelaxedSparsifiedSmoothGrad",
    "RuleAttribution",
    "Sampling",
    "ScaleToMax",
    "ScaledSmoothGrad",
    "Segments",
    "SmoothedAttribution",
    "SparsifiedSmoothGrad",
    "Sparsify",
    "Square",
    "Sum",
    "SumChannels",
    "Transform",
    "UniGrad",
    "UniformSmoothing",
    "UnitNorm",
    "UnitSum",
    "differentiable",
    "per_example",
    "shared",
    "superpixels",
]
