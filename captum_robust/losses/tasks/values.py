"""Numbers to be predicted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from captum_robust._base.precision import at_least_single
from captum_robust.losses.tasks.labels import as_outputs
from captum_robust.losses.tasks.task import Task


class Values(Task):
    """Outputs and targets of one shape ``(N, *)``.

    The score explained is the sum of an example's outputs; two outputs are as far apart as their
    mean squared difference.
    """

    takes = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
    name = "error"

    def check_target(self, target: Any, examples: int) -> Tensor:
        target = super().check_target(target, examples)
        return target if target.is_floating_point() else target.float()

    def check_pair(self, outputs: Tensor, target: Tensor) -> None:
        super().check_pair(outputs, as_outputs(target, outputs))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        found = at_least_single(outputs)
        return self.reduced(self.base(found, as_outputs(target, found).to(found.dtype)))

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        return outputs.reshape(len(outputs), -1).sum(1)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        return self.reduced((at_least_single(others) - at_least_single(outputs)).square())

    def average(self, outputs: Tensor) -> Tensor:
        return at_least_single(outputs).mean(0)

    def entropy(self, outputs: Tensor) -> Tensor:
        return at_least_single(outputs).new_zeros(len(outputs))
