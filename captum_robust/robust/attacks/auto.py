"""The strongest top-k attack of this library: one call, nothing to choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.robust.balls.draws import start_number
from captum_robust.robust.objectives.objective import Normalisation, Reduction
from captum_robust.robust.objectives.top_k import TopKObjective
from captum_robust.robust.steps.adam import AdamStep
from captum_robust.robust.steps.momentum import MomentumStep
from captum_robust.robust.surrogate import Beta
from captum_robust.robust.template.attack import AttributionAttack
from captum_robust.robust.template.climb import Climb
from captum_robust.robust.template.local_search import LocalSearch
from captum_robust.robust.template.run import AttackRun
from captum_robust.robust.template.spec import Kind


@dataclass(frozen=True)
class Way:
    """One way to climb: what is raised, through which twin, by which steps, from where.

    Attributes:
        boundary, width: of :class:`TopKObjective`.
        beta: sharpness of the softplus twin, or a pair to grow through.
        rule: of Adam the ``relative_step`` counts in usual sizes of a feature, not in radii.
        start: the clean input, a random point, or the best point so far.
    """

    boundary: float
    width: float
    beta: Beta
    rule: AdamStep | MomentumStep
    start: Kind


_MASS = Way(1.0, 0.2, (3.0, 100.0), MomentumStep(0.5, 1 / 4), "clean")
_COUNT = Way(10.0, 0.1, 30.0, AdamStep(relative_step=1 / 8, shrink=True), "clean")
EXPLORE: Final = (_MASS, _COUNT, replace(_MASS, start="uniform"), replace(_COUNT, start="uniform"))
"""What a call begins with, three quarters of the steps each."""
REFINE: Final = (
    Way(10.0, 0.05, (30.0, 100.0), AdamStep(relative_step=1 / 8, shrink=True), "best"),
    Way(10.0, 0.05, (30.0, 300.0), MomentumStep(0.75, 1 / 8), "best"),
    Way(10.0, 0.02, (100.0, 300.0), AdamStep(relative_step=1 / 16, shrink=True), "best"),
)
"""What goes on from the best point so far, in turn until the restarts are spent."""

# Enough for the usual size of a feature to be the same, nearly, for all seeds.
_BORDER_DRAWS: Final = 8


class AutoTopKAttack(AttributionAttack):
    r"""Pushes the k most important features out of the top k by several attacks in one.

    The counterpart, for explanations, of AutoAttack (Croce and Hein, 2020): no parameter needs a
    choice, and every example gets the best point that any member finds. Members differ in
    objective, sharpness of the twin, step rule and start. The first four explore: momentum on the
    mass of the top features, Adam on a soft count of them, each from the input and from a random
    point.
    The others go on from the best point so far with an ever narrower count, which approaches the
    score, and ever sharper twins. A local search on the score itself ends the call; it asks the
    real net alone and takes no gradients. Examples whose top k is displaced as a whole leave at
    once, so that the budget goes where something is left to gain.

    ``step_num`` times ``restarts`` (100 times 5) is the number of gradients of an example;
    ``step_num`` counts the tries of the local search, too. Plain, smoothed, sparsified and region
    maps are attacked alike.

    Args:
        forward_func, attribution_method, lower_bound, upper_bound: see :class:`AttributionAttack`.
        k: a count or a share in (0, 1] of all features.
        reduction, normalisation: see :class:`TopKAttack`.
        **pieces: ``norm``, ``attack_samples``, ``redraw``, ``evaluation``, ``model_term``,
            ``weight`` and ``attribute_kwargs`` of :class:`AttributionAttack`.

    Raises:
        TypeError: if a piece is given that the members set themselves, such as ``step_rule``.
        ValueError: if ``k`` exceeds the number of features (at the call).

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AutoTopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = AutoTopKAttack(model, Saliency(model), 0, 1, k=2)
        >>> found = attack.search(x, radius=0.1, step_num=5, target=model(x).argmax(1), seed=0)
        >>> found.perturbed.shape
        torch.Size([2, 4])
    """

    restarts = 5

    def __init__(
        self,
        forward_func: Callable[..., Any],
        attribution_method: Attribution,
        lower_bound: Any = -torch.inf,
        upper_bound: Any = torch.inf,
        *,
        k: int | float = 0.2,
        reduction: Reduction = "none",
        normalisation: Normalisation = "sum",
        **pieces: Any,
    ) -> None:
        for name in ("objective", "step_rule", "start", "surrogate"):
            if name in pieces:
                raise TypeError(
                    f"`{name}` must not be given to AutoTopKAttack, whose members have their own; "
                    "TopKAttack takes it."
                )
        super().__init__(
            forward_func,
            attribution_method,
            lower_bound,
            upper_bound,
            objective=TopKObjective(k, reduction, normalisation, boundary=1.0),
            **pieces,
        )

    def climbs(self, run: AttackRun) -> Iterator[Callable[[AttackRun, Callable[[], Any]], None]]:
        """The members, and the local search at the end."""
        self._start_of(run, restart=1)  # refuses a ball without a radius, where nothing is random
        usual, left = _usual_feature(run), run.call.restarts * run.call.steps
        for number, (way, wanted) in enumerate(_members(run.call.steps)):
            steps = min(wanted, left)
            if steps == 0:
                break
            yield self._climb(run, way, number, steps, usual)
            left -= steps
        yield LocalSearch(run.call.steps, restart=number)

    def _climb(self, run: AttackRun, way: Way, number: int, steps: int, usual: Tensor) -> Climb:
        scored: Any = self.objective
        raised = TopKObjective(
            scored.k, scored.reduction, scored.normalisation, way.boundary, way.width
        )
        unit = usual if isinstance(way.rule, AdamStep) else run.ball.radius
        size = way.rule.relative_step * unit if run.settings.step_size is None else None
        ascent = run.ascent(raised, way.beta)
        return Climb(ascent, way.rule, way.start, number, steps, number * run.call.steps, size)


def _members(steps: int) -> Iterator[tuple[Way, int]]:
    """The ways in turn, without end, and how many steps each gets."""
    yield from ((way, math.ceil(0.75 * steps)) for way in EXPLORE)
    yield from ((way, steps) for way in cycle(REFINE))


def _usual_feature(run: AttackRun) -> Tensor:
    """Root mean square of the features of points at the border, ``(N, 1)``."""
    squares = [
        run.ball.extreme(run.draws, slice(None), start_number(0, attempt)).square().mean(1)
        for attempt in range(_BORDER_DRAWS)
    ]
    return torch.stack(squares).mean(0).sqrt().unsqueeze(1)
