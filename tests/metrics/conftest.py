"""Models and maps that the tests of the metrics share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.nets import TwoInputs


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 2, 8, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 6 * 7, 5)
    ).eval()


@pytest.fixture
def two_inputs() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(3)
    return TwoInputs(5, 3, 4, nn.Tanh).eval(), (torch.randn(4, 5), torch.randn(4, 3))
