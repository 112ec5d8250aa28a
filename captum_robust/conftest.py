"""Names that doctests use without defining them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace: dict[str, Any]) -> None:
    """``torch`` and a small softplus ``model`` of four inputs and three classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        doctest_namespace["torch"] = torch
        doctest_namespace["model"] = nn.Sequential(
            nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 3)
        ).eval()
