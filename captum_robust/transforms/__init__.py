"""Per-sample transforms: from one sample's attribution to what is averaged, composed by ``>>``.

Each takes a tuple of maps ``(N, *)``, treats the rows independently and declares the range of its
result. A tuple of maps is one vector: norms, maxima and ranks are taken over all of it. Zero maps
stay zero; ties are broken by index.
"""

from captum_robust.transforms.elementwise import Abs, Square
from captum_robust.transforms.marks import Rank, Relax, Sparsify
from captum_robust.transforms.norms import ClipNorm, ScaleToMax, UnitNorm, UnitSum
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.regions import SumChannels
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
    "JointTransform",
    "MapRange",
    "Rank",
    "Relax",
    "ScaleToMax",
    "Sparsify",
    "Square",
    "SumChannels",
    "Transform",
    "UnitNorm",
    "UnitSum",
]
