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
    """

    repeatable = True

    def __init__(self, relative_step: float = 1 / 8) -> None:
        self.relative_step = check_relative(relative_step)

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        return delta + self.ball.step(gradient, self.size, rows)
