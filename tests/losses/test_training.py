"""A few hundred steps on real digits: what a loss penalises falls, and the classes are still told.

The same small softplus net is trained with cross-entropy and with each loss, from the same weights
and on the same batches; the penalty is then measured on test digits, with the same draws for both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from captum_robust.losses import (
    Criterion,
    GradientL2,
    HessianNorm,
    LocalGradientAlignment,
    SaliencyConsistency,
    SmoothSurface,
)
from tests.helpers.digits import accuracy, cross_entropy, shuffled_digits, train

pytestmark = pytest.mark.slow


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# A maker, the penalty measured, and the share of it that may be left.
CASES: dict[str, tuple[Callable[[], Criterion], str, float]] = {
    "GradientL2": (
        lambda: GradientL2(0.3, 0.1, detach_source=False, generator=seeded()),
        "l2",
        0.5,
    ),
    "GradientL2, detached": (lambda: GradientL2(0.1, 0.03, generator=seeded()), "l2", 0.95),
    "LocalGradientAlignment": (
        lambda: LocalGradientAlignment(10.0, 0.1, 0.1, detach_source=False, generator=seeded()),
        "cosine",
        0.5,
    ),
    "HessianNorm": (lambda: HessianNorm(0.01, generator=seeded()), "hessian", 0.5),
    "SmoothSurface": (lambda: SmoothSurface(0.3, 0.1), "curvature", 0.5),
    "SaliencyConsistency": (
        lambda: SaliencyConsistency(
            0.5, 0.5, steps=3, restarts=1, normalize="l2",
            lower_bound=0.0, upper_bound=1.0, generator=seeded(),
        ),
        "consistency",
        0.8,
    ),
}  # fmt: skip


class Digits(NamedTuple):
    """Training and test digits, and a net trained with cross-entropy, from the same start."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    start: nn.Module
    plain: nn.Module


@pytest.fixture(scope="module")
def digits() -> Digits:
    training, test = shuffled_digits(training=1300)
    torch.manual_seed(0)
    start = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.Softplus(3), nn.Conv2d(12, 24, 3, 2, 1), nn.Softplus(3),
        nn.Flatten(), nn.Linear(384, 10),
    )  # fmt: skip
    plain = train(copy.deepcopy(start), training, cross_entropy)
    return Digits(training, test, start, plain)


@pytest.mark.parametrize("name", CASES)
def test_the_penalty_falls_and_accuracy_stays(name: str, digits: Digits) -> None:
    make, term, share = CASES[name]
    trained = train(copy.deepcopy(digits.start), digits.train, make())
    left = []
    for net in (digits.plain, trained):
        criterion = make()
        with torch.no_grad():
            criterion(net, *digits.test)
        left.append(float(criterion.terms[term]))
    lost = accuracy(digits.plain, *digits.test) - accuracy(trained, *digits.test)
    print(f"{name}: {left[0]:.4g} -> {left[1]:.4g}, {100 * lost:.2f} points of accuracy lost")
    assert left[1] < share * left[0]
    assert lost <= 0.02


def gradient_size(net: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    inputs = data[0].clone().requires_grad_()
    chosen = net(inputs).gather(1, data[1].unsqueeze(1)).sum()
    return float(torch.autograd.grad(chosen, inputs)[0].flatten(1).norm(dim=1).mean())


def test_a_constant_source_can_let_gradients_run_away(digits: Digits) -> None:
    """As the documentation warns: at this radius and weight, and not with the whole gradient."""
    sizes = [gradient_size(digits.plain, digits.test)]
    for detach in (True, False):
        criterion = GradientL2(0.3, 0.1, detach_source=detach, generator=seeded())
        net = train(copy.deepcopy(digits.start), digits.train, criterion)
        sizes.append(gradient_size(net, digits.test))
    print("gradients of cross-entropy, detached, attached:", sizes)
    assert sizes[1] > 5 * sizes[0] and sizes[2] < sizes[0]
