"""Losses on the gradient of the model at the input."""
