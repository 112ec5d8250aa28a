"""The template of all attribution attacks; named ones only choose its pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any, TypeVar, get_args

import torch
from captum.attr import Attribution
from captum.robust import Perturbation
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.captum_privates import TargetType, log_usage
from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.printed import described
from captum_robust._base.targets import Prediction
from captum_robust.attr.explainer import RELAXATIONS, climbable, is_smoothed
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.robust.balls.ball import Norm, ball_of
from captum_robust.robust.objectives.objective import Objective
from captum_robust.robust.steps.momentum import MomentumStep
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.template.ascent import OutputMatch, Surrogate
from captum_robust.robust.template.climb import Climb
from captum_robust.robust.template.judge import Similarity
from captum_robust.robust.template.pieces import (
    check_attribute_kwargs,
    check_method,
    check_piece,
    check_surrogate,
)
from captum_robust.robust.template.run import AttackResult, AttackRun
from captum_robust.robust.template.spec import AttackSpec, Relaxation, Settings, Start

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])


class AttributionAttack(Perturbation):
    r"""Changes an attribution map by a small change of the input that keeps the prediction.

    .. math:: \max_{\delta} D(h(x + \delta)) \quad\text{s.t.}\quad \lVert\delta\rVert \le r,\;
        x + \delta \in [l, u],\; \arg\max f(x + \delta) = \arg\max f(x)

    Each step is: gradient, step, project, clip, accept. Gradients are those of a softplus twin
    (:func:`softplus_surrogate`), judgement is by the real net: among all iterates that keep the
    prediction, over all restarts, the one with the best evaluation is returned, at worst the input.
    Every example advances by itself and stops costing gradients once it cannot improve.

    Args:
        forward_func: the net whose prediction is kept, outputs ``(N, classes)``.
        attribution_method: the attribution attacked; anything
            :func:`~captum_robust.attr.differentiable` takes, smoothed ones included.
        lower_bound, upper_bound: box of valid inputs: numbers, tensors that broadcast to the
            input, or a tuple of these, one an input.
        objective: what is raised.
        evaluation: similarity of two maps ``(clean, perturbed) -> (N,)`` that picks the best
            iterate in place of the objective's score; lower is better for the attacker.
        model_term: added to the objective to keep the outputs.
        weight: factor of the objective beside ``model_term``, > 0.
        norm: ``"Linf"``, ``"L2"``, ``"L1"`` or the name of another :class:`Ball`, its class or an
            object such as ``L1Ball(0.05)``; where ``perturb`` is not told.
        step_rule: how a gradient becomes a step; :class:`MomentumStep` by default.
        start: ``"clean"``, ``"uniform"`` in the ball, or its ``"surface"``; restarts after the
            first are random in any case.
        start_tries: draws of one example over all restarts until a start keeps the prediction;
            ``None`` lets starts lose it.
        surrogate: ``"softplus"``, a sharpness beta, a pair of betas to grow through, another net,
            or ``None`` to climb on the net itself.
        attack_samples: draws of a smoothed map in the gradient; ``None`` takes as many as the map.
        redraw: new draws for every step rather than the same.
        relaxation: what stands in for the marks of a sparsified map, which have no gradient:
            ``"sigmoid"`` of the distance to the threshold, or ``"linear"``, the relaxed map of
            Levine et al. (2019) with their clip of 0.01, a weaker attack.
        attribute_kwargs: passed to ``attribute``: ``n_steps``, ``baselines``, ``nt_samples``, ...;
            not ``target`` or ``additional_forward_args``, which ``perturb`` takes.

    Raises:
        TypeError: if the map of ``attribution_method`` carries no graph; says why and what does;
            if a piece is not an object of its class.
        ValueError: if a choice is none of those listed, or a number lies outside its range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, TopKObjective
        >>> model = example_model()
        >>> attack = AttributionAttack(model, Saliency(model), 0, 1, objective=TopKObjective(2))
        >>> x = torch.rand(2, 4)
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    step_num = 100
    restarts = 1

    def __init__(
        self,
        forward_func: Callable[..., Any],
        attribution_method: Attribution,
        lower_bound: Any = -torch.inf,
        upper_bound: Any = torch.inf,
        *,
        objective: Objective,
        evaluation: Similarity | None = None,
        model_term: OutputMatch | None = None,
        weight: float = 1.0,
        norm: Norm = "Linf",
        step_rule: StepRule | None = None,
        start: Start = "clean",
        start_tries: int | None = None,
        surrogate: Surrogate = "softplus",
        attack_samples: int | None = None,
        redraw: bool = True,
        relaxation: Relaxation = "sigmoid",
        attribute_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.forward_func = forward_func
        self.attribution_method = check_method(attribution_method)
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        self.objective = check_piece("objective", objective, Objective, "TopKObjective(10)")
        self.evaluation = evaluation
        self.model_term = model_term
        self.weight = check_number(
            "weight", weight, low=0, open_low=True, high=torch.inf, open_high=True
        )
        ball_of(norm)
        self.norm = norm
        rule = MomentumStep() if step_rule is None else step_rule
        self.step_rule = check_piece("step_rule", rule, StepRule, "AdamStep()")
        self.start = check_choice("start", start, get_args(Start))
        self.start_tries = (
            start_tries if start_tries is None else check_count("start_tries", start_tries)
        )
        self.surrogate = check_surrogate(surrogate)
        self.redraw = redraw
        self.relaxation = check_choice("relaxation", relaxation, tuple(RELAXATIONS))
        self.attribute_kwargs = check_attribute_kwargs(attribute_kwargs)
        self._prepare_climb(attack_samples)

    def _prepare_climb(self, attack_samples: int | None) -> None:
        """Chooses the method and the draws that gradients are taken of, and tries its graph."""
        self.climbing_kwargs = dict(self.attribute_kwargs)
        self.climbed_method = self.attribution_method
        if attack_samples is not None:
            check_count("attack_samples", attack_samples)
            if not is_smoothed(self.attribution_method):
                raise ValueError(
                    "`attack_samples` needs a smoothed attribution of captum_robust.attr, "
                    f"got {type(self.attribution_method).__name__}."
                )
            self.climbing_kwargs["nt_samples"] = attack_samples
        if self.step_rule.uses_gradient:
            self.climbed_method = climbable(self.attribution_method, self.relaxation)
            with differentiable(self.climbed_method):
                pass  # raises here rather than at the first step

    def __repr__(self) -> str:
        """The method and the pieces, as short as they can be said."""
        names = (
            *("objective", "evaluation", "model_term", "weight", "norm", "step_rule", "start"),
            *("start_tries", "surrogate", "redraw", "relaxation", "attribute_kwargs"),
        )
        pieces = ", ".join(f"{name}={described(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({described(self.attribution_method)}, {pieces})"

    @log_usage(part_of_slo=True)
    def perturb(
        self,
        inputs: Inputs,
        radius: Any = None,
        step_size: Any = None,
        step_num: int | None = None,
        target: TargetType = None,
        *,
        norm: Norm | None = None,
        random_start: bool | None = None,
        mask: Any = None,
        additional_forward_args: object = None,
        restarts: int | None = None,
        keep_prediction: bool | Prediction = True,
        eval_every: int | None = None,
        seed: int | None = None,
        example_ids: Sequence[int] | None = None,
        show_progress: bool = False,
    ) -> Inputs:
        r"""Perturbed inputs; the words of :meth:`captum.robust.PGD.perturb`, and more.

        Args:
            inputs: floating-point tensors ``(N, *)``; a tuple is one concatenated vector, also
                in the L2 norm (Captum's PGD gives each tensor a ball of its own).
            radius: size of the ball in input units, >= 0: a number, a tensor that broadcasts to
                the input (per-channel radii), or a tuple; ``None`` is no ball.
            step_size: length of a step in input units, > 0, like ``radius``; by default
                ``step_rule.relative_step`` radii; refused by rules that shrink their own steps.
            step_num: steps of each restart.
            target: class explained and predicted, in any of Captum's forms.
            norm: as for the attack.
            random_start: whether the first start is random; the attack's own choice by default.
            mask: nonzero where an input may change, broadcast to it.
            additional_forward_args: as for Captum; tensors go with the examples.
            restarts: number of climbs; the best iterate of all counts.
            keep_prediction: only points with the clean prediction count; a function of the net's
                outputs says what is predicted where that is no class, such as
                ``lambda out: out[:, 0] > 0``.
            eval_every: steps between judgements of the iterate; the last one is always judged. By
                default 1, and more where a smoothed map is judged with many more draws than
                ``attack_samples``, so that judging costs no more than climbing.
            seed: fixes the random numbers of example j as a function of (seed, j) alone; torch's
                global generator decides where ``None``.
            example_ids: the j of each example, default ``0 .. N-1``.
            show_progress: a progress bar over steps.

        Returns:
            Points in the format of the inputs, each in the ball and the box, with the prediction
            kept. Examples not predicted as ``target`` come back unchanged, with a warning.

        Raises:
            ValueError: if an argument lies outside its range, or an input outside the box.
            RuntimeError: if the net is in training mode where that mixes examples.
        """
        settings = Settings(
            radius=radius,
            step_size=step_size,
            step_num=step_num,
            target=target,
            norm=norm,
            random_start=random_start,
            mask=mask,
            additional_forward_args=additional_forward_args,
            restarts=restarts,
            keep_prediction=keep_prediction,
            eval_every=eval_every,
            seed=seed,
            example_ids=example_ids,
            show_progress=show_progress,
        )
        return self._search(inputs, settings).perturbed

    def search(self, inputs: Any, *args: Any, **kwargs: Any) -> AttackResult:
        """Like :meth:`perturb`, with scores, counts and what happened to each example.

        Args:
            inputs: the inputs.
            *args: those of :meth:`perturb`.
            **kwargs: likewise.
        """
        try:
            bound = signature(AttributionAttack.perturb).bind(self, inputs, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"search() {error}; it takes the arguments of perturb().") from None
        given = {**bound.arguments}
        del given["self"], given["inputs"]
        return self._search(inputs, Settings(**given))

    def default_step_size(self, radius: Tensor) -> Any:
        """The ``step_size`` where the caller gives none, from radii ``(N or 1, d or 1)``."""
        if bool(torch.isinf(radius).any()) and self.step_rule.uses_step_size:
            raise ValueError("`step_size` must be given where `radius` is infinite, got None.")
        return self.step_rule.relative_step * radius

    def _search(self, inputs: Any, settings: Settings) -> AttackResult:
        """All restarts of one call, which needs graphs also where the caller's mode has none."""
        with torch.inference_mode(False):
            run = AttackRun(AttackSpec.of(self), inputs, settings)
            with tqdm(
                total=run.call.restarts * run.call.steps,
                desc=type(self).__name__,
                disable=not settings.show_progress,
            ) as bar:
                for climb in self.climbs(run):
                    climb(run, bar.update)
                    bar.total = max(bar.total, bar.n)
            return run.result()

    def climbs(self, run: AttackRun) -> Iterator[Callable[[AttackRun, Callable[[], Any]], None]]:
        """The climbs of one call, one after the other; each sees what the earlier ones found."""
        ascent, steps = run.ascent(), run.call.steps
        starts = [self._start_of(run, restart) for restart in range(run.call.restarts)]
        for restart, start in enumerate(starts):
            yield Climb(ascent, self.step_rule, start, restart, steps, restart * steps)

    def _start_of(self, run: AttackRun, restart: int) -> Start:
        """The kind of start, given the restart and what the caller asked for."""
        chosen, kind = run.settings.random_start, self.start
        if restart > 0 or chosen:
            kind = "uniform" if kind == "clean" else kind
        elif chosen is not None:
            kind = "clean"
        if kind == "clean" and self.objective.stationary and self.step_rule.uses_gradient:
            raise ValueError(
                f"`random_start` must be True for {type(self.objective).__name__}: its gradient "
                "is zero at the clean input."
            )
        if kind != "clean" and bool(torch.isinf(run.ball.radius).any()):
            raise ValueError("`radius` must be finite for a random start, got inf.")
        return kind
