"""Steps along a decaying sum of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.rows import Rows
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.steps.step import StepRule, check_relative

if TYPE_CHECKING:
    from typing_extensions import Self


class MomentumStep(StepRule):
    r"""Steepest ascent along a decaying sum of gradients, with steps that shrink to the end.

    .. math:: m \leftarrow \mu m + g / \lVert g \rVert_1, \qquad
        \delta \leftarrow \delta + \alpha \Bigl(1 - \frac tT\Bigr)\,\mathrm{sign}(m)
        \quad\text{or}\quad m / \lVert m \rVert_2

    for steps t = 0 .. T - 1. Sums of gradients are those of Dong et al. (2018), who take
    :math:`\mu = 1` and steps of one length; the shrinking is not theirs. Steps of one length go
    back and forth across the kinks of a map for as long as they are made. The sum averages what
    noise does to the gradients of smoothed maps.

    Args:
        momentum: :math:`\mu`, in [0, 1].
        relative_step: :math:`\alpha` in radii where no ``step_size`` is given, > 0.

    Raises:
        ValueError: if one lies outside its range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import MomentumStep, TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2, step_rule=MomentumStep(0.9))
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    def __init__(self, momentum: float = 0.5, relative_step: float = 1 / 4) -> None:
        self.momentum = check_number("momentum", momentum, low=0, high=1)
        self.relative_step = check_relative(relative_step)

    total: Tensor

    def begin(self, ball: Ball, size: Tensor, draws: Draws, restart: int, steps: int) -> Self:
        fresh = super().begin(ball, size, draws, restart, steps)
        fresh.total = torch.zeros_like(draws.like)
        return fresh

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        length = gradient.abs().sum(1, keepdim=True)
        self.total[rows] = self.momentum * self.total[rows] + gradient / torch.where(
            length > 0, length, 1
        )
        left = 1 - step / self.steps
        return delta + self.ball.step(self.total[rows], left * self.size, rows, delta)
