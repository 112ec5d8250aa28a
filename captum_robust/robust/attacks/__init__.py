"""The named attacks."""
