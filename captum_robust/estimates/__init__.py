"""First-order estimates of how far a map can move: they assume local linearity, no certificates."""

from captum_robust.estimates.criterion import CriterionBound, criterion_bound
from captum_robust.estimates.cross_entropy import (
    cross_entropy_hessian_spectrum,
    cross_entropy_hessian_top,
)
from captum_robust.estimates.deviation import FirstOrderDeviation
from captum_robust.estimates.first_order import first_order_deviation
from captum_robust.estimates.local_linearity import (
    attribution_jacobian,
    diagonal_share,
    local_linearity_gap,
)

__all__ = [
    "CriterionBound",
    "FirstOrderDeviation",
    "attribution_jacobian",
    "criterion_bound",
    "cross_entropy_hessian_spectrum",
    "cross_entropy_hessian_top",
    "diagonal_share",
    "first_order_deviation",
    "local_linearity_gap",
]
