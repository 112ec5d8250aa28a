"""One call of an attack: the checked arguments, and the state that grows step by step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_robust._base.captum_privates import TargetType
from captum_robust._base.checks import check_choice, check_count
from captum_robust._base.examples import Examples, Maps, usable
from captum_robust._base.rows import Rows
from captum_robust._base.targets import class_targets
from captum_robust.attr.explainer import Explainer
from captum_robust.attr.method.guards import refuse_mixing
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.balls.l2 import BALLS
from captum_robust.robust.template.ascent import Ascent, Twins
from captum_robust.robust.template.judge import Best, Judge
from captum_robust.robust.template.region import Region, check_size

if TYPE_CHECKING:
    from captum_robust.robust.template.attack import AttributionAttack

# Draws for climbing and for the last judgement are apart from those that iterates are judged with.
_CLIMB, _FRESH = 1_000_003, 2_000_003
_MAX_STEPS = 1_000_000


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


@dataclass
class Settings:
    """The arguments of one call beside the inputs, checked."""

    radius: Any = None
    step_size: Any = None
    step_num: int | None = None
    target: TargetType = None
    norm: str | None = None
    random_start: bool | None = None
    mask: Any = None
    additional_forward_args: object = None
    restarts: int | None = None
    keep_prediction: bool = True
    eval_every: int = 1
    seed: int | None = None
    example_ids: Sequence[int] | None = None
    show_progress: bool = False

    def resolve(self, attack: AttributionAttack) -> None:
        """Fills in the attack's own defaults and refuses what is out of range."""
        self.norm = check_choice("norm", self.norm or attack.norm, tuple(BALLS))
        steps = attack.step_num if self.step_num is None else self.step_num
        self.step_num = check_count("step_num", steps)
        restarts = attack.restarts if self.restarts is None else self.restarts
        self.restarts = check_count("restarts", restarts)
        check_count("eval_every", self.eval_every)
        if self.step_num > _MAX_STEPS:
            raise ValueError(f"`step_num` must be at most {_MAX_STEPS}, got {self.step_num}.")
        if self.seed is None:  # torch's global generator decides, as in Captum
            self.seed = int(torch.randint(2**40, ()).item())
        check_count("seed", self.seed, low=0)


class AttackRun:
    """The pieces of one call: where it may go, what it climbs, what judges, and what it found."""

    def __init__(
        self, attack: AttributionAttack, inputs: Tensor | Maps, settings: Settings
    ) -> None:
        settings.resolve(attack)
        self.settings = settings
        for function in (attack.forward_func, attack.attribution_method):
            refuse_mixing(function, "to be attacked")
        self.examples = Examples(inputs, settings.target, settings.additional_forward_args)
        radius = torch.inf if settings.radius is None else settings.radius
        bounds = (attack.lower_bound, attack.upper_bound)
        self.region = Region.around(
            self.examples, radius, bounds, settings.norm or "Linf", settings.mask
        )
        self.ball = self.region.ball
        self.size = self._step_size(attack, settings)
        self.draws = Draws(settings.seed or 0, self._ids(settings), self.examples.clean)
        self._assemble(attack, settings)
        self.skipped = self._changed_at_start(settings)
        self.stopped = torch.zeros_like(self.skipped)
        self.tries = torch.zeros_like(self.judge.labels)
        immobile = ~self.ball.free.any(1).expand_as(self.skipped)
        self.finished = self.skipped | immobile
        self.lost = torch.zeros_like(self.skipped)

    def _assemble(self, attack: AttributionAttack, settings: Settings) -> None:
        """Builds judge and ascent; the draws of the one are apart from those of the other."""
        seed, ids = settings.seed or 0, self.draws.example_ids
        kwargs, climbing_kwargs = usable(attack.attribute_kwargs), usable(attack.climbing_kwargs)
        judging = Explainer(attack.attribution_method, kwargs, self.examples, seed, ids)
        forward_func = attack.forward_func if settings.keep_prediction else None
        self.judge = Judge(forward_func, judging, attack.objective, attack.evaluation)
        self.best = Best(self.judge)
        climbing = Explainer(
            attack.climbed_method, climbing_kwargs, self.examples, seed + _CLIMB, ids
        )
        twins = Twins(attack.surrogate, attack.climbed_method, attack.forward_func)
        self.ascent = Ascent(
            twins, climbing, self.judge, attack.model_term, attack.weight, attack.redraw
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

    def _step_size(self, attack: AttributionAttack, settings: Settings) -> Tensor:
        if settings.step_size is not None and attack.step_rule.refuses_step_size:
            raise ValueError(
                f"`step_size` must be None for {type(attack.step_rule).__name__}, which finds its "
                f"own lengths, got {settings.step_size}; choose another `step_rule`."
            )
        if settings.step_size is None:
            size = attack.default_step_size(self.ball.radius)
            return size if isinstance(size, Tensor) else self.examples.spread("step_size", size)
        checked = check_size("step_size", settings.step_size, positive=True)
        return self.examples.spread("step_size", checked)

    def _changed_at_start(self, settings: Settings) -> Tensor:
        """Marks the examples whose prediction is not the target, and warns of them."""
        labels = self.judge.labels
        classes = class_targets(self.examples.target, self.examples.count)
        if not settings.keep_prediction or classes is None:
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

    def start(self, kind: str, restart: int, most_tries: int | None) -> tuple[Tensor, Tensor]:
        """Starting points ``(N, d)`` and which examples have one, ``(N,)``.

        Args:
            kind: ``"clean"``, ``"uniform"`` in the ball or ``"surface"`` of it.
            restart: number of the restart.
            most_tries: draws of one example over all restarts until its prediction is kept;
                ``None`` asks for none to be kept.
        """
        points, waiting = self.examples.clean.clone(), ~self.finished
        self.lost = torch.zeros_like(self.finished)
        if kind == "clean":
            return points, waiting
        active, attempt = waiting.clone(), 0
        while bool(waiting.any()):
            rows = waiting.nonzero().flatten()
            number = 2 * (restart * _MAX_STEPS + attempt)  # steps draw the odd numbers
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

    def _rows(self, rows: Tensor) -> Rows:
        """All rows as a slice, which needs no copies."""
        return slice(None) if rows.numel() == self.examples.count else rows

    def gradient(self, points: Tensor, rows: Tensor, restart: int, step: int) -> Tensor:
        """Gradients to climb ``(n, d)``, zero where nothing may move.

        Of the objective; of the margin of the clean class where the iterate has lost it.
        """
        steps = self.settings.step_num or 1
        number, progress = restart * steps + step, step / max(steps - 1, 1)
        lost, gradient = self.lost[rows], torch.zeros_like(points)
        for which, climb in ((~lost, self.ascent.gradient), (lost, self.ascent.way_back)):
            if bool(which.any()):
                chosen = self._rows(rows[which])
                gradient[which] = climb(points[which], chosen, number, progress)
        free = self.ball.free
        return torch.where(free if free.shape[0] == 1 else free[rows], gradient, 0)

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
        kept = self.judge.kept(points, self._rows(rows))
        self.lost[rows] = ~kept
        self.best.offer(self.judge, points, kept, rows)
        self.finished |= self.best.score >= self.judge.ceiling

    def result(self) -> AttackResult:
        """The best points, judged anew with fresh draws where the maps are random."""
        best, judge = self.best, self.judge
        score, clean_score = best.score, best.clean_score
        if judge.explainer.is_random:
            fresh, everything = (self.settings.seed or 0) + _FRESH, slice(None)
            score, _ = judge.score(best.points, everything, fresh)
            clean_score, _ = judge.score(self.examples.clean, everything, fresh)
        return AttackResult(
            perturbed=self.examples.output(best.points),
            score=score,
            clean_score=clean_score,
            evaluations=best.evaluations,
            gradients=self.ascent.gradients,
            skipped=self.skipped,
            stopped=self.stopped,
        )


def _listed(marked: Tensor) -> str:
    rows = marked.nonzero().flatten().tolist()
    return f"example{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:20]))}" + (
        f" and {len(rows) - 20} more" if len(rows) > 20 else ""
    )
