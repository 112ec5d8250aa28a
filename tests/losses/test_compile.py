"""What torch.compile allows, as the documentation says."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from captum_robust.losses import (
    AdversarialTraining,
    Criterion,
    HessianNorm,
    LocalGradientAlignment,
    SmoothSurface,
)

pytestmark = pytest.mark.slow
SECOND_ORDER = {
    "alignment": lambda: LocalGradientAlignment(radius=0.3, perturbation="grad"),
    "hessian": lambda: HessianNorm(generator=torch.Generator().manual_seed(0)),
    "surface": lambda: SmoothSurface(scale=1.0),
}


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 3)).double()


def gradients(criterion: Criterion, model: nn.Module) -> list[Tensor]:
    inputs = torch.linspace(-1, 1, 32, dtype=torch.float64).reshape(4, 8)
    model.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        criterion(model, inputs, torch.tensor([0, 1, 2, 0])).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_compiled_nets_have_no_second_derivatives(name: str, net: nn.Module) -> None:
    torch.compiler.reset()
    expected = gradients(SECOND_ORDER[name](), net)
    traced = torch.compile(net, backend="eager")  # captures the graph and leaves it to autograd
    torch.testing.assert_close(gradients(SECOND_ORDER[name](), traced), expected)
    compiled = torch.compile(net, backend="aot_eager")  # the path of the default, inductor
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        gradients(SECOND_ORDER[name](), compiled)
    torch.testing.assert_close(gradients(SECOND_ORDER[name](), compiled._orig_mod), expected)


def test_compiled_nets_can_be_trained_with_first_order_losses(net: nn.Module) -> None:
    torch.compiler.reset()
    criterion = AdversarialTraining(0.1, 2, random_start=False)
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(gradients(criterion, compiled), gradients(criterion, net))
