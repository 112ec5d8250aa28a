"""The l2 ball."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.balls.linf import LinfBall


class L2Ball(Ball):
    r"""Perturbations with :math:`\lVert \delta / r \rVert_2 \le 1` over all inputs together."""

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        return torch.linalg.vector_norm(self._in_radii(delta, rows), dim=1)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        delta = torch.where(pick(self.free, rows), delta, 0)
        return delta / self.size(delta, rows).clamp(min=1).unsqueeze(1)

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        scaled = pick(size, rows) * torch.where(pick(self.free, rows), gradient, 0)
        return pick(size, rows) * unit(scaled)

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        # The radius of a uniform point has density d r^(d-1), d the number of free features.
        freedom = self.free.expand_as(draws.like).sum(1, keepdim=True).clamp(min=1)
        share = draws.uniform(rows, number, 1)
        return share ** freedom[rows].to(share).reciprocal() * self.surface(draws, rows, number)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        normal = torch.where(pick(self.free, rows), draws.normal(rows, number), 0)
        return self._from_radii(unit(normal), rows)


BALLS: dict[str, type[Ball]] = {"Linf": LinfBall, "L2": L2Ball}


def unit(rows: Tensor) -> Tensor:
    """Rows of length one; rows of zeros stay."""
    # Dividing by the largest first keeps the squares of tiny gradients from vanishing.
    largest = rows.abs().amax(1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(length > 0, length, 1)
