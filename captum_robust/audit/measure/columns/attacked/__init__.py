"""Columns that an attack fills; a new one is a file and a line here."""

from captum_robust.audit.measure.columns.attacked.gradient import GradientSearch
from captum_robust.audit.measure.columns.attacked.random import RandomSearch

__all__ = ["ATTACKED", "GradientSearch", "RandomSearch"]

ATTACKED = (GradientSearch(), RandomSearch())  # in the report's order
