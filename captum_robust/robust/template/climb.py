"""One climb: gradient, step, project, clip, accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_robust.attr.explainer import is_smoothed
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.template.ascent import Ascent
from captum_robust.robust.template.run import AttackRun
from captum_robust.robust.template.spec import Kind


@dataclass(frozen=True)
class Climb:
    """How one restart climbs.

    Attributes:
        ascent: gives gradients.
        rule: turns them into steps.
        start: where it begins.
        restart: its number, which selects the random numbers.
        steps: how many.
        first: the number of its first gradient, which selects the draws of smoothed maps.
        size: length of its steps, ``(N or 1, d or 1)``; ``None`` is that of the call.
        rows: which examples climb, ``(N,)``; all that are not finished where ``None``.
    """

    ascent: Ascent
    rule: StepRule
    start: Kind
    restart: int
    steps: int
    first: int = 0
    size: Tensor | None = None
    rows: Tensor | None = None

    def begin(self, run: AttackRun) -> tuple[Tensor, Tensor]:
        """First points ``(N, d)`` and which examples climb, ``(N,)``."""
        points, active = run.start(self.start, self.restart, run.spec.start_tries)
        return points, active if self.rows is None else active & self.rows

    def __call__(self, run: AttackRun, tick: Callable[[], Any]) -> None:
        """Climbs with every example that is not finished; the run remembers the best points."""
        points, active = self.begin(run)
        size = run.size if self.size is None else self.size
        rule = self.rule.begin(run.ball, size, run.draws, self.restart, self.steps)
        for step in range(self.steps):
            tick()
            rows = (active & ~run.finished).nonzero().flatten()
            if rows.numel() == 0:
                return
            rows, gradient = self._gradient(run, points, rows, step)
            here = points[rows]
            there = points[rows] = advance(run, rule, here, gradient, rows, step)
            if self._repeats(rule):  # what did not move will not move again
                active[rows] = (there != here).any(1)
            due = (step + 1) % run.call.eval_every == 0 or step + 1 == self.steps
            judged = slice(None) if due else ~active[rows]
            run.offer(there[judged], rows[judged])

    def _gradient(
        self, run: AttackRun, points: Tensor, rows: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """The rows whose gradients are finite, and these."""
        if not self.rule.uses_gradient:
            return rows, torch.zeros_like(points[rows])
        number, progress = self.first + step, step / max(self.steps - 1, 1)
        gradient = run.gradient(self.ascent, points[rows], rows, number, progress)
        sound = run.drop_broken(gradient, rows, step)
        return rows[sound], gradient[sound]

    def _repeats(self, rule: StepRule) -> bool:
        """Whether the same point would give the same step again."""
        ascent = self.ascent
        drawn = ascent.redraw and is_smoothed(ascent.explainer.attribution)
        return rule.repeatable and not ascent.twins.grows and not drawn


def advance(
    run: AttackRun, rule: StepRule, here: Tensor, gradient: Tensor, rows: Tensor, step: int
) -> Tensor:
    """Step, project, clip; some rules halve a step that would lose the prediction."""
    region = run.region
    there = region.move(rule, here, gradient, rows, step)
    for _ in range(rule.halvings):
        lost = ~run.judge.kept(there, rows)
        if not bool(lost.any()):
            return there
        rule.shorten(rows[lost])
        there[lost] = region.move(rule, here[lost], gradient[lost], rows[lost], step)
    if rule.halvings:
        lost = ~run.judge.kept(there, rows)
        there[lost] = here[lost]
    return there
