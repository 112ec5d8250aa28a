"""The questions that a certificate answers, each in its own file."""

from captum_robust.certificates.questions.angle import Angle
from captum_robust.certificates.questions.certified_share import CertifiedShare
from captum_robust.certificates.questions.cosine import Cosine
from captum_robust.certificates.questions.l2_deviation import L2Deviation
from captum_robust.certificates.questions.overlap import Overlap
from captum_robust.certificates.questions.pixels import Pixels
from captum_robust.certificates.questions.precedes import Precedes
from captum_robust.certificates.questions.prediction import Prediction
from captum_robust.certificates.questions.question import Question
from captum_robust.certificates.questions.rank import Rank
from captum_robust.certificates.questions.region_mass import RegionMass

__all__ = [
    "Angle",
    "CertifiedShare",
    "Cosine",
    "L2Deviation",
    "Overlap",
    "Pixels",
    "Precedes",
    "Prediction",
    "Question",
    "Rank",
    "RegionMass",
]
