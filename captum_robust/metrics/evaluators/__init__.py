"""Metrics of an explanation function."""
