"""Steps that ignore the gradient."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.rows import Rows
from captum_robust.robust.balls.draws import step_number
from captum_robust.robust.steps.step import StepRule


class RandomStep(StepRule):
    """No climb at all: every step is an independent point of the ball.

    A ``step_size`` is ignored, so that the arguments of any attack serve its random baseline.

    Args:
        extreme: draw corners (Linf), points of the sphere (L2) or of random faces (L1), the
            strongest random search; otherwise uniformly inside.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import RandomStep, TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2, step_rule=RandomStep())
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    uses_gradient = False
    uses_step_size = False

    def __init__(self, extreme: bool = True) -> None:
        self.extreme = extreme

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        draw = self.ball.extreme if self.extreme else self.ball.uniform
        return draw(self.draws, rows, step_number(self.restart, step))
