"""A norm ball of perturbations."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.draws import Draws


class Ball:
    """A norm ball of perturbations; what measures them also limits, steps in and draws from it.

    Args:
        radius: largest perturbation, ``(N or 1, d or 1)``, in input units; per-feature radii
            stretch the ball, ``inf`` is no limit.
        free: False where nothing may move, ``(N or 1, d or 1)``.
    """

    def __init__(self, radius: Tensor, free: Tensor) -> None:
        self.radius = radius
        self.free = free & (radius > 0)

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        """Size of ``(n, d)`` perturbations in radii, ``(n,)``: at most 1 inside the ball."""
        raise NotImplementedError

    def holds(self, delta: Tensor, rows: Rows) -> Tensor:
        """Which features of ``(n, d)`` perturbations may stay for the whole to be inside."""
        # The margin covers the rounding of a norm.
        return (self.size(delta, rows) <= 1 - 1e-6).unsqueeze(1).expand_as(delta)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        """The nearest perturbation inside (for stretched L2 balls: along the ray to the centre)."""
        raise NotImplementedError

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        """The steepest ascent among moves of the given ``size`` (per-feature sizes stretch it)."""
        raise NotImplementedError

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed perturbation of the ball, ``(n, d)``."""
        raise NotImplementedError

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed extreme point: of the sphere, or a corner of the box."""
        raise NotImplementedError

    def _in_radii(self, delta: Tensor, rows: Rows) -> Tensor:
        radius = pick(self.radius, rows)
        return torch.where(radius > 0, delta / torch.where(radius > 0, radius, 1), 0)

    def _from_radii(self, unit: Tensor, rows: Rows) -> Tensor:
        return torch.where(pick(self.free, rows), unit * pick(self.radius, rows), 0)
