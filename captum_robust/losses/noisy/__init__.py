"""Losses under noise, for nets whose smoothed maps are to be certified."""
