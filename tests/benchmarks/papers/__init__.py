"""The papers' experiments, repeated with this library: ``python -m tests.benchmarks.papers``."""
