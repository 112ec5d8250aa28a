"""Search around the best points by the score alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_robust.robust.balls.draws import step_number
from captum_robust.robust.template.run import AttackRun

# The reach of a try in radii: at first, and how it changes after a gain and after none. One gain
# in six keeps it: the rule of a fifth (Rechenberg, 1973), a little bolder.
_FIRST, _GAIN, _LOSS = 1.0, 1.5, 0.92


@dataclass(frozen=True)
class LocalSearch:
    """Tries points near the best one of each example and keeps what scores higher.

    It climbs what counts itself, which is piecewise constant, where gradients see a smooth form of
    it: one evolution strategy for each example, (1+1) with an adaptive reach.

    Attributes:
        steps: number of tries, one evaluation of a map each.
        restart: its number, which selects the random numbers.
    """

    steps: int
    restart: int

    def __call__(self, run: AttackRun, tick: Callable[[], Any]) -> None:
        """Searches for every example that is not finished; the run remembers the best points."""
        best, clean = run.best, run.examples.clean
        reach = clean.new_full((len(clean), 1), _FIRST)
        for step in range(self.steps):
            rows = (~run.finished).nonzero().flatten()
            tick()
            if rows.numel() == 0:
                return
            before = best.points[rows]
            draw = run.ball.extreme(run.draws, rows, step_number(self.restart, step))
            run.offer(run.region.limit(before - clean[rows] + reach[rows] * draw, rows), rows)
            reach[rows] *= _factors(best.points[rows] != before)


def _factors(moved: Tensor) -> Tensor:
    gained = moved.any(1, keepdim=True)
    return torch.where(gained, _GAIN, _LOSS)
