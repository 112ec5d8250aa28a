"""Examples in docstrings run as pasted into a fresh interpreter: with no name but their own."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Takes from every docstring example the names of the module around it."""
    for item in items:
        example = getattr(item, "dtest", None)
        if example is not None:
            example.globs = {"__name__": "__main__"}
