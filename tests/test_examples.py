"""Every example in a docstring runs as pasted into a fresh interpreter, and prints what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.floor_plan import modules

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples() -> list[doctest.DocTest]:
    """The docstrings with examples, without the names of the module around them."""
    finder = doctest.DocTestFinder()
    found = []
    for name in modules():
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            found += finder.find(module, name, extraglobs={}, globs={"__name__": "__main__"})
    return [example for example in found if example.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_runs_when_pasted_alone(example: doctest.DocTest) -> None:
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(example, out=printed.append)
    assert runner.failures == 0, "".join(printed)
