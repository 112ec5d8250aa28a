"""From samples to guarantees: confidence, then the shift of the noise law, then the functional."""

from captum_robust.certificates._ranges import MapRange
from captum_robust.certificates._shift import Shift
from captum_robust.certificates._terms import PublishedFormulaWarning
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.confidence import (
    betting_lower,
    clopper_pearson,
    empirical_bernstein,
    hoeffding,
    kl_chernoff,
    norm_radius,
)
from captum_robust.certificates.geometry import cosine_from_sine
from captum_robust.certificates.mixins import (
    CertificateMixin,
    CosineCertificateMixin,
    RankCertificateMixin,
    TopKCertificateMixin,
)
from captum_robust.certificates.overlap import displacement_shifts
from captum_robust.certificates.pixels import holm_decisions, pixel_decisions
from captum_robust.certificates.ranks import certified_ranks, conserved_ranks, median_rank_bound

__all__ = [
    "Certificate",
    "CertificateMixin",
    "CosineCertificateMixin",
    "MapRange",
    "PublishedFormulaWarning",
    "RankCertificateMixin",
    "Shift",
    "TopKCertificateMixin",
    "betting_lower",
    "certified_ranks",
    "clopper_pearson",
    "conserved_ranks",
    "cosine_from_sine",
    "displacement_shifts",
    "empirical_bernstein",
    "hoeffding",
    "holm_decisions",
    "kl_chernoff",
    "median_rank_bound",
    "norm_radius",
    "pixel_decisions",
]
