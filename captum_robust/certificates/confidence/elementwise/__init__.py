"""Bounds on the means of many [0, 1]-valued features at once, one way in one file."""

from captum_robust.certificates.confidence.elementwise.clopper_pearson import ClopperPearson
from captum_robust.certificates.confidence.elementwise.confidence import Confidence
from captum_robust.certificates.confidence.elementwise.empirical_bernstein import EmpiricalBernstein
from captum_robust.certificates.confidence.elementwise.exact import Exact
from captum_robust.certificates.confidence.elementwise.hoeffding import Hoeffding
from captum_robust.certificates.confidence.elementwise.kl_chernoff import KLChernoff

__all__ = [
    "ClopperPearson",
    "Confidence",
    "EmpiricalBernstein",
    "Exact",
    "Hoeffding",
    "KLChernoff",
]
