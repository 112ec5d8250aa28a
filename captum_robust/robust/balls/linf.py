"""The ball of the largest absolute value."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import EVERY, Ball
from captum_robust.robust.balls.draws import Draws


class LinfBall(Ball):
    r"""Perturbations whose every feature stays within its radius; steps are signs.

    .. math:: \max_i |\delta_i| / r_i \le 1

    Example:
        >>> import torch
        >>> from captum_robust.robust import LinfBall
        >>> ball = LinfBall().of_radius(1.0)
        >>> ball.project(torch.tensor([[3.0, -0.5]]))
        tensor([[ 1.0000, -0.5000]])
    """

    name = "Linf"

    def size(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        return self.in_radii(delta, rows).abs().amax(1)

    def holds(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        return delta.abs() <= pick(self.radius, rows)

    def project(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        radius = pick(self.radius, rows)
        return torch.where(pick(self.free, rows), delta.clamp(-radius, radius), 0)

    def step(
        self, gradient: Tensor, size: Tensor, rows: Rows = EVERY, delta: Tensor | None = None
    ) -> Tensor:
        return pick(size, rows) * gradient.sign()

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self.from_radii(2 * draws.uniform(rows, number, draws.like.shape[1]) - 1, rows)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self.from_radii(draws.normal(rows, number).sign(), rows)
