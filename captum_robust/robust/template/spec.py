"""What an attack is made of, and the arguments of one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import TargetType
from captum_robust._base.checks import check_count
from captum_robust._base.targets import Prediction
from captum_robust.robust.balls.ball import Ball, Norm, ball_of
from captum_robust.robust.balls.draws import MOST_STEPS
from captum_robust.robust.objectives.objective import Objective
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.template.ascent import OutputMatch, Surrogate
from captum_robust.robust.template.judge import Similarity

Start = Literal["clean", "uniform", "surface"]
Kind = Literal["clean", "uniform", "surface", "best"]
"""Where a climb begins; ``"best"`` is the best point so far."""
Relaxation = Literal["sigmoid", "linear"]


@dataclass(frozen=True)
class AttackSpec:
    """The checked pieces of an attack, which a call reads and does not change.

    Attributes:
        forward_func, attribution_method, lower_bound, upper_bound, objective, evaluation,
        model_term, weight, norm, step_rule, start, start_tries, surrogate, redraw,
        attribute_kwargs: as :class:`AttributionAttack` takes them.
        climbed_method, climbing_kwargs: the method and the keywords that gradients are taken of.
        step_num, restarts: where the caller gives none.
        step_size: the same, from radii ``(N or 1, d or 1)``.
    """

    forward_func: Callable[..., Any]
    attribution_method: Attribution
    lower_bound: Any
    upper_bound: Any
    objective: Objective
    evaluation: Similarity | None
    model_term: OutputMatch | None
    weight: float
    norm: Norm
    step_rule: StepRule
    start: Start
    start_tries: int | None
    surrogate: Surrogate
    redraw: bool
    attribute_kwargs: Mapping[str, Any]
    climbed_method: Attribution
    climbing_kwargs: Mapping[str, Any]
    step_num: int
    restarts: int
    step_size: Callable[[Tensor], Any]

    @classmethod
    def of(cls, attack: Any) -> AttackSpec:
        """The pieces that an attack has at this moment, under the names of its attributes."""
        named = {f.name: getattr(attack, f.name) for f in fields(cls) if f.name != "step_size"}
        return cls(**named, step_size=attack.default_step_size)

    @property
    def eval_every(self) -> int:
        """Steps between judgements that cost about as much as the gradients between them.

        A map of nt_samples draws is judged by a pass each; a gradient takes three for each of its
        own draws.
        """
        judged, climbed = (
            kwargs.get("nt_samples") for kwargs in (self.attribute_kwargs, self.climbing_kwargs)
        )
        if not isinstance(judged, int) or not isinstance(climbed, int):
            return 1
        return max(1, judged // (3 * max(climbed, 1)))


@dataclass
class Settings:
    """The arguments of :meth:`AttributionAttack.perturb` beside the inputs."""

    radius: Any = None
    step_size: Any = None
    step_num: int | None = None
    target: TargetType = None
    norm: Norm | None = None
    random_start: bool | None = None
    mask: Any = None
    additional_forward_args: object = None
    restarts: int | None = None
    keep_prediction: bool | Prediction = True
    eval_every: int | None = None
    seed: int | None = None
    example_ids: Sequence[int] | None = None
    show_progress: bool = False

    def resolved(self, spec: AttackSpec) -> Call:
        """The arguments checked, with the attack's own defaults filled in."""
        steps = check_count("step_num", spec.step_num if self.step_num is None else self.step_num)
        restarts = spec.restarts if self.restarts is None else self.restarts
        if steps > MOST_STEPS:
            raise ValueError(f"`step_num` must be at most {MOST_STEPS}, got {steps}.")
        every = spec.eval_every if self.eval_every is None else self.eval_every
        seed = self.seed
        if seed is None:  # torch's global generator decides, as in Captum
            seed = int(torch.randint(2**40, ()).item())
        return Call(
            ball=ball_of(spec.norm if self.norm is None else self.norm),
            steps=steps,
            restarts=check_count("restarts", restarts),
            eval_every=check_count("eval_every", every),
            seed=check_count("seed", seed, low=0),
        )


@dataclass(frozen=True)
class Call:
    """The numbers of one call, none left open."""

    ball: Ball
    steps: int
    restarts: int
    eval_every: int
    seed: int
