"""Per-sample transforms: from one sample's attribution to what is averaged, composed by ``>>``.

Each takes a tuple of maps ``(N, *)``, treats the rows independently and declares the range of its
result. A tuple of maps is one vector: norms, maxima and ranks are taken over all of it. Zero maps
stay zero; ties are broken by index.
"""

from captum_robust.transforms.elementwise import Abs, Square
from captum_robust.transforms.features import Features
from captum_robust.transforms.joining import JoiningTransform
from captum_robust.transforms.marks import Rank, Relax, Sparsify
from captum_robust.transforms.norms import ClipNorm, ScaleToMax, UnitNorm, UnitSum
from captum_robust.transforms.pool import Pool
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.regions import Sum, SumChannels
from captum_robust.transforms.segments import Segments
from captum_robust.transforms.superpixels import superpixels
from captum_robust.transforms.transform import (
    Chain,
    ElementwiseTransform,
    JointTransform,
    Transform,
)

__all__ = [
    "Abs",
    "Chain",
    "ClipNorm",
    "ElementwiseTransform",
    "Features",
    "JoiningTransform",
    "JointTransform",
    "MapRange",
    "Pool",
    "Rank",
    "Relax",
    "ScaleToMax",
    "Segments",
    "Sparsify",
    "Square",
    "Sum",
    "SumChannels",
    "Transform",
    "UnitNorm",
    "UnitSum",
    "superpixels",
]
