"""One call of an attack: the checked arguments, and the state that grows step by step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.examples import Examples, Maps, usable
from captum_robust._base.rows import pick
from captum_robust._base.targets import class_targets
from captum_robust.attr.explainer import Explainer
from captum_robust.attr.method.guards import refuse_mixing
from captum_robust.attr.method.outputs import checked_output
from captum_robust.attr.method.probing.probe import probe
from captum_robust.attr.method.refusals import refuse_unsound_net
from captum_robust.robust.balls.draws import Draws, start_number
from captum_robust.robust.objectives.objective import Objective
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.template.ascent import Ascent, Surrogate, Twins
from captum_robust.robust.template.judge import Best, Judge
from captum_robust.robust.template.region import Region, check_size
from captum_robust.robust.template.spec import AttackSpec, Kind, Settings

# Draws for climbing and for the last judgement are apart from those that iterates are judged with.
_CLIMB, _FRESH = 1_000_003, 2_000_003


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, one entry for each example.

    Attributes:
        perturbed: the best valid points, in the format of the inputs.
        score, clean_score: the evaluation measure there and at the clean input, ``(N,)``, larger
            for the attacker; for smoothed maps judged with fresh draws.
        evaluations, gradients: how many maps and how many gradients were computed, ``(N,)``.
        skipped: True where the prediction was not the target to begin with, ``(N,)``; such
            examples come back as they were.
        stopped: True where a gradient was not finite, ``(N,)``; the best point before it counts.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = TopKAttack(model, Saliency(model), k=2)
        >>> result = attack.search(x, radius=0.1, step_num=5, target=model(x).argmax(1))
        >>> result.score.shape, result.skipped.any().item()
        (torch.Size([2]), False)
    """

    perturbed: Any
    score: Tensor
    clean_score: Tensor
    evaluations: Tensor
    gradients: Tensor
    skipped: Tensor
    stopped: Tensor


class AttackRun:
    """The pieces of one call: where it may go, what judges, and what it found.

    Args:
        spec: what the attack is made of.
        inputs: as the user gave them.
        settings: the other arguments of the call.
    """

    def __init__(self, spec: AttackSpec, inputs: Tensor | Maps, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.call = call = settings.resolved(spec)
        for function in (spec.forward_func, spec.attribution_method):
            refuse_mixing(function, "to be attacked")
        self.examples = Examples(inputs, settings.target, settings.additional_forward_args)
        self._refuse_unsound(spec.forward_func)
        radius = torch.inf if settings.radius is None else settings.radius
        bounds = (spec.lower_bound, spec.upper_bound)
        self.region = Region.around(self.examples, radius, bounds, call.ball, settings.mask)
        self.ball = self.region.ball
        self.size = self._step_size(spec.step_rule)
        self.draws = Draws(call.seed, self._ids(settings), self.examples.clean)
        self.judge = self._judge()
        self.best = Best(self.judge)
        self.gradients = torch.zeros_like(self.judge.labels)
        self.skipped = self._changed_at_start(settings)
        self.stopped = torch.zeros_like(self.skipped)
        self.tries = torch.zeros_like(self.judge.labels)
        immobile = ~self.ball.free.any(1).expand_as(self.skipped)
        self.finished = self.skipped | immobile
        self.lost = torch.zeros_like(self.skipped)

    def _refuse_unsound(self, forward_func: Callable[..., Any]) -> None:
        """Asks the attacked net for two rows and refuses one that mixes or remembers them."""
        clean, last = self.examples.clean, self.examples.count - 1
        points = torch.cat([clean[:1], 0.5 * clean[-1:].flip(1)])
        numbers = torch.tensor([0, last], device=clean.device)

        def outputs(rows: list[int]) -> Tensor:
            with torch.no_grad():
                found = self.examples.outputs(forward_func, points[rows], numbers[rows])
            return checked_output(found)

        refuse_unsound_net(forward_func, probe(outputs, forward_func, [clean]), "to be attacked")

    def _judge(self) -> Judge:
        """What iterates are judged by."""
        spec, kwargs = self.spec, usable(self.spec.attribute_kwargs)
        judging = Explainer(
            spec.attribution_method, kwargs, self.examples, self.call.seed, self.draws.example_ids
        )
        keep = self.settings.keep_prediction
        forward_func = spec.forward_func if keep else None
        prediction = keep if callable(keep) else None
        return Judge(forward_func, judging, spec.objective, spec.evaluation, prediction)

    def ascent(
        self, objective: Objective | None = None, surrogate: Surrogate | None = None
    ) -> Ascent:
        """What is climbed: the attack's own objective and twin, or others.

        The draws for climbing are apart from those that judge.
        """
        spec = self.spec
        twins = Twins(surrogate or spec.surrogate, spec.climbed_method, spec.forward_func)
        climbing = Explainer(
            spec.climbed_method,
            usable(spec.climbing_kwargs),
            self.examples,
            self.call.seed + _CLIMB,
            self.draws.example_ids,
        )
        return Ascent(
            twins,
            climbing,
            self.judge,
            objective or spec.objective,
            spec.model_term,
            spec.weight,
            spec.redraw,
        )

    def _ids(self, settings: Settings) -> Sequence[int]:
        count = self.examples.count
        ids = range(count) if settings.example_ids is None else settings.example_ids
        if len(ids) != count:
            raise ValueError(
                f"`example_ids` must have one entry for each of the {count} examples, "
                f"got {len(ids)}."
            )
        return ids

    def _step_size(self, rule: StepRule) -> Tensor:
        size = self.settings.step_size
        if size is None:
            size = self.spec.step_size(self.ball.radius)
            return size if isinstance(size, Tensor) else self.examples.spread("step_size", size)
        if rule.refuses_step_size:
            raise ValueError(
                f"`step_size` must be None for {type(rule).__name__}, which finds its "
                f"own lengths, got {size}; choose another `step_rule`."
            )
        return self.examples.spread("step_size", check_size("step_size", size, positive=True))

    def _changed_at_start(self, settings: Settings) -> Tensor:
        """Marks the examples whose prediction is not the target, and warns of them."""
        labels = self.judge.labels
        classes = class_targets(self.examples.target, self.examples.count)
        if settings.keep_prediction is not True or classes is None:  # a function knows no target
            return torch.zeros_like(labels, dtype=torch.bool)
        changed = labels != classes.to(labels)
        if bool(changed.any()):
            warnings.warn(
                f"the prediction of {_listed(changed)} is already not `target`; returned "
                "unchanged. Pass the predicted class as `target`, or keep_prediction=False.",
                UserWarning,
                stacklevel=5,
            )
        return changed

    def start(self, kind: Kind, restart: int, most_tries: int | None) -> tuple[Tensor, Tensor]:
        """Starting points ``(N, d)`` and which examples have one, ``(N,)``.

        Args:
            kind: ``"clean"``, ``"uniform"`` in the ball, ``"surface"`` of it, or ``"best"`` so far.
            restart: number of the restart.
            most_tries: draws of one example over all restarts until its prediction is kept;
                ``None`` asks for none to be kept.
        """
        points, waiting = self.examples.clean.clone(), ~self.finished
        self.lost = torch.zeros_like(self.finished)
        if kind == "clean":
            return points, waiting
        if kind == "best":
            return self.best.points.clone(), waiting
        active, attempt = waiting.clone(), 0
        while bool(waiting.any()):
            rows = waiting.nonzero().flatten()
            number = start_number(restart, attempt)
            points[rows] = self.region.start(kind, self.draws, rows, number)
            if most_tries is None:
                break
            self.tries[rows] += 1
            attempt += 1
            waiting[rows] = ~self.judge.kept(points[rows], rows)
            spent = waiting & (self.tries >= most_tries)
            active &= ~spent
            waiting &= ~spent
        return points, active

    def gradient(
        self, ascent: Ascent, points: Tensor, rows: Tensor, number: int, progress: float
    ) -> Tensor:
        """Gradients to climb ``(n, d)``, zero where nothing may move; see :class:`Ascent`."""
        self.gradients[rows] += 1
        gradient = ascent.gradient(points, rows, self.lost[rows], number, progress)
        return torch.where(pick(self.ball.free, rows), gradient, 0)

    def drop_broken(self, gradient: Tensor, rows: Tensor, step: int) -> Tensor:
        """Stops the examples whose gradient is not finite and says so; True for the others."""
        sound = torch.isfinite(gradient).all(1)
        if not bool(sound.all()):
            broken = rows[~sound]
            self.stopped[broken] = True
            self.finished[broken] = True
            warnings.warn(
                f"the gradient of {_listed(self.stopped)} is not finite at step {step}; "
                "each stops and keeps its best point so far.",
                RuntimeWarning,
                stacklevel=5,
            )
        return sound

    def offer(self, points: Tensor, rows: Tensor) -> None:
        """Judges the points and finishes the examples that cannot get better."""
        if rows.numel() == 0:
            return
        self.lost[rows] = ~self.best.offer(self.judge, points, rows)
        self.finished |= self.best.score >= self.judge.ceiling

    def result(self) -> AttackResult:
        """The best points, judged anew with fresh draws where the maps are random."""
        best, judge = self.best, self.judge
        score, clean_score = best.score, best.clean_score
        if judge.explainer.is_random:
            fresh, everything = self.call.seed + _FRESH, slice(None)
            score, _ = judge.score(best.points, everything, fresh)
            clean_score, _ = judge.score(self.examples.clean, everything, fresh)
        return AttackResult(
            perturbed=self.examples.output(best.points),
            score=score,
            clean_score=clean_score,
            evaluations=best.evaluations,
            gradients=self.gradients,
            skipped=self.skipped,
            stopped=self.stopped,
        )


def _listed(marked: Tensor) -> str:
    rows = marked.nonzero().flatten().tolist()
    return f"example{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:20]))}" + (
        f" and {len(rows) - 20} more" if len(rows) > 20 else ""
    )
