"""From samples to guarantees: confidence, then the shift of the noise law, then the functional."""

from captum_robust.certificates._ranges import MapRange
from captum_robust.certificates._shift import Shift
from captum_robust.certificates._terms import PublishedFormulaWarning
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.confidence import clopper_pearson, hoeffding, norm_radius
from captum_robust.certificates.geometry import cosine_from_sine
from captum_robust.certificates.mixins import (
    CertificateMixin,
    CosineCertificateMixin,
    TopKCertificateMixin,
)
from captum_robust.certificates.overlap import displacement_shifts

__all__ = [
    "Certificate",
    "CertificateMixin",
    "CosineCertificateMixin",
    "MapRange",
    "PublishedFormulaWarning",
    "Shift",
    "TopKCertificateMixin",
    "clopper_pearson",
    "cosine_from_sine",
    "displacement_shifts",
    "hoeffding",
    "norm_radius",
]
