"""Steps of one length."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.rows import Rows
from captum_robust.robust.steps.step import StepRule, check_relative


class FixedStep(StepRule):
    r"""Steepest ascent of constant length.

    .. math:: \delta \leftarrow \delta + \alpha\,\mathrm{sign}(g) \quad\text{or}\quad
        \delta + \alpha\, g / \lVert g \rVert_2

    Args:
        relative_step: :math:`\alpha` in radii where no ``step_size`` is given, > 0.

    Raises:
        ValueError: if ``relative_step`` is not positive.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import FixedStep, TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2, step_rule=FixedStep())
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    repeatable = True

    def __init__(self, relative_step: float = 1 / 8) -> None:
        self.relative_step = check_relative(relative_step)

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        return delta + self.ball.step(gradient, self.size, rows, delta)
