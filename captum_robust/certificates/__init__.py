"""From samples to guarantees: confidence, then the shift of the noise law, then the functional."""

from captum_robust.certificates._deviation import FirstOrderDeviation
from captum_robust.certificates._ranges import MapRange
from captum_robust.certificates._shift import Shift
from captum_robust.certificates._terms import PublishedFormulaWarning
from captum_robust.certificates.center import CenterTerms, center_radius
from captum_robust.certificates.center_smoothing import CenterCertificate, center_smoothing
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.chi_square import (
    NormEstimate,
    QuadraticForm,
    norm_lower_asymptotic,
    published_cosine_interval,
    published_norm_interval,
)
from captum_robust.certificates.confidence import (
    betting_lower,
    clopper_pearson,
    empirical_bernstein,
    hoeffding,
    kl_chernoff,
    norm_radius,
)
from captum_robust.certificates.covariance import (
    bousquet_radius,
    hcr_shift,
    top_eigenvalue_upper,
    trace_upper,
)
from captum_robust.certificates.criterion import CriterionBound, criterion_bound
from captum_robust.certificates.cross_entropy import (
    cross_entropy_hessian_spectrum,
    cross_entropy_hessian_top,
)
from captum_robust.certificates.exchange import ExchangeCosts
from captum_robust.certificates.first_order import first_order_deviation
from captum_robust.certificates.geometry import cosine_from_sine
from captum_robust.certificates.lecuyer import (
    LecuyerGaussianNoise,
    lecuyer_floor,
    lecuyer_separation,
)
from captum_robust.certificates.lipschitz import (
    smoothgrad_deviation,
    smoothgrad_lipschitz,
    smoothgrad_radius,
)
from captum_robust.certificates.local_linearity import (
    attribution_jacobian,
    diagonal_share,
    local_linearity_gap,
)
from captum_robust.certificates.mixins import (
    CertificateMixin,
    CosineCertificateMixin,
    RankCertificateMixin,
    TopKCertificateMixin,
)
from captum_robust.certificates.overlap import displacement_shifts
from captum_robust.certificates.pac_bayes import pac_bayes_radius
from captum_robust.certificates.pixels import holm_decisions, pixel_decisions
from captum_robust.certificates.radius import SmallestRadius, radius_at_norm, smallest_radius
from captum_robust.certificates.ranks import certified_ranks, conserved_ranks, median_rank_bound
from captum_robust.certificates.region import moment_shift, variance_shift
from captum_robust.certificates.renyi import renyi_displacement_shifts, renyi_threshold

__all__ = [
    "CenterCertificate",
    "CenterTerms",
    "Certificate",
    "CertificateMixin",
    "CosineCertificateMixin",
    "CriterionBound",
    "ExchangeCosts",
    "FirstOrderDeviation",
    "LecuyerGaussianNoise",
    "MapRange",
    "NormEstimate",
    "PublishedFormulaWarning",
    "QuadraticForm",
    "RankCertificateMixin",
    "Shift",
    "SmallestRadius",
    "TopKCertificateMixin",
    "attribution_jacobian",
    "betting_lower",
    "bousquet_radius",
    "center_radius",
    "center_smoothing",
    "certified_ranks",
    "clopper_pearson",
    "conserved_ranks",
    "cosine_from_sine",
    "criterion_bound",
    "cross_entropy_hessian_spectrum",
    "cross_entropy_hessian_top",
    "diagonal_share",
    "displacement_shifts",
    "empirical_bernstein",
    "first_order_deviation",
    "hcr_shift",
    "hoeffding",
    "holm_decisions",
    "kl_chernoff",
    "lecuyer_floor",
    "lecuyer_separation",
    "local_linearity_gap",
    "median_rank_bound",
    "moment_shift",
    "norm_lower_asymptotic",
    "norm_radius",
    "pac_bayes_radius",
    "pixel_decisions",
    "published_cosine_interval",
    "published_norm_interval",
    "radius_at_norm",
    "renyi_displacement_shifts",
    "renyi_threshold",
    "smallest_radius",
    "smoothgrad_deviation",
    "smoothgrad_lipschitz",
    "smoothgrad_radius",
    "top_eigenvalue_upper",
    "trace_upper",
    "variance_shift",
]
