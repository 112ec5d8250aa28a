"""Similarities of the order of the features of two maps."""
