"""Steps of Adam."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.steps.step import StepRule, check_relative

if TYPE_CHECKING:
    from typing_extensions import Self


class AdamStep(StepRule):
    """Adam (Kingma and Ba, 2015) on the perturbed input, learning rate ``step_size``.

    Args:
        betas: decay of the first and of the second moment, each in [0, 1).
        eps: added to the root of the second moment, > 0, in units of the gradient.
        relative_step: learning rate in radii where no ``step_size`` is given, > 0.
        shrink: let the learning rate fall linearly, to 0 after the last step.

    Raises:
        ValueError: if one lies outside its range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AdamStep, TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2, step_rule=AdamStep())
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        relative_step: float = 1 / 8,
        shrink: bool = False,
    ) -> None:
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise TypeError(f"`betas` must be a tuple of two numbers, got {betas!r}.")
        fast, slow = (check_number("betas", beta, low=0, high=1, open_high=True) for beta in betas)
        self.betas = (fast, slow)
        self.eps = check_number("eps", eps, low=0, open_low=True, high=math.inf, open_high=True)
        self.relative_step = check_relative(relative_step)
        self.shrink = shrink

    first: Tensor
    second: Tensor

    def begin(self, ball: Ball, size: Tensor, draws: Draws, restart: int, steps: int) -> Self:
        fresh = super().begin(ball, size, draws, restart, steps)
        fresh.first, fresh.second = torch.zeros_like(draws.like), torch.zeros_like(draws.like)
        return fresh

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        fast, slow = self.betas
        self.first[rows] = fast * self.first[rows] + (1 - fast) * gradient
        self.second[rows] = slow * self.second[rows] + (1 - slow) * gradient.square()
        mean = self.first[rows] / (1 - fast ** (step + 1))
        scale = (self.second[rows] / (1 - slow ** (step + 1))).sqrt() + self.eps
        left = 1 - step / self.steps if self.shrink else 1.0
        return delta + left * pick(self.size, rows) * mean / scale
