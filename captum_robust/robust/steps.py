"""How far an attack moves along a gradient; each rule's memory is kept example by example."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from captum_robust._checks import check_count, check_number
from captum_robust.robust.balls import Ball, Draws, Rows, pick

if TYPE_CHECKING:
    from typing_extensions import Self


class StepRule:
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
        >>> from captum.attr import Saliency
        >>> from captum_robust.robust import TopKAttack
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
        return delta + self.ball.step(self.total[rows], left * self.size, rows)


class ShrinkingStep(StepRule):
    r"""Gradient ascent whose steps shrink like one over their number and never change the class.

    .. math:: \alpha_1 = \rho / \lVert g_0 \rVert_2, \qquad
        \delta_p = \delta_{p-1} + \alpha_p g_{p-1}, \qquad \alpha_{p+1} = \tfrac{p}{p+1} \alpha_p

    and :math:`\alpha` is halved while the step would change the prediction: Levine et al. (2019),
    Algorithm 1, lines 12 to 25. There the halving has no end; here, as in the released code, it
    stops after ``halvings``, and that step is then not made. A ``step_size`` is refused.

    Args:
        halvings: most halvings of one step; their batched code takes 10.
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


class AdamStep(StepRule):
    """Adam (Kingma and Ba, 2015) on the perturbed input, learning rate ``step_size``.

    Args:
        betas: decay of the first and of the second moment, each in [0, 1).
        eps: added to the root of the second moment, > 0, in units of the gradient.
        relative_step: learning rate in radii where no ``step_size`` is given, > 0.

    Raises:
        ValueError: if one lies outside its range.
    """

    def __init__(
        self,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        relative_step: float = 1 / 8,
    ) -> None:
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise TypeError(f"`betas` must be a tuple of two numbers, got {betas!r}.")
        fast, slow = (check_number("betas", beta, low=0, high=1, open_high=True) for beta in betas)
        self.betas = (fast, slow)
        self.eps = check_number("eps", eps, low=0, open_low=True, high=math.inf, open_high=True)
        self.relative_step = check_relative(relative_step)

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
        return delta + pick(self.size, rows) * mean / scale


class RandomStep(StepRule):
    """No climb at all: every step is an independent point of the ball.

    A ``step_size`` is ignored, so that the arguments of any attack serve its random baseline.

    Args:
        extreme: draw corners (Linf) or points of the sphere (L2), the strongest random search;
            otherwise uniformly inside.
    """

    uses_gradient = False
    uses_step_size = False

    def __init__(self, extreme: bool = True) -> None:
        self.extreme = extreme

    def move(self, delta: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        # Starts draw the even numbers, steps the odd ones.
        number = 2 * (self.restart * 1_000_000 + step) + 1
        draw = self.ball.surface if self.extreme else self.ball.uniform
        return draw(self.draws, rows, number)
