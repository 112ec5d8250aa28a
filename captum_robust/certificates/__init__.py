"""From samples to guarantees: confidence, then the shift of the noise law, then the functional."""

import importlib
import warnings

from captum_robust.certificates.budget import Budget
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.claim import Claim, PublishedFormulaWarning
from captum_robust.certificates.confidence.betting import betting_lower
from captum_robust.certificates.confidence.bousquet import bousquet_radius
from captum_robust.certificates.confidence.elementwise.clopper_pearson import clopper_pearson
from captum_robust.certificates.confidence.elementwise.confidence import Confidence
from captum_robust.certificates.confidence.elementwise.empirical_bernstein import (
    empirical_bernstein,
)
from captum_robust.certificates.confidence.elementwise.hoeffding import hoeffding
from captum_robust.certificates.confidence.elementwise.kl_chernoff import kl_chernoff
from captum_robust.certificates.confidence.pac_bayes import pac_bayes_radius
from captum_robust.certificates.confidence.spread import top_eigenvalue_upper, trace_upper
from captum_robust.certificates.confidence.vectors import norm_radius
from captum_robust.certificates.functionals.angle import cosine_from_sine
from captum_robust.certificates.functionals.exchange import ExchangeCosts
from captum_robust.certificates.functionals.lipschitz import (
    smoothgrad_deviation,
    smoothgrad_lipschitz,
    smoothgrad_radius,
)
from captum_robust.certificates.functionals.overlap import displacement_shifts
from captum_robust.certificates.functionals.pixels import holm_decisions, pixel_decisions
from captum_robust.certificates.functionals.ranks import (
    certified_ranks,
    conserved_ranks,
    median_rank_bound,
)
from captum_robust.certificates.mixins import (
    CertificateMixin,
    CosineCertificateMixin,
    RankCertificateMixin,
    TopKCertificateMixin,
)
from captum_robust.certificates.printed.chi_square import (
    NormEstimate,
    QuadraticForm,
    norm_lower_asymptotic,
    published_cosine_interval,
    published_norm_interval,
)
from captum_robust.certificates.printed.lecuyer import (
    LecuyerGaussianNoise,
    lecuyer_floor,
    lecuyer_separation,
)
from captum_robust.certificates.printed.renyi import renyi_displacement_shifts, renyi_threshold
from captum_robust.certificates.procedures.center import CenterTerms, center_radius
from captum_robust.certificates.procedures.center_smoothing import (
    CenterCertificate,
    center_smoothing,
)
from captum_robust.certificates.procedures.smallest_radius import (
    SmallestRadius,
    radius_at_norm,
    smallest_radius,
)
from captum_robust.certificates.questions.question import Question
from captum_robust.certificates.shifts.covariance import hcr_shift
from captum_robust.certificates.shifts.moments import moment_shift, variance_shift
from captum_robust.noise.shift import Shift
from captum_robust.transforms.ranges import MapRange

__all__ = [
    "Budget",
    "CenterCertificate",
    "CenterTerms",
    "Certificate",
    "CertificateMixin",
    "Claim",
    "Confidence",
    "CosineCertificateMixin",
    "ExchangeCosts",
    "LecuyerGaussianNoise",
    "MapRange",
    "NormEstimate",
    "PublishedFormulaWarning",
    "QuadraticForm",
    "Question",
    "RankCertificateMixin",
    "Shift",
    "SmallestRadius",
    "TopKCertificateMixin",
    "betting_lower",
    "bousquet_radius",
    "center_radius",
    "center_smoothing",
    "certified_ranks",
    "clopper_pearson",
    "conserved_ranks",
    "cosine_from_sine",
    "displacement_shifts",
    "empirical_bernstein",
    "hcr_shift",
    "hoeffding",
    "holm_decisions",
    "kl_chernoff",
    "lecuyer_floor",
    "lecuyer_separation",
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

# The first-order estimates moved: they are no certificates.
_MOVED = (
    "CriterionBound",
    "FirstOrderDeviation",
    "attribution_jacobian",
    "criterion_bound",
    "cross_entropy_hessian_spectrum",
    "cross_entropy_hessian_top",
    "diagonal_share",
    "first_order_deviation",
    "local_linearity_gap",
)


def __getattr__(name: str) -> object:
    """Forwards names that moved to :mod:`captum_robust.estimates`, until 0.3."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"captum_robust.certificates.{name} moved to captum_robust.estimates.{name}; the old name "
        "goes in version 0.3.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(importlib.import_module("captum_robust.estimates"), name)
