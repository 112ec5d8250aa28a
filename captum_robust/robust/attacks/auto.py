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
EXPLORE: Final = (
    (_MASS, 1.0),
    (_COUNT, 0.75),
    (replace(_MASS, start="uniform"), 0.75),
    (replace(_COUNT, start="uniform"), 0.5),
)
"""What a call begins with, and how much of ``step_num`` each gets."""
FEW_LEFT: Final = Way(1.0, 0.1, (30.0, 100.0), MomentumStep(0.75, 1 / 8), "best")
"""What goes on where half of the top is displaced: what is left may lie far above the threshold,
where a narrow count has no slope."""
MANY_LEFT: Final = (
    Way(10.0, 0.05, (30.0, 100.0), AdamStep(relative_step=1 / 8, shrink=True), "best"),
    Way(10.0, 0.05, (30.0, 300.0), MomentumStep(0.75, 1 / 8), "best"),
)
"""What goes on elsewhere, in turn: an ever narrower count, which approaches the score."""
_HALF: Final = 0.5

# Enough for the usual size of a feature to be the same, nearly, for all seeds.
_BORDER_DRAWS: Final = 8


class AutoTopKAttack(AttributionAttack):
    r"""Pushes the k most important features out of the top k by several attacks in one.

    The counterpart, for explanations, of AutoAttack (Croce and Hein, 2020): no parameter needs a
    choice, and every example gets the best point that any member finds. Members differ in
    objective, sharpness of the twin, step rule and start. The first four explore: momentum on the
    mass of the top features, Adam on a soft count of them, each from the input and from a random
    point. The others go on from the best point so far: with a narrow count, which approaches the
    score, or with the mass where less than half of the top is left. A local search on the score
    itself ends the call; it asks the real net alone and takes no gradients. Examples whose top k is
    displaced as a whole leave at once, so that the budget goes where something is left to gain.

    ``step_num`` times ``restarts`` (100 times 5) is the number of gradients of an example, and half
    of it that of the tries of the local search. Plain, smoothed, sparsified and region
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
        usual, first, number = _usual_feature(run), 0, 0
        total = run.call.restarts * run.call.steps
        for ways, wanted in _members(run.call.steps):
            steps = min(wanted, total - first)
            if steps == 0:
                break
            few = run.best.score >= _HALF  # of the top left; each example climbs one of the two
            for way, rows in zip(ways, (few, ~few), strict=False):
                chosen = rows if len(ways) > 1 else None
                yield self._climb(run, way, (number, first, steps), usual, chosen)
            first, number = first + steps, number + 1
        yield LocalSearch(math.ceil(total / 2), restart=number)

    def _climb(
        self,
        run: AttackRun,
        way: Way,
        place: tuple[int, int, int],
        usual: Tensor,
        rows: Tensor | None,
    ) -> Climb:
        """A member; its place is its number, its first gradient's and how many those are."""
        scored: Any = self.objective
        raised = TopKObjective(
            scored.k, scored.reduction, scored.normalisation, way.boundary, way.width
        )
        unit = usual if isinstance(way.rule, AdamStep) else run.ball.radius
        size = way.rule.relative_step * unit if run.settings.step_size is None else None
        ascent = run.ascent(raised, way.beta)
        number, first, steps = place
        return Climb(ascent, way.rule, way.start, number, steps, first, size, rows)


def _members(steps: int) -> Iterator[tuple[tuple[Way, ...], int]]:
    """The ways in turn, without end, and how many steps each gets; of a pair each example one."""
    yield from (((way,), math.ceil(share * steps)) for way, share in EXPLORE)
    yield from (((FEW_LEFT, way), steps) for way in cycle(MANY_LEFT))


def _usual_feature(run: AttackRun) -> Tensor:
    """Root mean square of the features of points at the border, ``(N, 1)``."""
    squares = [
        run.ball.extreme(run.draws, slice(None), start_number(0, attempt)).square().mean(1)
        for attempt in range(_BORDER_DRAWS)
    ]
    return torch.stack(squares).mean(0).sqrt().unsqueeze(1)
