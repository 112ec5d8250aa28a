"""How an attack moves: the family of step rules."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.printed import Printed
from captum_robust._base.rows import Rows
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self


class StepRule(Printed):
    """Turns a gradient into the next perturbation; ``begin`` gives each restart a fresh copy."""

    uses_gradient: ClassVar[bool] = True
    """False for rules that ignore the gradient, which is then not computed."""
    uses_step_size: ClassVar[bool] = True
    """False for rules that find their own lengths."""
    refuses_step_size: ClassVar[bool] = False
    """Whether a ``step_size`` is an error rather than ignored."""
    repeatable: ClassVar[bool] = False
    """Whether the same gradient at the same point gives the same move again."""
    relative_step: float = 1 / 8
    """Length of the first step in radii where no ``step_size`` is given."""
    halvings: int = 0
    """How often a step that would change the prediction is halved before it is dropped."""

    def begin(self, ball: Ball, size: Tensor, draws: Draws, restart: int, steps: int) -> Self:
        """A copy with empty memory for one restart of so many steps; ``size`` (N or 1, d or 1)."""
        fresh = copy.copy(self)
        fresh.ball, fresh.size, fresh.draws = ball, size, draws
        fresh.restart, fresh.steps = restart, steps
        return fresh

    ball: Ball
    size: Tensor
    draws: Draws
    restart: int
    steps: int

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        """The next perturbations ``(n, d)``, not yet projected, from ``delta`` and ``gradient``."""
        raise NotImplementedError

    def shorten(self, rows: Rows) -> None:
        """Halves the coming steps of some examples."""
        raise NotImplementedError(f"{type(self).__name__} cannot shorten its steps.")


def check_relative(value: float) -> float:
    """Returns ``relative_step`` if it is finite and above 0."""
    return check_number("relative_step", value, low=0, open_low=True, high=math.inf, open_high=True)
