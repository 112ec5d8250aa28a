"""Losses at inputs that an attack found."""
