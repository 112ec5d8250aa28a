"""Procedures that sample more than once, or in their own way."""
