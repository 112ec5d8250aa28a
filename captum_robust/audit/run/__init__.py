"""Runs all examples: journal, processes, progress."""
