"""Similarities of the most important features of two maps."""
