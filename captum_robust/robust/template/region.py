"""One move of projected ascent (step, project, clip), shared by attacks and training losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.examples import Examples
from captum_robust._base.rows import Rows
from captum_robust.robust.balls.ball import Ball, Norm, ball_of
from captum_robust.robust.balls.box import Box
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.steps.step import StepRule


class Region:
    """Where points may go: a ball around each clean input, cut by the box of valid inputs.

    Args:
        examples: the clean inputs.
        ball: of perturbations.
        box: of valid inputs.
    """

    def __init__(self, examples: Examples, ball: Ball, box: Box) -> None:
        self.examples, self.ball, self.box = examples, ball, box
        self.clean = examples.clean

    @classmethod
    def around(
        cls,
        examples: Examples,
        radius: Any,
        bounds: tuple[Any, Any],
        norm: Norm,
        mask: Any = None,
    ) -> Region:
        """The region of some inputs, from the arguments of an attack.

        Args:
            examples: the inputs.
            radius: size of the ball, >= 0, what :meth:`Examples.spread` takes.
            bounds: lower and upper bound of the box, likewise.
            norm: the name, the class or an object of a ball.
            mask: nonzero where an input may change; everywhere by default.
        """
        radii = examples.spread("radius", check_size("radius", radius, positive=False))
        free = torch.ones_like(radii, dtype=torch.bool)
        if mask is not None:
            free = examples.spread("mask", mask) != 0
        names = ("lower_bound", "upper_bound")
        lower, upper = (examples.spread(*pair) for pair in zip(names, bounds, strict=True))
        box = Box(lower, upper, examples.clean, examples.rounding)
        walls = (box.lower - examples.clean, box.upper - examples.clean)
        return cls(examples, ball_of(norm).of_radius(radii, free, *walls), box)

    def start(self, kind: str, draws: Draws, rows: Rows, number: int) -> Tensor:
        """Where a climb begins: ``"clean"``, ``"uniform"`` in the ball, or its ``"surface"``."""
        if kind == "clean":
            return self.clean[rows].clone()
        return self.limit(getattr(self.ball, kind)(draws, rows, number), rows)

    def limit(self, delta: Tensor, rows: Rows) -> Tensor:
        """Points in the ball and in the box, from perturbations ``(n, d)``: project, then clip."""
        delta = self.ball.project(delta, rows)
        points = self.box.clip(self.clean[rows] + delta, rows)
        return self._rounded(points, delta, rows) if self.examples.rounds else points

    def _rounded(self, points: Tensor, delta: Tensor, rows: Rows) -> Tensor:
        """Points that the inputs' types can hold: the nearest, or towards the clean ones.

        Rounding to half precision would else leave the ball by up to a percent.
        """
        nearest = self.examples.nearest(points)
        inside = self.ball.holds(nearest - self.clean[rows], rows)
        inside = inside & (nearest == self.box.clip(nearest, rows))
        return torch.where(inside, nearest, self.examples.inwards(points, delta.abs(), rows))

    def move(self, rule: StepRule, here: Tensor, gradient: Tensor, rows: Rows, step: int) -> Tensor:
        """The points ``(n, d)`` after one step: step, project, clip."""
        delta = here - self.clean[rows]
        return self.limit(rule.move(delta, gradient, rows, step), rows)


def ascend(
    value: Callable[[Tensor], Tensor],
    region: Region,
    rule: StepRule,
    points: Tensor,
    step_num: int,
) -> Tensor:
    """The last iterate of projected gradient ascent: gradient, step, project, clip.

    Unlike an attack it judges nothing on the way, so that a step costs one gradient.

    Args:
        value: what is raised, from points ``(N, d)`` to ``(N,)``.
        region: limits the points.
        rule: a rule that has begun.
        points: the start, ``(N, d)``.
        step_num: number of steps.
    """
    for step in range(step_num):
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            gradient = slope(value(leaf), leaf)
        points = region.move(rule, points, gradient, slice(None), step)
    return points


def slope(value: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of the summed ``value``; zero where it does not depend on ``leaf``."""
    found = None
    if value.requires_grad:
        with torch.autocast(leaf.device.type, enabled=False):  # each operation as in its pass
            try:
                (found,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            except RuntimeError as error:
                if "is not implemented" not in str(error):
                    raise
                raise RuntimeError(
                    f"the net calls an operation that torch cannot derive twice ({error}); climb "
                    'on a smooth twin, surrogate="softplus", or put a smooth one in its place.'
                ) from error
    return torch.zeros_like(leaf) if found is None else found


def check_size(name: str, value: Any, *, positive: bool) -> Any:
    """A size given as a number, a tensor, or a tuple of these, none of it negative."""
    if isinstance(value, tuple):
        return tuple(check_size(name, part, positive=positive) for part in value)
    if not isinstance(value, Tensor):
        return check_number(name, value, low=0, open_low=positive)
    sound = value > 0 if positive else value >= 0
    if not bool(sound.all()):
        worst = float(value[~sound].flatten()[0])
        raise ValueError(
            f"`{name}` must be {'> 0' if positive else '>= 0'} everywhere, got {worst:g}."
        )
    return value
