"""Similarities of two maps as vectors: angle, correlation, distance. All carry gradients."""
