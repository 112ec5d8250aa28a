"""Similarities that know where in an image a feature lies."""
