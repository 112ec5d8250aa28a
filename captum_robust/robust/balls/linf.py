"""The ball of the largest absolute value."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws


class LinfBall(Ball):
    """Perturbations whose every feature stays within its radius; steps are signs."""

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        return self._in_radii(delta, rows).abs().amax(1)

    def holds(self, delta: Tensor, rows: Rows) -> Tensor:
        return delta.abs() <= pick(self.radius, rows)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        radius = pick(self.radius, rows)
        return torch.where(pick(self.free, rows), delta.clamp(-radius, radius), 0)

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        return pick(size, rows) * gradient.sign()

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self._from_radii(2 * draws.uniform(rows, number, draws.like.shape[1]) - 1, rows)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self._from_radii(draws.normal(rows, number).sign(), rows)
