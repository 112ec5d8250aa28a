"""Columns that are measured; a new one is a file and a line here."""

from captum_robust.audit.measure.columns.measured.adversarial_insertion import (
    AdversarialInsertion,
)
from captum_robust.audit.measure.columns.measured.center import CenterDislocation
from captum_robust.audit.measure.columns.measured.correlation import Correlation
from captum_robust.audit.measure.columns.measured.cosine_distance import CosineDistance
from captum_robust.audit.measure.columns.measured.insertion import Insertion
from captum_robust.audit.measure.columns.measured.mass import TopMass
from captum_robust.audit.measure.columns.measured.random_perturbation import RandomPerturbation

__all__ = [
    "MEASURED",
    "AdversarialInsertion",
    "CenterDislocation",
    "Correlation",
    "CosineDistance",
    "Insertion",
    "RandomPerturbation",
    "TopMass",
]

MEASURED = (  # in the report's order
    TopMass(),
    Correlation(),
    CenterDislocation(),
    CosineDistance(),
    RandomPerturbation(4),
    RandomPerturbation(8),
    RandomPerturbation(16),
    Insertion(),
    AdversarialInsertion(),
)
