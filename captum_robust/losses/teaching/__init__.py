"""Losses that teach a map to agree with another."""
