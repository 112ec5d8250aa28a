"""What the tests of several losses measure with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Slopes = Callable[[nn.Module, Callable[[], Tensor]], tuple[float, float]]


@pytest.fixture
def slopes() -> Slopes:
    """Gives the derivative along a random direction of the parameters: of the graph, measured."""
    return _slopes


def _slopes(net: nn.Module, loss: Callable[[], Tensor]) -> tuple[float, float]:
    parameters = [p for p in net.parameters() if p.requires_grad]
    along = [torch.randn_like(p) for p in parameters]
    found = torch.autograd.grad(loss(), parameters, materialize_grads=True)
    step, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, along, strict=True):
                parameter.add_(sign * step * direction)
        values.append(float(loss().detach()))
    with torch.no_grad():
        for parameter, direction in zip(parameters, along, strict=True):
            parameter.add_(step * direction)
    measured = (values[0] - values[1]) / (2 * step)
    return float(sum((g * d).sum() for g, d in zip(found, along, strict=True))), measured
