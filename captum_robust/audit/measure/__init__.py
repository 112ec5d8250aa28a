"""Measures one example."""
