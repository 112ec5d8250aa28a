"""Settings of every test process and of the processes that tests start."""

import os
from collections.abc import Iterator

# Before torch is loaded: threads that wait for one another cost small tests more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_global_generator() -> Iterator[None]:
    """The same random numbers in every run, and in every order of tests."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
