"""The l2 ball."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import EVERY, Ball
from captum_robust.robust.balls.draws import Draws


class L2Ball(Ball):
    r"""Perturbations of limited Euclidean length, over all inputs of an example together.

    .. math:: \lVert \delta / r \rVert_2 \le 1

    Steps follow the gradient, scaled to their length.

    Example:
        >>> import torch
        >>> from captum_robust.robust import L2Ball
        >>> ball = L2Ball().of_radius(5.0)
        >>> ball.step(torch.tensor([[0.6, 0.8]]), size=torch.full((1, 1), 5.0))
        tensor([[3., 4.]])
    """

    name = "L2"

    def size(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        return torch.linalg.vector_norm(self.in_radii(delta, rows), dim=1)

    def project(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        delta = torch.where(pick(self.free, rows), delta, 0)
        return delta / self.size(delta, rows).clamp(min=1).unsqueeze(1)

    def step(
        self, gradient: Tensor, size: Tensor, rows: Rows = EVERY, delta: Tensor | None = None
    ) -> Tensor:
        scaled = pick(size, rows) * torch.where(pick(self.free, rows), gradient, 0)
        return pick(size, rows) * unit(scaled)

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        # The radius of a uniform point has density d r^(d-1), d the number of free features.
        freedom = self.free.expand_as(draws.like).sum(1, keepdim=True).clamp(min=1)
        share = draws.uniform(rows, number, 1)
        return share ** freedom[rows].to(share).reciprocal() * self.surface(draws, rows, number)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        normal = torch.where(pick(self.free, rows), draws.normal(rows, number), 0)
        return self.from_radii(unit(normal), rows)


def unit(rows: Tensor) -> Tensor:
    """Rows of length one; rows of zeros stay."""
    # Dividing by the largest first keeps the squares of tiny gradients from vanishing.
    largest = rows.abs().amax(1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(length > 0, length, 1)
