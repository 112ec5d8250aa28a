"""Loads the model and the data."""
