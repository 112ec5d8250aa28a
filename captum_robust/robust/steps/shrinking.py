"""Steps that shrink when nothing is gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.steps.step import StepRule

if TYPE_CHECKING:
    from typing_extensions import Self


class ShrinkingStep(StepRule):
    r"""Gradient ascent whose steps shrink like one over their number and never change the class.

    .. math:: \alpha_1 = \rho / \lVert g_0 \rVert_2, \qquad
        \delta_p = \delta_{p-1} + \alpha_p g_{p-1}, \qquad \alpha_{p+1} = \tfrac{p}{p+1} \alpha_p

    and :math:`\alpha` is halved while the step would change the prediction: Levine et al. (2019),
    Algorithm 1, lines 12 to 25. There the halving has no end; here, as in the released code, it
    stops after ``halvings``, and that step is then not made. A ``step_size`` is refused.

    Args:
        halvings: most halvings of one step; their batched code takes 10.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import ShrinkingStep, TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2, norm="L2", step_rule=ShrinkingStep())
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    uses_step_size = False
    refuses_step_size = True

    def __init__(self, halvings: int = 10) -> None:
        self.halvings = check_count("halvings", halvings, low=0)

    def begin(self, ball: Ball, size: Tensor, draws: Draws, restart: int, steps: int) -> Self:
        fresh = super().begin(ball, size, draws, restart, steps)
        fresh.rate = draws.like.new_full((draws.like.shape[0], 1), torch.nan)
        fresh.taken = -1
        return fresh

    rate: Tensor
    taken: int

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        if step == 0 and self.taken < 0:
            length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            reach = pick(self.ball.radius, rows).amax(1, keepdim=True)
            self.rate[rows] = torch.where(length > 0, reach / length, 0)
        elif step > self.taken:
            self.rate *= step / (step + 1)
        self.taken = step
        return delta + self.rate[rows] * gradient

    def shorten(self, rows: Rows) -> None:
        self.rate[rows] /= 2
