"""Columns that a certificate answers; a new one is a file and a line here."""

from captum_robust.audit.measure.columns.certified.angle import Angle
from captum_robust.audit.measure.columns.certified.cosine import Cosine
from captum_robust.audit.measure.columns.certified.overlap import Overlap

__all__ = ["CERTIFIED", "Angle", "Cosine", "Overlap"]

CERTIFIED = (Overlap(), Cosine(), Angle())  # in the report's order
